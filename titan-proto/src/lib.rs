//! What titan and its agents say to each other. Knows no socket, no clock and no file.
//!
//! # Layout
//! - [`id`]: the numbers and names that both sides use.
//! - [`time`]: moments and spans, given to the logic as arguments.
//! - [`message`]: the messages, one enum for each direction.
//! - [`command`]: what a task that is a command runs, and how it ended.
//! - [`files`]: what tasks are given and leave.
//! - [`capture`]: what a command's task wrote, as one stream.
//! - [`codec`]: message ↔ bytes; the only module that knows bincode.
//! - [`frame`]: bytes on a connection ↔ checked frames.
//! - [`handshake`]: Hello and Goodbye, whose bytes are the same in all versions.
//! - [`pacer`]: how much bulk may be on its way.
//! - [`session`]: sequence numbers, acknowledgements, what is sent next; the same on both sides.

#![forbid(unsafe_code)]

pub mod capture;
pub mod codec;
pub mod command;
pub mod files;
pub mod frame;
#[cfg(test)]
mod fuzz;
pub mod handshake;
pub mod id;
pub mod message;
pub mod pacer;
pub mod session;
pub mod time;

/// The version of everything after the handshake. Any difference is refused.
pub const PROTOCOL_VERSION: u16 = 5;
