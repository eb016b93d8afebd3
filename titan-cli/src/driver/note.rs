//! What happens in a batch, as progress, reports and logs are told: all of them consume the same notes.

use titan_manager::{HostId, Report, TaskEnd};

use super::host::Joined;
use super::signals::Ending;
use crate::launch::LaunchError;

/// Something that a person may want to know.
#[derive(Debug)]
pub(crate) enum Note {
    /// A host's agent has said hello.
    Joined {
        /// The host.
        host: HostId,
        /// What is known of the agent.
        joined: Joined,
    },
    /// A start failed and will be tried again.
    Trouble {
        /// The host.
        host: HostId,
        /// Why.
        error: LaunchError,
    },
    /// A host's session is lost; it is being started afresh.
    Lost {
        /// The host.
        host: HostId,
        /// Why.
        reason: String,
    },
    /// A host's connection is gone; its agent goes on, and is being reached again.
    Away {
        /// The host.
        host: HostId,
        /// Why.
        reason: String,
    },
    /// Another connection to the same agent is there.
    Back {
        /// The host.
        host: HostId,
    },
    /// A host is given up for this batch.
    Down {
        /// The host.
        host: HostId,
        /// Why.
        error: LaunchError,
    },
    /// A task has come to an end, and not a good one.
    Missed(TaskEnd),
    /// The manager says.
    Manager(Report),
    /// No more tasks can be made; those that were made run on.
    NoMoreTasks {
        /// Why.
        reason: String,
    },
    /// What is said on a session, for those who want to see that.
    Said {
        /// The host.
        host: HostId,
        /// Whether titan says it.
        is_ours: bool,
        /// The message.
        message: String,
    },
    /// A signal asks titan to end.
    Stopping(Ending),
    /// Somebody asks for the batch's end for good.
    Cancelling,
}
