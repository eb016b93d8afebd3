//! Decides which worker runs which task, and what an outcome means. A state machine without a clock, a socket, a thread or
//! a file: the same events give the same effects, so that it can be simulated, replayed and, later, replicated.
//!
//! # Layout
//! - [`event`]: what happens to the manager; [`effect`]: what it wants done, in order.
//! - [`config`]: its settings, with their defaults.
//! - [`policy`]: which of the workers that could take a task takes it; one file each.
//! - `manager`: the one door, [`Manager::handle`], and what each event changes.
//!   - `placement`: pending tasks → workers; prefill and taking back.
//!   - `outcome`: what the end of an attempt means for its task.
//!   - `health`: silence, lost sessions, hosts that come and go.
//!   - `check`: every cross-reference, for tests.
//! - `task`, `worker`, `queue`: the state's parts.

#![forbid(unsafe_code)]

pub mod config;
pub mod effect;
pub mod event;
mod manager;
pub mod policy;
mod queue;
mod task;
mod worker;

pub use config::Config;
pub use effect::{Effect, End, Record, Report, Verdict};
pub use event::{Capacity, Event, HostId, JobSpec, WorkerId};
pub use manager::{Counts, Manager, WorkerView};
pub use task::Lifecycle;
pub use worker::Health;
