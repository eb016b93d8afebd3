//! How many log in to one sshd, or through one jump host, at once: sshd drops logins beyond about ten (MaxStartups
//! 10:30:100).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A span between half and one and a half of that, so that those who were turned away together don't come back together.
pub(crate) fn jittered(span: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    span.mul_f64(0.5 + (random % 1_000) as f64 / 1_000.0)
}

/// One gate for each sshd or jump host.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// A place at a gate, until it is dropped.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gates {
    /// Waits for a place at that gate, which lets `most` in at once.
    pub(crate) async fn enter(&self, name: &str, most: u32) -> Place {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(most.max(1) as usize));
            Arc::clone(gates.entry(name.to_owned()).or_insert_with(new))
        };
        Place { _permit: gate.acquire_owned().await.ok() }
    }
}
