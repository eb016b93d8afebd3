//! Weather of a small kind as a kernel: an ensemble of shallow seas whose starts differ a little. A task is a member,
//! and the sink takes mean and spread of them.
//!
//! # Layout
//! `options` reads what was typed into `params`; `start` makes a member's first state, drawn by `random`, and `model`
//! moves it on, with `flux`; `plan` speaks of an ensemble before it is computed, `sink` writes what `statistics` has
//! gathered, in `colours`.

mod colours;
mod flux;
mod model;
mod options;
pub mod params;
mod plan;
mod random;
mod sink;
mod start;
mod statistics;

use crate::simd::Simd;
use crate::{Cancel, Compute, ComputeError, Kernel, OptionError, OptionSpec, OutputSpec, Plan, Request};
use model::{Cancelled, Model};
use params::Params;
use plan::Ensemble;

/// Steps between looks at whether there is still water.
const STEPS_PER_LOOK: u32 = 64;

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub struct Weather;

impl Kernel for Weather {
    fn name(&self) -> &'static str {
        "weather"
    }

    fn about(&self) -> &'static str {
        "an ensemble of shallow seas whose starts differ a little: their mean and their spread"
    }

    fn examples(&self) -> &'static str {
        "titan run weather\n    20 members, 256x256 cells, 1000 steps; four files in the folder weather\n\
         titan run weather --members 100 --seed 7 --perturb 0.05 -o ensemble\n\
         \x20   more members of another weather that differ more\n\
         titan run weather --grid 512x256 --steps 3000 -o wide\n    a sea twice as long as it is wide"
    }

    fn options(&self) -> &'static [OptionSpec] {
        options::OPTIONS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        options::OUTPUTS
    }

    fn plan(&self, request: &Request) -> Result<Box<dyn Plan>, OptionError> {
        Ok(Box::new(Ensemble { params: options::params(request)? }))
    }

    fn load(&self, params: &[u8]) -> Result<Box<dyn Compute>, ComputeError> {
        let params = Params::decode(params).map_err(|reason| ComputeError::BadParams { reason })?;
        Ok(Box::new(Members { params, simd: Simd::chosen() }))
    }
}

/// An ensemble whose members can be computed here.
#[derive(Debug)]
struct Members {
    params: Params,
    simd: Simd,
}

impl Compute for Members {
    fn compute(&self, task: u32, cancel: &Cancel) -> Result<Vec<u8>, ComputeError> {
        let tasks = self.params.members;
        if task >= tasks {
            return Err(ComputeError::NoSuchTask { task, tasks });
        }
        let cancelled = |Cancelled| ComputeError::Cancelled;
        let mut model = Model::new(&self.params, task, cancel).map_err(cancelled)?;
        for step in 0..self.params.steps {
            model.step(step, self.simd, cancel).map_err(cancelled)?;
            if (step + 1).is_multiple_of(STEPS_PER_LOOK) {
                check(&model, task, step + 1)?;
            }
        }
        check(&model, task, self.params.steps)?;
        Ok(model.into_depths().into_iter().flat_map(f64::to_le_bytes).collect())
    }
}

/// Whether this is still a sea.
fn check(model: &Model, member: u32, steps: u32) -> Result<(), ComputeError> {
    if model.is_sound() {
        return Ok(());
    }
    let reason = format!(
        "after {steps} steps member {member} has depths that are no positive number: its start is too wild, use a \
         smaller --perturb"
    );
    Err(ComputeError::NoResult { reason })
}

#[cfg(test)]
mod tests;
