//! Progress on a terminal: one line for the whole and one for each host, as far as they fit. Owned and drawn by one task.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::{Screen, View};
use super::tally::HostTally;
use crate::config::text::{columns, printable};

/// Nothing is drawn before this: short batches show no bars.
const PATIENCE: Duration = Duration::from_millis(500);
/// Draws in a second at most.
const RATE_HZ: u8 = 10;
/// The widest that a name is shown.
const MAX_NAME_COLUMNS: usize = 24;

/// The bars.
pub(crate) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    hosts: Vec<ProgressBar>,
    begun: Instant,
    drawn: bool,
    cleared: bool,
}

impl Bars {
    pub(crate) fn new(title: &str, hosts: usize) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(RATE_HZ), terminal_lines(), title, hosts)
    }

    fn on(target: ProgressDrawTarget, lines: usize, title: &str, hosts: usize) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let template = format!("{title} {{bar:30.cyan/blue}} {{wide_msg}}");
        let style = ProgressStyle::with_template(&template).expect("the template is fixed");
        let whole = ProgressBar::hidden().with_style(style.progress_chars("━╸─"));
        let line = ProgressStyle::with_template("{wide_msg}").expect("the template is fixed");
        // The whole's line, and one that is left free for the cursor.
        let room = lines.saturating_sub(2).max(1);
        let shown = if hosts > room { room - 1 } else { hosts };
        let more = usize::from(shown < hosts);
        let hosts = (0..shown + more).map(|_| ProgressBar::hidden().with_style(line.clone())).collect();
        Self { all, whole, hosts, begun: Instant::now(), drawn: false, cleared: false }
    }

    fn draw_first(&mut self) {
        self.drawn = true;
        self.whole = self.all.add(self.whole.clone());
        for bar in &mut self.hosts {
            *bar = self.all.add(bar.clone());
        }
    }
}

impl Screen for Bars {
    fn say(&mut self, line: &str) {
        // Not `suspend`: it panics when the terminal is gone.
        let has_bars = self.drawn && !self.cleared && !self.all.is_hidden();
        let printed = has_bars && self.all.println(line).is_ok();
        if !printed {
            crate::tell::to_stderr(line);
        }
    }

    fn interrupted(&mut self) {
        if self.drawn {
            // The bars' last line is filled to its end, so the terminal's own ^C stands on a line that the bars know
            // nothing of: take it away.
            let _ = write!(std::io::stderr(), "\r\x1b[K\x1b[A");
        }
    }

    fn beside(&mut self, write: &mut dyn FnMut()) {
        let has_bars = self.drawn && !self.cleared && !self.all.is_hidden();
        if has_bars {
            // Not `suspend`: it panics when the terminal is gone. The next tick draws them again.
            let _ = self.all.clear();
        }
        write();
    }

    fn tick(&mut self, view: &View) {
        if self.cleared || self.begun.elapsed() < PATIENCE {
            return;
        }
        if !self.drawn {
            self.draw_first();
        }
        let View { whereabouts, counts, hosts } = view;
        match counts.is_growing {
            true => self.whole.unset_length(),
            false => self.whole.set_length(counts.total),
        }
        self.whole.set_position(counts.completed + counts.failed);
        self.whole.set_message(whereabouts.clone());
        let width = hosts.iter().map(|host| columns(&printable(&host.name))).max().unwrap_or(0);
        let cut = hosts.len() > self.hosts.len();
        for (number, bar) in self.hosts.iter().enumerate() {
            let is_last = number + 1 == self.hosts.len();
            bar.set_message(match cut && is_last {
                true => rest_line(&hosts[number..]),
                false => host_line(&hosts[number], width.min(MAX_NAME_COLUMNS)),
            });
        }
    }

    fn clear(&mut self) {
        for bar in self.hosts.iter().chain([&self.whole]) {
            bar.finish_and_clear();
        }
        let _ = self.all.clear();
        self.cleared = true;
    }
}

fn host_line(host: &HostTally, width: usize) -> String {
    let name: String = printable(&host.name).chars().take(MAX_NAME_COLUMNS).collect();
    let mut line = format!("  {name:width$}  {:11} {:3} running  {:5} done", host.word(), host.running, host.done);
    if let (Some((reason, _)), false) = (&host.trouble, host.is_well()) {
        line.push_str("  ");
        line.push_str(&printable(reason));
    }
    line
}

fn rest_line(hosts: &[HostTally]) -> String {
    let running: u64 = hosts.iter().map(|host| host.running).sum();
    let done: u64 = hosts.iter().map(|host| host.done).sum();
    format!("  and {} more hosts  {running} running  {done} done", hosts.len())
}

/// Lines of the terminal; a screenful if it doesn't tell.
fn terminal_lines() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(24, |size| usize::from(size.ws_row.max(4)))
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;
    use titan_manager::Counts;

    use super::*;
    use crate::progress::tally::Tally;
    use crate::progress::whereabouts;

    fn shown(hosts: usize, lines: u16) -> String {
        let term = InMemoryTerm::new(lines, 70);
        let tally = Tally::new((0..hosts).map(|number| format!("host{number}")));
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
        let mut bars = Bars::on(target, usize::from(lines), "mandelbrot", hosts);
        bars.begun = Instant::now().checked_sub(PATIENCE).unwrap();
        let counts = Counts { total: 16, completed: 4, running: 2, ..Counts::default() };
        let view = View { whereabouts: whereabouts(&tally, &counts), counts, hosts: tally.hosts };
        for _ in 0..3 {
            bars.tick(&view);
            bars.whole.tick();
        }
        term.contents()
    }

    #[test]
    fn there_is_one_line_for_the_whole_and_one_for_each_host() {
        let screen = shown(2, 24);
        assert_eq!(screen.lines().count(), 3, "{screen}");
        assert!(screen.starts_with("mandelbrot ━") && screen.contains("4/16"), "{screen}");
        assert!(screen.contains("  host1  starting      0 running      0 done"), "{screen}");
    }

    #[test]
    fn hosts_beyond_the_terminals_height_share_a_line() {
        let screen = shown(50, 10);
        assert!(screen.lines().count() <= 9, "{screen}");
        assert!(screen.contains("and 43 more hosts"), "{screen}");
    }
}
