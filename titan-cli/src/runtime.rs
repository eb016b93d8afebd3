//! What waits for hosts, or for several things at once, has a runtime of its own for as long as it takes.

use std::time::Duration;

use crate::exit::{self, Failure};

/// How long what is still under way may take when a command has come to its end.
const LEAVE_SPAN: Duration = Duration::from_secs(1);

/// Runs that to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(LEAVE_SPAN);
    outcome
}
