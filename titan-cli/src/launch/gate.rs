//! How many log in to one sshd, or through one jump host, at once: sshd drops logins beyond about ten (MaxStartups
//! 10:30:100).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
