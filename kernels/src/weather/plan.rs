//! What is known about an ensemble before any of it is computed.

use super::options::FOLDER;
use super::params::{HEIGHT_BYTES, Params};
use super::sink::EnsembleSink;
use crate::picture::npy::{self, Element};
use crate::picture::png;
use crate::{Outputs, Plan, Sink};
use std::io;

/// Fields that a member is made of: depth and two momenta, of f64 as a result is.
const FIELDS: u64 = 3;

/// Lines of a row's length that a step needs, with room to spare.
const LINES: u64 = 32;

/// Memory that a computation takes beside its fields: the stack, the waves of a start.
const COMPUTE_BYTES: u64 = 512 * 1024;

/// An ensemble that was asked for.
pub(super) struct Ensemble {
    pub(super) params: Params,
}

impl Plan for Ensemble {
    fn params(&self) -> Vec<u8> {
        self.params.encode()
    }

    fn tasks(&self) -> u32 {
        self.params.members
    }

    fn describe(&self, task: u32) -> String {
        let Params { grid: (columns, rows), steps, .. } = self.params;
        format!("{task}\tmember {task}\t{columns}x{rows} cells, {steps} steps")
    }

    fn result_bytes(&self, _task: u32) -> u64 {
        self.params.result_bytes()
    }

    fn task_memory_bytes(&self) -> u64 {
        let line = u64::from(self.params.grid.0) * HEIGHT_BYTES;
        (FIELDS + 1) * self.params.result_bytes() + LINES * line + COMPUTE_BYTES
    }

    fn smaller_tasks_hint(&self) -> &'static str {
        "use a smaller --grid"
    }

    fn smaller_batch_hint(&self) -> &'static str {
        "fewer --members or a smaller --grid"
    }

    fn output_bytes(&self) -> Vec<(&'static str, u64)> {
        let grid = self.params.grid;
        vec![(FOLDER, 2 * (png::most_bytes(grid) + npy::bytes(Element::F64, grid)))]
    }

    fn sink(&self, outputs: Box<dyn Outputs>) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(EnsembleSink::new(&self.params, outputs)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weather::params::tests::small;

    #[test]
    fn a_task_is_described_as_a_member() {
        assert_eq!(Ensemble { params: small() }.describe(2), "2\tmember 2\t24x16 cells, 20 steps");
    }

    #[test]
    fn a_result_has_a_number_for_each_cell() {
        let plan = Ensemble { params: small() };
        assert_eq!(plan.result_bytes(0), 24 * 16 * 8);
        assert!(plan.task_memory_bytes() > 4 * plan.result_bytes(0));
        assert_eq!(plan.tasks(), 3);
    }
}
