//! One attempt from its spawn to its end: reads what it writes, watches the time, the memory and the order to stop, and ends
//! all of its tree. A task has ended when its own process has: what it left behind goes with it.

use std::ffi::OsStr;
use std::io::{self, PipeReader};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread, read, retry_on_intr};
use rustix::process::Signal;
use titan_proto::capture::Channel;
use titan_proto::command::ProcessEnd;
use titan_proto::files::encode_entry;
use titan_proto::message::{Fault, Outcome, ResultSummary};

use super::cgroup::TaskCgroup;
use super::environment::Environment;
use super::output::{PIECE_BYTES, Sink};
use super::spawn::{Process, Program, SpawnError, Used};
use super::tree::Tree;
use super::{Attempt, command, limits, setup};
use crate::core::Computed;
use crate::files::{self, collect};

/// A wait within which nothing is looked at that no descriptor tells.
const LOOK_SPAN: Duration = Duration::from_millis(100);
/// The same while output waits on the disk.
const BACKLOG_SPAN: Duration = Duration::from_millis(20);
/// After a pipe has been closed the other one isn't waited for this long: who closes one usually exits, and that is told at once.
const CLOSING_SPAN: Duration = Duration::from_millis(1);
/// What a task writes to.
const CHANNELS: [Channel; 2] = [Channel::Stdout, Channel::Stderr];
/// Another process holds a file that is to be executed: it was written a moment ago.
const BUSY_TRIES: u32 = 20;

/// Why a task was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Stopped,
    TimedOut,
    /// As far as is known: where the kernel bounds it, it has used all that it may.
    TooLarge {
        used_bytes: u64,
    },
    /// The kernel has ended it, since the machine had no memory left.
    MachineFull,
    /// What it wrote can't be read any more.
    OutputLost,
    /// It ended well, but without all that it declared.
    Incomplete {
        problem: String,
    },
}

/// Runs an attempt to its end.
pub(super) fn run(mut attempt: Attempt, stopped: &PipeReader) -> Computed {
    let computed = match prepare(&attempt, stopped) {
        Ok(running) => running.finish(&mut attempt, stopped),
        Err(outcome) => Computed::ended(outcome),
    };
    if command::has_scratch(&attempt) {
        attempt.scratch.remove(attempt.id);
    }
    computed
}

/// A spawned process.
struct Running {
    /// Its pipes are those of [`CHANNELS`], until nothing more comes.
    process: Process,
    /// One of its pipes has just been closed.
    is_closing: bool,
    tree: Tree,
    begun: Instant,
    /// None: where the agent is.
    folder: Option<PathBuf>,
    /// It was told to stop.
    is_stopped: bool,
    _share: limits::Share,
}

fn prepare(attempt: &Attempt, stopped: &PipeReader) -> Result<Running, Outcome> {
    let folder = command::folder(attempt)?;
    give_files(attempt, folder.as_deref())?;
    let inherited = setup::environment(attempt, stopped).map_err(|unset| match unset {
        setup::Unset::Stopped => Outcome::Cancelled,
        setup::Unset::Failed(reason) => Outcome::setup_failed(reason),
    })?;
    let mut environment = Environment::of_task(attempt, inherited);
    let share = attempt.shares.take(&attempt.job.spec);
    share.tell(&mut environment);
    let program = command::build(attempt, &environment, folder.as_deref(), false)?;
    // This thread is the attempt's own: what is set for it is inherited, and if anything is it ends with the attempt.
    share.apply(attempt.job.spec.nice);
    // Before the spawn: the agent may move for it, and only what is born beside it may be moved on.
    let cgroup = attempt.shares.bound_memory(attempt);
    let procs = || cgroup.as_ref().and_then(|cgroup| cgroup.procs().ok());
    let process = match spawn(&Program { cgroup: procs(), ..program }, attempt) {
        // As shells do it with a script that begins with no interpreter.
        Err(Unspawned::NoFormat(_)) => {
            let program = command::build(attempt, &environment, folder.as_deref(), true)?;
            spawn(&Program { cgroup: procs(), ..program }, attempt)
        }
        spawned => spawned,
    }?;
    let cgroup = cgroup.filter(|_| process.is_in_cgroup);
    let tree = Tree::new(process.pid, environment.marks(), cgroup);
    let (begun, is_closing, is_stopped) = (Instant::now(), false, false);
    Ok(Running { process, is_closing, tree, begun, folder, is_stopped, _share: share })
}

/// Puts its inputs into its folder, and makes the folders that its outputs go to.
fn give_files(attempt: &Attempt, folder: Option<&Path>) -> Result<(), Outcome> {
    let Some(folder) = folder else { return Ok(()) };
    let host = &attempt.here.host;
    files::place::place(folder, &attempt.staged, host)?;
    for output in &attempt.command.outputs {
        files::place::make_folder(folder, &output.known_folder())
            .map_err(|error| Outcome::failed_by_machine(format!("no folder for its outputs on {host}: {error}")))?;
    }
    Ok(())
}

