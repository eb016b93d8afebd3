//! The program on a host that runs tasks, as a library: titan carries it as a hidden subcommand, tests run it in threads.
//!
//! # Layout
//! - [`admission`]: whom it listens to.
//! - [`core`]: decides what to start, stop and say; no thread, clock or stream.
//! - [`mod@serve`]: carries a core's decisions out over any pair of byte streams.
//! - `compute`: kernels run.
//! - `crew`: the threads that tasks have, one for each slot.
//! - `own_file`: its executable, and those of other builds beside it.
//! - `own_folder`: folders that are this user's alone.
//! - `files`: what commands are given and leave.
//! - `process`: commands, their trees of processes, what they write, and what ends them.
//! - [`machine`]: what this machine can do.
//! - [`faults`]: makes chosen tasks misbehave, for tests.

// Not forbidden: processes are made by system calls that no library wraps, and one call takes a bare number.
#![deny(unsafe_code)]

pub mod admission;
mod compute;
pub mod core;
mod crew;
pub mod descriptors;
pub mod faults;
mod files;
pub mod machine;
mod own_file;
mod own_folder;
mod process;
pub mod serve;

/// Which build this is: its version and the hash of its kernels.
pub fn build() -> String {
    format!("{}+{}", env!("CARGO_PKG_VERSION"), &env!("KERNELS_SOURCE_HASH")[..8])
}

pub use serve::{Exit, Options, main, serve};
