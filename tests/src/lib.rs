//! Whole-program tests of titan, and what they are made of.

pub mod cli;
pub mod matrix;
pub mod program;
pub mod rig;
pub mod scene;
pub mod sim;