/// Why there is no process.
enum Unspawned {
    /// The file is no program that the system knows.
    NoFormat(Outcome),
    Failed(Outcome),
}

impl From<Unspawned> for Outcome {
    fn from(unspawned: Unspawned) -> Self {
        match unspawned {
            Unspawned::NoFormat(outcome) | Unspawned::Failed(outcome) => outcome,
        }
    }
}

fn spawn(program: &Program<'_>, attempt: &Attempt) -> Result<Process, Unspawned> {
    let name = || {
        let first = attempt.command.words.first().map(|word| &word.text[..]).unwrap_or_default();
        String::from_utf8_lossy(first).into_owned()
    };
    let host = &attempt.here.host;
    let reason = |error: &io::Error| format!("cannot start {} on {host}: {error}{}", name(), hint(error));
    for _ in 0..BUSY_TRIES {
        let error = match program.spawn() {
            Ok(process) => return Ok(process),
            Err(SpawnError::Program(error)) => error,
            Err(SpawnError::Folder(error)) => {
                let folder = program.folder.as_deref().unwrap_or_default().to_string_lossy();
                let reason = format!("cannot enter {folder} on {host}: {error}");
                return Err(Unspawned::Failed(Outcome::failed_by_host(reason)));
            }
            Err(SpawnError::Process(error)) => {
                return Err(Unspawned::Failed(match may_pass(&error) {
                    true => Outcome::failed_by_machine(reason(&error)),
                    false => Outcome::failed_by_host(reason(&error)),
                }));
            }
        };
        return Err(match error.kind() {
            io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            io::ErrorKind::ArgumentListTooLong => {
                Unspawned::Failed(Outcome::failed("its arguments are longer than the system allows"))
            }
            io::ErrorKind::PermissionDenied => Unspawned::Failed(Outcome::failed(reason(&error))),
            _ if may_pass(&error) => Unspawned::Failed(Outcome::failed_by_machine(reason(&error))),
            _ if has_no_format(program, &error) => Unspawned::NoFormat(Outcome::failed(reason(&error))),
            _ => Unspawned::Failed(Outcome::failed_by_host(reason(&error))),
        });
    }
    Err(Unspawned::Failed(Outcome::failed(format!("{} is being written", name()))))
}

/// Whether a program can't be executed because it is a script that names no interpreter.
fn has_no_format(program: &Program<'_>, error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::NOEXEC)
        && command::may_be_script(Path::new(OsStr::from_bytes(program.path.as_bytes())))
}

/// Whether the machine lacks something that it may have again.
fn may_pass(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || !hint(error).is_empty()
}

/// What helps, where that is known.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => " (raise ulimit -n there, or take fewer slots with -j)",
        Some(Errno::AGAIN) => " (raise ulimit -u there, or take fewer slots with -j)",
        _ => "",
    }
}

impl Running {
    fn finish(mut self, attempt: &mut Attempt, stopped: &PipeReader) -> Computed {
        let deadline = deadline(attempt.job.spec.timeout_ms, self.begun);
        let mut ending = None;
        let mut kill_at = None;
        while !self.step(attempt, stopped, ending.is_some(), kill_at.or(deadline)) {
            let now = Instant::now();
            if ending.is_none() {
                ending = self.find_ending(attempt, deadline, now);
                if ending.is_some() {
                    self.tree.terminate();
                    kill_at = Some(now + Duration::from_millis(attempt.job.spec.kill_after_ms));
                }
            } else if kill_at.is_some_and(|at| now >= at) {
                self.tree.kill();
                kill_at = Some(now + LOOK_SPAN);
            }
        }
        let wall = self.begun.elapsed();
        // A part of what it wrote is no result, however well it ended.
        let mut is_whole = self.drain(attempt, stopped);
        // Reaped only now: until then nobody else gets its pid, or its group's.
        self.tree.end_rest(Duration::from_millis(attempt.job.spec.kill_after_ms));
        let used = self.process.wait().ok();
        if ending.is_none() && self.tree.cgroup().is_some_and(TaskCgroup::was_too_large) {
            ending = Some(Ending::TooLarge { used_bytes: attempt.job.spec.memory_bytes });
        }
        if ending.is_none() && used.as_ref().is_some_and(was_killed) && attempt.shares.was_memory_exhausted() {
            ending = Some(Ending::MachineFull);
        }
        if is_whole && ending.is_none() && used.as_ref().is_some_and(|used| used.status.success()) {
            ending = self.send_outputs(attempt, stopped).err();
        }
        is_whole = is_whole && (ending == Some(Ending::Stopped) || flushed(&mut attempt.sink, stopped));
        if !is_whole {
            ending = Some(Ending::Stopped);
        } else if attempt.sink.is_lost() && ending != Some(Ending::Stopped) {
            ending = Some(Ending::OutputLost);
        }
        conclude(attempt, ending.as_ref(), wall, used.as_ref())
    }

