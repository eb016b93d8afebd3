//! What pictures need, whatever is in them: writers that take rows from the top and never hold a whole picture.
//!
//! [`png`] compresses bands of rows side by side, with `filter`, `deflate` (on `runs`, `huffman` and `bits`) and
//! `adler`; [`npy`] writes arrays for NumPy.

mod adler;
mod bits;
mod deflate;
mod filter;
mod huffman;
pub mod npy;
pub mod png;
mod runs;
