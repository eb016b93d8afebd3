//! What runs a kernel without hosts, agents or disks: results and outputs stay in memory.

use kernels::{Cancel, Compute, Outputs, Plan, Request, Results, SinkReport};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Files by output and name.
pub(crate) type Files = BTreeMap<(String, Option<String>), Vec<u8>>;

/// Outputs that stay in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Files>>);

struct MemoryFile {
    key: (String, Option<String>),
    files: Memory,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.files.0.lock().unwrap().get_mut(&self.key).unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outputs for Memory {
    fn create(&mut self, output: &str, file: Option<&str>) -> io::Result<Box<dyn Write + Send>> {
        let key = (output.to_owned(), file.map(str::to_owned));
        assert!(self.0.lock().unwrap().insert(key.clone(), Vec::new()).is_none(), "{key:?} is created twice");
        Ok(Box::new(MemoryFile { key, files: self.clone() }))
    }
}

/// Results of the tasks that were computed.
struct Computed(Vec<Option<Vec<u8>>>);

impl Results for Computed {
    fn read_at(&self, task: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let result = self.0[task as usize].as_ref().ok_or(io::ErrorKind::NotFound)?;
        let from = result.get(offset as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// That kernel's plan for these options and outputs.
pub(crate) fn plan(kernel: &str, options: &[(&str, &str)], outputs: &[&str]) -> Box<dyn Plan> {
    let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
    let request = Request { options, outputs, slots: 2 };
    kernels::find(kernel).unwrap().plan(&request).unwrap()
}

/// The plan as a host has it.
pub(crate) fn loaded(kernel: &str, plan: &dyn Plan) -> Box<dyn Compute> {
    kernels::find(kernel).unwrap().load(&plan.params()).unwrap()
}

/// Runs that kernel's plan, its tasks arriving in that order; those for which `is_missing` holds never have a result.
pub(crate) fn run(
    kernel: &str,
    plan: &dyn Plan,
    order: impl Fn(u32) -> u32,
    is_missing: impl Fn(u32) -> bool,
) -> (Files, SinkReport) {
    let (compute, memory) = (loaded(kernel, plan), Memory::default());
    let mut results = Computed(vec![None; plan.tasks() as usize]);
    let mut sink = plan.sink(Box::new(memory.clone())).unwrap();
    for task in (0..plan.tasks()).map(order) {
        if is_missing(task) {
            sink.missing(task, &results).unwrap();
            continue;
        }
        let result = compute.compute(task, &Cancel::default()).unwrap();
        assert_eq!(result.len() as u64, plan.result_bytes(task));
        results.0[task as usize] = Some(result);
        sink.completed(task, &results).unwrap();
    }
    let report = sink.finish().unwrap();
    let files = memory.0.lock().unwrap().clone();
    (files, report)
}