    /// Sends what it declared, after what it wrote.
    fn send_outputs(&self, attempt: &mut Attempt, stopped: &PipeReader) -> Result<(), Ending> {
        let Attempt { command, sink, .. } = attempt;
        if command.outputs.is_empty() {
            return Ok(());
        }
        let folder = self.folder.as_deref().unwrap_or(Path::new("."));
        let mut take = |piece: collect::Piece<'_>| {
            if !waited_for_room(sink, stopped) {
                return false;
            }
            match piece {
                collect::Piece::Content(bytes) => sink.take(Channel::Content, bytes),
                collect::Piece::Entry(entry) => {
                    let bytes = encode_entry(entry).expect("its paths were checked to be no longer than a system's");
                    sink.take(Channel::Entry, &bytes);
                }
            }
            true
        };
        collect::collect(folder, &command.outputs, &mut take).map_err(|problem| match problem {
            collect::Problem::Failed(problem) => Ending::Incomplete { problem },
            collect::Problem::Stopped => Ending::Stopped,
        })
    }

    /// Waits until something happens, and reads what there is; true: the process has exited.
    fn step(&mut self, attempt: &mut Attempt, stopped: &PipeReader, is_ending: bool, next: Option<Instant>) -> bool {
        let until = next.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        // Room comes as the manager takes what was sent: waited for here, and not in the poll, which doesn't see it.
        let has_room = attempt.sink.has_room(until.min(LOOK_SPAN));
        let span = match has_room {
            false => Duration::ZERO,
            // What waits on the disk goes on when there is room.
            true if !attempt.sink.is_flushed() => until.min(BACKLOG_SPAN),
            true if self.is_watched(attempt) => until.min(LOOK_SPAN),
            true => until,
        };
        let (reads, span) = match std::mem::take(&mut self.is_closing) {
            true => (false, span.min(CLOSING_SPAN)),
            false => (has_room, span),
        };
        let wanted = self.process.pipes.each_ref().map(|pipe| pipe.as_ref().filter(|_| reads).map(AsFd::as_fd));
        let stop = (!is_ending).then(|| stopped.as_fd());
        let ready = wait([Some(self.process.exited.as_fd()), stop, wanted[0], wanted[1]], span);
        self.is_stopped |= ready[1];
        for number in [0, 1] {
            if ready[2 + number] {
                self.read(number, PIECE_BYTES, attempt);
            }
        }
        ready[0]
    }

    fn find_ending(&mut self, attempt: &Attempt, deadline: Option<Instant>, now: Instant) -> Option<Ending> {
        if self.is_stopped {
            return Some(Ending::Stopped);
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Some(Ending::TimedOut);
        }
        let most = attempt.job.spec.memory_bytes;
        let used_bytes = if self.is_watched(attempt) { self.tree.resident_bytes() } else { 0 };
        (used_bytes > most).then_some(Ending::TooLarge { used_bytes })
    }

    /// Whether its memory is to be looked at, because the kernel doesn't bound it.
    fn is_watched(&self, attempt: &Attempt) -> bool {
        attempt.job.spec.memory_bytes > 0 && self.tree.cgroup().is_none()
    }

    /// After the exit: what is in the pipes still counts; what others write later doesn't. False: it was told to stop before
    /// all of that was taken.
    fn drain(&mut self, attempt: &mut Attempt, stopped: &PipeReader) -> bool {
        for number in [0, 1] {
            let waits = self.process.pipes[number].as_ref().and_then(|pipe| ioctl_fionread(pipe).ok());
            let mut left = waits.unwrap_or(0) as usize;
            while left > 0 {
                if !waited_for_room(&mut attempt.sink, stopped) {
                    return false;
                }
                match self.read(number, left, attempt) {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
            }
        }
        true
    }

    /// Reads one piece of what it writes there, no longer than that; the length of what came.
    ///
    /// Not inlined, so that its piece is on the stack no longer.
    #[inline(never)]
    fn read(&mut self, number: usize, most: usize, attempt: &mut Attempt) -> usize {
        let Some(pipe) = &mut self.process.pipes[number] else { return 0 };
        // Not zeroed: that would take longer than to read what most tasks write.
        let mut room = [MaybeUninit::uninit(); PIECE_BYTES];
        let room = &mut room[..most.min(PIECE_BYTES)];
        let length = retry_on_intr(|| {
            let (piece, _) = read(&*pipe, &mut *room)?;
            if !piece.is_empty() {
                attempt.sink.take(CHANNELS[number], piece);
            }
            Ok(piece.len())
        });
        match length {
            Ok(length @ 1..) => length,
            _ => {
                self.process.pipes[number] = None;
                self.is_closing = true;
                0
            }
        }
    }
}

