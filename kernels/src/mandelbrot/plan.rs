//! What is known about a picture before any of it is computed.

use super::options::{COUNTS, PICTURE, TILES_DIR};
use super::params::Params;
use super::sink::PictureSink;
use crate::picture::npy::{self, Element};
use crate::picture::png;
use crate::{Outputs, Plan, Sink};
use std::collections::BTreeSet;
use std::io;

/// Memory that a computation takes beside its result: the palette's table, the queues, the stack.
const COMPUTE_BYTES: u64 = 512 * 1024;

/// A picture that was asked for, and the outputs that will be written.
pub(super) struct Picture {
    pub(super) params: Params,
    pub(super) outputs: BTreeSet<String>,
}

impl Plan for Picture {
    fn params(&self) -> Vec<u8> {
        self.params.encode()
    }

    fn tasks(&self) -> u32 {
        self.params.tiling.count()
    }

    fn describe(&self, task: u32) -> String {
        let (column, row) = self.params.tiling.place(task);
        let rect = self.params.tiling.rect(task);
        format!("{task}\ttile row {row} column {column}\t{}x{} at {},{}", rect.width, rect.height, rect.left, rect.top)
    }

    fn result_bytes(&self, task: u32) -> u64 {
        self.params.layout(task).bytes()
    }

    fn task_memory_bytes(&self) -> u64 {
        self.params.longest_result() + COMPUTE_BYTES
    }

    fn smaller_tasks_hint(&self) -> &'static str {
        "use --tiles auto"
    }

    fn smaller_batch_hint(&self) -> &'static str {
        "a smaller --size"
    }

    fn output_bytes(&self) -> Vec<(&'static str, u64)> {
        let size = self.params.tiling.size;
        let tile = self.params.tiling.largest();
        let tiles = u64::from(self.tasks()) * png::most_bytes((tile.width, tile.height));
        let estimates =
            [(PICTURE, png::most_bytes(size)), (TILES_DIR, tiles), (COUNTS, npy::bytes(Element::U32, size))];
        estimates.into_iter().filter(|(name, _)| self.outputs.contains(*name)).collect()
    }

    fn sink(&self, outputs: Box<dyn Outputs>) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(PictureSink::new(self.params.clone(), &self.outputs, outputs)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mandelbrot::params::tests::small;
    use crate::mandelbrot::tile;

    fn plan(outputs: &[&str]) -> Picture {
        Picture { params: small(), outputs: outputs.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn a_task_is_described_by_its_rectangle() {
        assert_eq!(plan(&[]).describe(4), "4\ttile row 1 column 1\t13x15 at 13,15");
    }

    #[test]
    fn results_have_a_header_counts_and_colours() {
        assert_eq!(plan(&[]).result_bytes(4), tile::HEADER_BYTES + 13 * 15 * 7);
        assert!(plan(&[]).task_memory_bytes() > plan(&[]).result_bytes(5));
    }

    #[test]
    fn only_wanted_outputs_are_estimated() {
        assert_eq!(plan(&[]).output_bytes(), []);
        let names: Vec<&str> = plan(&[COUNTS, PICTURE]).output_bytes().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [PICTURE, COUNTS]);
    }
}
