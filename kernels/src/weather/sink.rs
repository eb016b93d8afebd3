//! Takes members, which come in any order, into the ensemble's mean and spread, and writes these.
//!
//! Members are added in the order of their numbers, each as soon as all before it are known to be there or missing, and
//! read a few rows at a time: the sums' bits depend on the order, and memory holds two fields, however many members there
//! are.

use super::colours::Scale;
use super::options::FOLDER;
use super::params::{HEIGHT_BYTES, Params};
use super::statistics::Statistics;
use crate::picture::npy::{self, Element};
use crate::picture::png::{self, Band, PngWriter};
use crate::{Outputs, Results, Sink, SinkReport};
use std::io::{self, BufWriter, Write};

/// Bytes of a member that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// Depth of still water, where the picture of the mean is white.
const STILL: f64 = 1.0;

type File = BufWriter<Box<dyn Write + Send>>;

/// What is known of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Awaited,
    Completed,
    Missing,
}

/// The sink.
pub(super) struct EnsembleSink {
    params: Params,
    members: Vec<Member>,
    /// The first member that is neither added nor known to be missing.
    next: usize,
    statistics: Statistics,
    mean: Files,
    spread: Files,
}

/// The two files of a field.
struct Files {
    picture: File,
    array: File,
}

impl Files {
    fn create(name: &str, outputs: &mut dyn Outputs) -> io::Result<Self> {
        let mut open = |ending| outputs.create(FOLDER, Some(&format!("{name}.{ending}"))).map(BufWriter::new);
        Ok(Self { picture: open("png")?, array: open("npy")? })
    }

    /// Writes a field of that many columns and rows.
    fn write(mut self, size: (u32, u32), values: &[f64], scale: Scale) -> io::Result<()> {
        npy::write_header(&mut self.array, Element::F64, size)?;
        values.iter().try_for_each(|value| self.array.write_all(&value.to_le_bytes()))?;
        self.array.flush()?;
        let columns = size.0 as usize;
        let mut picture = PngWriter::new(self.picture, size)?;
        let mut above = vec![0; 3 * columns];
        for band in values.chunks(png::band_rows(size.0) as usize * columns) {
            let rgb: Vec<u8> = band.iter().flat_map(|value| scale.colour(*value)).collect();
            picture.write_bands(&[Band { rgb: &rgb, above: &above }])?;
            above = rgb[rgb.len() - 3 * columns..].to_vec();
        }
        picture.finish()
    }
}

impl EnsembleSink {
    pub(super) fn new(params: &Params, mut outputs: Box<dyn Outputs>) -> io::Result<Self> {
        Ok(Self {
            members: vec![Member::Awaited; params.members as usize],
            next: 0,
            statistics: Statistics::new(params.cells() as usize),
            mean: Files::create("mean", outputs.as_mut())?,
            spread: Files::create("spread", outputs.as_mut())?,
            params: params.clone(),
        })
    }

    /// Adds the members whose turn has come.
    fn add_known(&mut self, results: &dyn Results) -> io::Result<()> {
        while let Some(member) = self.members.get(self.next) {
            match member {
                Member::Awaited => break,
                Member::Completed => self.add(self.next as u32, results)?,
                Member::Missing => {}
            }
            self.next += 1;
        }
        Ok(())
    }

    fn add(&mut self, member: u32, results: &dyn Results) -> io::Result<()> {
        let bytes = self.params.result_bytes();
        let mut buffer = vec![0; READ_BYTES.min(bytes) as usize];
        for offset in (0..bytes).step_by(buffer.len()) {
            let part = &mut buffer[..READ_BYTES.min(bytes - offset) as usize];
            results.read_at(member, offset, part)?;
            let values = part.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
            self.statistics.add((offset / HEIGHT_BYTES) as usize, values);
        }
        self.statistics.end_field();
        Ok(())
    }
}

impl Sink for EnsembleSink {
    fn completed(&mut self, task: u32, results: &dyn Results) -> io::Result<()> {
        self.members[task as usize] = Member::Completed;
        self.add_known(results)
    }

    fn missing(&mut self, task: u32, results: &dyn Results) -> io::Result<()> {
        self.members[task as usize] = Member::Missing;
        self.add_known(results)
    }

    fn finish(self: Box<Self>) -> io::Result<SinkReport> {
        debug_assert_eq!(self.next, self.members.len(), "every task was announced");
        let members = u64::from(self.statistics.fields());
        let (mean, spread) = self.statistics.end();
        let grid = self.params.grid;
        self.mean.write(grid, &mean, Scale::around(STILL, &mean))?;
        self.spread.write(grid, &spread, Scale::upward(&spread))?;
        let updates = members * u64::from(self.params.steps) * self.params.cells();
        Ok(SinkReport { totals: vec![("members", members), ("updates", updates)] })
    }
}