/// Waits until the manager takes more; false: the attempt is to stop.
fn waited_for_room(sink: &mut Sink, stopped: &PipeReader) -> bool {
    while !sink.has_room(LOOK_SPAN) {
        if wait([Some(stopped.as_fd()), None, None, None], Duration::ZERO)[0] {
            return false;
        }
    }
    true
}

/// Waits until all that it wrote is on its way to the manager; false: the attempt is to stop.
fn flushed(sink: &mut Sink, stopped: &PipeReader) -> bool {
    while !sink.flush(LOOK_SPAN) {
        if wait([Some(stopped.as_fd()), None, None, None], Duration::ZERO)[0] {
            return false;
        }
    }
    true
}

fn deadline(timeout_ms: u64, begun: Instant) -> Option<Instant> {
    if timeout_ms == 0 { None } else { begun.checked_add(Duration::from_millis(timeout_ms)) }
}

/// Which of these can be read, or have been closed, after waiting that long at most.
pub(super) fn wait(descriptors: [Option<BorrowedFd<'_>>; 4], span: Duration) -> [bool; 4] {
    let mut places = Vec::with_capacity(4);
    let mut polled = Vec::with_capacity(4);
    for (place, descriptor) in descriptors.iter().enumerate() {
        if let Some(descriptor) = descriptor {
            places.push(place);
            polled.push(PollFd::from_borrowed_fd(*descriptor, PollFlags::IN));
        }
    }
    let timeout = Timespec::try_from(span).ok();
    let mut ready = [false; 4];
    if poll(&mut polled, timeout.as_ref()).is_ok() {
        for (place, descriptor) in places.into_iter().zip(&polled) {
            ready[place] = !descriptor.revents().is_empty();
        }
    }
    ready
}

fn conclude(attempt: &Attempt, ending: Option<&Ending>, wall: Duration, used: Option<&Used>) -> Computed {
    let (bytes, crc) = attempt.sink.total();
    let compute_us = micros(wall);
    let summary = ResultSummary { bytes, crc, compute_us };
    let process = used.map(|used| process_end(used, compute_us));
    let failed = |reason: String| Outcome::Failed { reason, fault: Fault::Task, result: Some(summary) };
    let outcome = match ending {
        Some(Ending::Stopped) => Outcome::Cancelled,
        Some(Ending::MachineFull) => Outcome::failed_by_machine(format!(
            "killed by the kernel: {} had no memory left (--memory reserves what a task needs)",
            attempt.here.host
        )),
        Some(Ending::OutputLost) => {
            Outcome::failed_by_machine(format!("the disk of {} has lost what it printed", attempt.here.host))
        }
        Some(Ending::Incomplete { problem }) => failed(problem.clone()),
        Some(Ending::TimedOut) => failed(super::timed_out(attempt.job.spec.timeout_ms)),
        Some(Ending::TooLarge { used_bytes }) => {
            let most = attempt.job.spec.memory_bytes;
            let used = if *used_bytes > most { limits::human_bytes(*used_bytes) } else { "all".to_owned() };
            failed(format!("killed: used {used} of its {}", limits::human_bytes(most)))
        }
        None => match process {
            Some(ProcessEnd { exit: Some(0), .. }) => Outcome::Completed(summary),
            Some(ProcessEnd { exit: Some(code), .. }) => failed(format!("exit {code}")),
            Some(ProcessEnd { signal: Some(signal), .. }) => failed(format!("killed by signal {}", name(signal))),
            _ => failed("nobody knows how it ended".to_owned()),
        },
    };
    Computed::Ended { outcome, process, bytes }
}

/// Whether it was SIGKILLed, or says as shells do that what it ran was.
fn was_killed(used: &Used) -> bool {
    let kill = Signal::KILL.as_raw();
    used.status.signal() == Some(kill) || used.status.code() == Some(128 + kill)
}

fn process_end(used: &Used, wall_us: u64) -> ProcessEnd {
    ProcessEnd {
        exit: used.status.code(),
        signal: used.status.signal(),
        wall_us,
        cpu_us: micros(used.cpu),
        max_rss_bytes: used.max_rss_bytes,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// `9 (SIGKILL)`, for those that people meet.
fn name(signal: i32) -> String {
    const NAMES: [(i32, &str); 12] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| signal.to_string(), |(_, name)| format!("{signal} ({name})"))
}
