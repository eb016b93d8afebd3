//! Pure compute that is built into titan and its agents: parameters in, bytes out, no I/O.
//!
//! A kernel has two lives. On the laptop it turns options into a [`Plan`] (how many tasks, what each of them is, which
//! outputs) and its [`Sink`] turns results, in whatever order they arrive, into named outputs. On a host it turns the
//! plan's parameter bytes into a [`Compute`] that computes one task at a time on one thread.
//!
//! # Layout
//! - [`kernel`]: the traits, and what they speak of.
//! - [`mandelbrot`]: escape times of z ← z² + c.
//! - [`weather`]: an ensemble of shallow seas.
//! - [`noop`]: nothing, in as many tasks as one likes.
//! - [`measure`]: how near all that comes to what bounds it.
//! - `simd`: which instruction set computes.
//! - `typed`: what was typed for an option, read the same way by every kernel.
//! - [`picture`]: what pictures need whatever is in them: banded PNG and `.npy` writers.
//!
//! Another kernel is one file (or folder) and one line in [`KERNELS`].

#![deny(unsafe_code)]

pub mod kernel;
pub mod mandelbrot;
pub mod measure;
pub mod noop;
pub mod picture;
mod simd;
mod typed;
pub mod weather;

pub use kernel::{
    Cancel, Compute, ComputeError, Kernel, OptionError, OptionSpec, OutputKind, OutputSpec, Outputs, Plan, Request,
    Results, Sink, SinkReport,
};

/// The version of all kernels: another one may compute other results.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every kernel that this build knows.
pub static KERNELS: &[&dyn Kernel] = &[&mandelbrot::Mandelbrot, &weather::Weather, &noop::Noop];

/// The kernel of that name.
pub fn find(name: &str) -> Option<&'static dyn Kernel> {
    KERNELS.iter().copied().find(|kernel| kernel.name() == name)
}
