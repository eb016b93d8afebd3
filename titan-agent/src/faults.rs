//! Makes chosen tasks misbehave, so that tests can show what titan does about it. Read from `TITAN_TEST_FAULTS` by an
//! agent at its start: a comma-separated list of `delay:TASK:MS`, `panic:TASK`, `abort:TASK` (the whole agent dies) and
//! `slow:MS` (every task takes that much longer).

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use kernels::{Cancel, ComputeError};

/// The variable that an agent reads.
pub const VARIABLE: &str = "TITAN_TEST_FAULTS";

/// What is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Delay { task: Option<u32>, span: Duration },
    Panic { task: u32 },
    Abort { task: u32 },
}

impl Faults {
    /// Reads the variable's form; what can't be read is left out.
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').filter_map(parse_fault).collect())
    }

    /// What goes wrong before that task is computed.
    ///
    /// # Errors
    /// Cancelled during a delay.
    ///
    /// # Panics
    /// If it is told to.
    pub fn before(&self, task: u32, cancel: &Cancel) -> Result<(), ComputeError> {
        for fault in &self.0 {
            match *fault {
                Fault::Delay { task: only, span } if only.is_none_or(|only| only == task) => wait(span, cancel)?,
                Fault::Panic { task: only } if only == task => panic!("told to panic at task {task}"),
                Fault::Abort { task: only } if only == task => {
                    // What was said of the task is on its way by then.
                    wait(Duration::from_millis(100), cancel)?;
                    process::abort()
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn parse_fault(text: &str) -> Option<Fault> {
    let mut words = text.trim().split(':');
    let kind = words.next()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let first = number()?;
    match kind {
        "delay" => Some(Fault::Delay { task: Some(first as u32), span: Duration::from_millis(number()?) }),
        "slow" => Some(Fault::Delay { task: None, span: Duration::from_millis(first) }),
        "panic" => Some(Fault::Panic { task: first as u32 }),
        "abort" => Some(Fault::Abort { task: first as u32 }),
        _ => None,
    }
}

fn wait(span: Duration, cancel: &Cancel) -> Result<(), ComputeError> {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if cancel.is_set() {
            return Err(ComputeError::Cancelled);
        }
        thread::sleep(Duration::from_millis(5).min(span));
    }
    Ok(())
}
