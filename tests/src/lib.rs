//! Whole-program tests of titan, and what they are made of.

pub mod program;
pub mod rig;
