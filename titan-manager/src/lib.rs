//! Decides which worker runs which task, and what an outcome means. A state machine without a clock, a socket, a thread or
//! a file: the same events give the same effects, so that it can be simulated, replayed and, later, replicated.
//!
//! # Layout
//! - [`event`]: what happens to the manager; [`effect`]: what it wants done, in order.
//! - [`journal`]: the durable record of a batch, and what it comes to when the batch is resumed.
//! - [`desk`]: titan's side of one session: what a worker was given, and what it may send.
//! - [`config`]: its settings, with their defaults.
//! - [`policy`]: which of the workers that could take a task takes it; one file each.
//! - `manager`: the one door, [`Manager::handle`], and what each event changes.
//!   - `placement`: pending tasks → workers; prefill and taking back.
//!   - `outcome`: what the end of an attempt means for its task; `failure`: when it is tried again, and when not.
//!   - `health`: silence, lost sessions, hosts that come and go; `hold`: tasks that wait for a lost agent's end;
//!     `absence`: when no host is up; `quarantine`: hosts that get no tasks for a while.
//!   - `jobs`: jobs that come, grow and wait for others; `requests`: what no host can meet; `stop`: cancel, halt, verdict.
//!   - `stragglers`: second attempts at the tail.
//!   - `view`: what can be asked; `check`: every cross-reference, for tests.
//!   - `commit`: files that a task has left; `resume`: what an earlier manager had given.
//! - `task`, `tasks`, `worker`, `roster`, `queue`, `room`, `pace`: the state's parts.

#![forbid(unsafe_code)]

pub mod config;
pub mod desk;
pub mod effect;
pub mod event;
pub mod journal;
mod manager;
mod pace;
pub mod policy;
mod queue;
mod room;
mod roster;
mod task;
mod tasks;
mod worker;

pub use config::{Config, Halt, HaltWhy, LoadLimit};
pub use effect::{Effect, End, Kept, Record, Report, TaskEnd, Verdict};
pub use event::{Capacity, Condition, Dependency, Event, HostId, JobSpec, Request, Rerun, WorkerId};
pub use manager::{Counts, Manager, WorkerView};
pub use pace::MAX_DEPTH;
pub use task::Lifecycle;
pub use worker::Health;
