//! What is said of what the manager reports.

use titan_manager::Report;

use super::{MAX_REASON_CHARS, MAX_TOLD_FAILURES, Progress};
use crate::config::text::{cut, printable};
use crate::config::units::human_duration;

impl Progress {
    pub(super) fn report_line(&mut self, report: &Report) -> Option<String> {
        self.host_line(report).or_else(|| self.task_line(report))
    }

    fn host_line(&self, report: &Report) -> Option<String> {
        let name = |host: &titan_manager::HostId| printable(self.tally.name(*host));
        match report {
            Report::Held { host, tasks, span } => Some(format!(
                "{}: {tasks} of its tasks may still run there, and may not run twice: waiting up to {} for its lease",
                name(host),
                human_duration(*span)
            )),
            Report::Quarantined { host, faults, reason, span } => Some(format!(
                "{}: {faults} faults in a row, the last: {}; it gets no tasks for {}",
                name(host),
                cut(&printable(reason), MAX_REASON_CHARS),
                human_duration(*span)
            )),
            Report::Released { host, is_needed } => {
                let why = if *is_needed { ": nobody else can do what waits" } else { "" };
                Some(format!("{}: it gets tasks again{why}", name(host)))
            }
            Report::NoneUp { span } => Some(format!(
                "no host is up: waiting up to {} for one (--wait-for-hosts); titan resume goes on later, too",
                human_duration(*span)
            )),
            Report::Unhealthy { host, silent, given_back } => Some(format!(
                "{}: silent for {}; {given_back} of its tasks are given to others too",
                name(host),
                human_duration(*silent)
            )),
            Report::HealthyAgain { host } => Some(format!("{}: speaks again", name(host))),
            Report::TooSmall { host, .. } => {
                let trouble = self.tally.hosts[host.0 as usize].trouble.as_ref();
                trouble.map(|(reason, _)| format!("{}: not used: {reason}", name(host)))
            }
            Report::Lost { host, given_back } if self.verbose > 1 => {
                Some(format!("{}: {given_back} tasks given back", name(host)))
            }
            _ => None,
        }
    }

    fn task_line(&mut self, report: &Report) -> Option<String> {
        let name = |host: &titan_manager::HostId| printable(self.tally.name(*host));
        match report {
            Report::AttemptFailed { task, host, reason, attempt, of, .. } => {
                self.told_failures += 1;
                self.last_failed = Some(*task);
                let (number, host, what) = (self.label(*task), name(host), self.what(*task));
                (self.told_failures <= MAX_TOLD_FAILURES).then(|| {
                    format!(
                        "task {number} on {host}: {} (try {attempt} of {of}){what}",
                        cut(&printable(reason), MAX_REASON_CHARS)
                    )
                })
            }
            Report::HostLacks { task, host, reason } => {
                // Where there is no other host, it is the task's end, and told as that.
                let is_new = self.told_lacks.insert(*host) && self.tally.hosts.len() > 1;
                let number = self.label(*task);
                is_new.then(|| format!("task {number} goes elsewhere than {}: {}", name(host), printable(reason)))
            }
            Report::SetupFailed { task, host, reason } => {
                let is_new = self.told_setups.insert((task.job, *host)) && self.tally.hosts.len() > 1;
                let (host, number) = (name(host), self.label(*task));
                is_new.then(|| format!("{host}: not used for task {number} and those like it: {}", printable(reason)))
            }
            Report::Adopted { task, host, .. } if self.verbose > 0 => Some(format!(
                "task {} still runs on {}, and goes on{}",
                self.label(*task),
                name(host),
                self.what(*task)
            )),
            Report::Started { task, host, .. } if self.verbose > 0 => {
                Some(format!("task {} starts on {}{}", self.label(*task), name(host), self.what(*task)))
            }
            Report::Completed { task, host, compute, .. } if self.verbose > 0 => {
                Some(format!("task {} on {}: done in {}", self.label(*task), name(host), human_duration(*compute)))
            }
            Report::Speculated { task, host, span } if self.verbose > 0 => Some(format!(
                "task {} has run for {}: {} tries it too",
                self.label(*task),
                human_duration(*span),
                name(host)
            )),
            Report::Late { attempt, host } if self.verbose > 1 => {
                Some(format!("{}: attempt {attempt} came too late and doesn't count", name(host)))
            }
            _ => None,
        }
    }
}
