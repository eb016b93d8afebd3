//! A program → a process of its own.
//!
//! As `posix_spawn` does it, the child shares this process's memory until it executes the program, so that nothing is copied,
//! however large the agent is. It isn't `posix_spawn`, which asks about each of 64 signals in each child and resets what has a
//! handler: this process has none but std's, which are for its own faults. Nor is it std's `Command`, which also makes the
//! environment anew for each. A short task would wait for both longer than for the agent.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, Signal, kill_process};

/// The child's stack until it executes the program: it makes a few calls to the system there.
const STACK_BYTES: usize = 32 << 10;

/// A program, ready to be spawned.
#[derive(Debug)]
pub(super) struct Program<'e> {
    /// Its file.
    pub(super) path: CString,
    /// What it is told: its name, then its arguments.
    pub(super) words: Vec<CString>,
    /// As `NAME=value`.
    pub(super) environment: Vec<Cow<'e, CStr>>,
    /// Where it runs; None: where this process does.
    pub(super) folder: Option<CString>,
    /// What it reads; None: nothing.
    pub(super) stdin: Option<File>,
    /// Where its stdout and its stderr go.
    pub(super) writes: [Goes; 2],
    /// How many files it may open; None: as many as this process.
    pub(super) open_files: Option<Rlimit>,
    /// Its `oom_score_adj`, as text.
    pub(super) oom_score: &'e CStr,
    /// The `cgroup.procs` of the cgroup that it is to be in, open for writing.
    pub(super) cgroup: Option<File>,
}

/// Where what a process writes goes.
#[derive(Debug)]
pub(super) enum Goes {
    Nowhere,
    /// Into a pipe, to be read.
    Captured,
    To(File),
}

/// Why there is no process.
#[derive(Debug)]
pub(super) enum SpawnError {
    /// It couldn't be made.
    Process(io::Error),
    /// It can't be in its folder.
    Folder(io::Error),
    /// Its program can't be executed.
    Program(io::Error),
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Process(error) | SpawnError::Folder(error) | SpawnError::Program(error) => error,
        }
    }
}

impl Program<'_> {
    /// Starts it, with a process group of its own, no signal blocked, and SIGPIPE as it is by default.
    ///
    /// # Errors
    /// There is no process.
    pub(super) fn spawn(&self) -> Result<Process, SpawnError> {
        let (stdin, stdout, stderr) = self.streams().map_err(SpawnError::Process)?;
        let streams = [stdin, stdout.end(), stderr.end()].map(|stream| stream.as_raw_fd());
        let environment = pointers(self.environment.iter().map(AsRef::as_ref));
        let words = pointers(self.words.iter().map(CString::as_c_str));
        let (path, folder) = (self.path.as_c_str(), self.folder.as_deref());
        let open_files = self.open_files.as_ref().map(|limit| libc::rlimit {
            rlim_cur: limit.current.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: limit.maximum.unwrap_or(libc::RLIM_INFINITY),
        });
        let mut child = Child {
            path,
            words,
            environment,
            folder,
            streams,
            open_files,
            oom_score: self.oom_score,
            cgroup: self.cgroup.as_ref().map(AsRawFd::as_raw_fd),
            is_in_cgroup: false,
            error: None,
        };
        let (pid, exited) = clone(&mut child)?;
        let pipes = [stdout.into_pipe(), stderr.into_pipe()];
        Ok(Process { pid, exited, pipes, is_in_cgroup: child.is_in_cgroup })
    }

    fn streams(&self) -> io::Result<(BorrowedFd<'_>, Output<'_>, Output<'_>)> {
        let stdin = self.stdin.as_ref().map_or_else(|| nothing(false), |file| Ok(file.as_fd()))?;
        let [stdout, stderr] = self.writes.each_ref().map(Output::new);
        Ok((stdin, stdout?, stderr?))
    }
}

/// What a process writes to.
enum Output<'p> {
    File(BorrowedFd<'p>),
    Pipe(io::PipeReader, io::PipeWriter),
}

impl<'p> Output<'p> {
    fn new(goes: &'p Goes) -> io::Result<Self> {
        match goes {
            Goes::Nowhere => nothing(true).map(Self::File),
            Goes::Captured => io::pipe().map(|(reader, writer)| Self::Pipe(reader, writer)),
            Goes::To(file) => Ok(Self::File(file.as_fd())),
        }
    }

    fn end(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(file) => *file,
            Self::Pipe(_, writer) => writer.as_fd(),
        }
    }

    /// What it writes, to be read; the end that became its own is closed here.
    fn into_pipe(self) -> Option<File> {
        match self {
            Self::File(_) => None,
            Self::Pipe(reader, _) => Some(OwnedFd::from(reader).into()),
        }
    }
}

/// `/dev/null`, opened once for all processes to read from it, and once for all to write to it.
fn nothing(is_written: bool) -> io::Result<BorrowedFd<'static>> {
    static NOTHING: [OnceLock<File>; 2] = [const { OnceLock::new() }; 2];
    let nothing = &NOTHING[usize::from(is_written)];
    if nothing.get().is_none() {
        let _ = nothing.set(File::options().read(!is_written).write(is_written).open("/dev/null")?);
    }
    Ok(nothing.get().expect("it was set").as_fd())
}

/// A process, until it is waited for.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Can be read when it has exited.
    pub(super) exited: OwnedFd,
    /// Its stdout and its stderr, if they are captured.
    pub(super) pipes: [Option<File>; 2],
    /// Whether it is where it was to be, and so is all that it starts.
    pub(super) is_in_cgroup: bool,
}

/// How a process has ended, and what it and those that it waited for have used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) status: ExitStatus,
    pub(super) cpu: Duration,
    /// The most memory that one of them had at once; at least what the agent had when it was spawned, whose memory it shared.
    pub(super) max_rss_bytes: u64,
}

impl Process {
    /// Waits for its exit, and takes leave of it: from then on its number may be another's.
    ///
    /// # Errors
    /// Somebody else has taken leave of it.
    pub(super) fn wait(&self) -> io::Result<Used> {
        wait(self.pid)
    }
}

fn wait(pid: Pid) -> io::Result<Used> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        #[expect(unsafe_code, reason = "neither std nor rustix has a wait that tells what was used")]
        // SAFETY: both places are valid for writes of their types.
        let waited = unsafe { libc::wait4(pid.as_raw_pid(), &raw mut status, 0, usage.as_mut_ptr()) };
        match waited {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            _ => break,
        }
    }
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: it consists of numbers and was zeroed.
    let usage = unsafe { usage.assume_init() };
    Ok(Used {
        status: ExitStatus::from_raw(status),
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        // In KiB there.
        max_rss_bytes: usage.ru_maxrss.unsigned_abs() << 10,
    })
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

/// Pointers to strings, with the null pointer after the last.
struct Pointers<'s> {
    pointers: Vec<*const c_char>,
    _strings: std::marker::PhantomData<&'s CStr>,
}

fn pointers<'s>(strings: impl Iterator<Item = &'s CStr>) -> Pointers<'s> {
    let pointers = strings.map(CStr::as_ptr).chain([ptr::null()]).collect();
    Pointers { pointers, _strings: std::marker::PhantomData }
}

/// What the child needs, and what it tells.
struct Child<'p> {
    path: &'p CStr,
    words: Pointers<'p>,
    environment: Pointers<'p>,
    folder: Option<&'p CStr>,
    /// What becomes its standard streams. None of them is one already: whatever was opened after this process's own start
    /// has a higher number.
    streams: [RawFd; 3],
    open_files: Option<libc::rlimit>,
    oom_score: &'p CStr,
    cgroup: Option<RawFd>,
    is_in_cgroup: bool,
    /// Why it executes nothing.
    error: Option<SpawnError>,
}

#[repr(align(16))]
struct Stack([MaybeUninit<u8>; STACK_BYTES]);

/// A child that executes that program, and its pidfd.
fn clone(child: &mut Child<'_>) -> Result<(Pid, OwnedFd), SpawnError> {
    let mut stack = Stack([MaybeUninit::uninit(); STACK_BYTES]);
    let mut pidfd: RawFd = -1;
    debug_assert!(child.streams.iter().all(|stream| *stream > 2), "{:?}", child.streams);
    // While the child sets itself up in this process's memory no signal is to interrupt it.
    let mask = block_signals();
    #[expect(unsafe_code, reason = "it is a call to the system that std and rustix lack")]
    // SAFETY: the stack is the child's alone, and large enough for what it does; this thread goes on when the child has
    // executed the program or has exited (CLONE_VFORK), so that what it is given lives as long as it needs it; with
    // CLONE_PIDFD the fifth argument is where the pidfd is written.
    let pid = unsafe {
        let (top, none) = (stack.0.as_mut_ptr_range().end.cast::<c_void>(), ptr::null_mut::<c_void>());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        libc::clone(become_program, top, flags, ptr::from_mut(child).cast(), &raw mut pidfd, none, none)
    };
    let uncloned = io::Error::last_os_error();
    set_signals(&mask);
    if pid < 0 {
        return Err(SpawnError::Process(uncloned));
    }
    let pid = Pid::from_raw(pid).expect("a child has a number");
    if pidfd < 0 {
        // A system that doesn't know the flag.
        let _ = kill_process(pid, Signal::KILL);
        let _ = wait(pid);
        return Err(SpawnError::Process(Errno::NOSYS.into()));
    }
    #[expect(unsafe_code, reason = "the number comes from the system")]
    // SAFETY: it was opened for this call, and nobody else knows it.
    let exited = unsafe { OwnedFd::from_raw_fd(pidfd) };
    match child.error.take() {
        None => Ok((pid, exited)),
        Some(error) => {
            let _ = wait(pid);
            Err(error)
        }
    }
}

/// The child's part, on a stack of its own in memory that isn't: it allocates nothing, locks nothing, and can't panic.
extern "C" fn become_program(child: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "calls to the system between clone and exec, where std can't be used")]
    // SAFETY: it is given a `Child` that nobody else uses meanwhile; its strings end with NUL, its arrays with null, as they
    // are made by `CStr` and `pointers`; each call only asks the system, and takes no lock that another thread may hold.
    unsafe {
        let child = &mut *child.cast::<Child<'_>>();
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // Before anything that it starts can be there. Where there is no such file it is as hard to take as the agent.
        let oom_score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(oom_score, child.oom_score.as_ptr().cast(), child.oom_score.count_bytes());
        child.is_in_cgroup = child.cgroup.is_some_and(|procs| libc::write(procs, c"0".as_ptr().cast(), 1) == 1);
        let is_made = libc::setpgid(0, 0) == 0
            && (0..).zip(child.streams).all(|(number, stream)| libc::dup2(stream, number) == number)
            && child.open_files.as_ref().is_none_or(|most| libc::setrlimit(libc::RLIMIT_NOFILE, most) == 0)
            && libc::signal(libc::SIGPIPE, libc::SIG_DFL) != libc::SIG_ERR
            && libc::sigemptyset(none.as_mut_ptr()) == 0
            && libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) == 0;
        child.error = Some(if !is_made {
            SpawnError::Process(io::Error::last_os_error())
        } else if child.folder.is_some_and(|folder| libc::chdir(folder.as_ptr()) != 0) {
            SpawnError::Folder(io::Error::last_os_error())
        } else {
            let (words, environment) = (child.words.pointers.as_ptr(), child.environment.pointers.as_ptr());
            libc::execve(child.path.as_ptr(), words, environment);
            SpawnError::Program(io::Error::last_os_error())
        });
    }
    127
}

/// Blocks every signal for this thread; what was blocked before.
fn block_signals() -> libc::sigset_t {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    #[expect(unsafe_code, reason = "neither std nor rustix sets a thread's signals")]
    // SAFETY: both are places for a set of signals, and with these arguments both calls write them.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn set_signals(mask: &libc::sigset_t) {
    #[expect(unsafe_code, reason = "as for blocking them")]
    // SAFETY: it is a set of signals that the system has given.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn program<'e>(path: &CStr, words: &[&CStr]) -> Program<'e> {
        let words = words.iter().copied().map(CString::from).collect();
        Program {
            path: path.into(),
            words,
            environment: Vec::new(),
            folder: None,
            stdin: None,
            writes: [Goes::Captured, Goes::Captured],
            open_files: None,
            oom_score: c"700",
            cgroup: None,
        }
    }

    fn shell<'e>(script: &CStr) -> Program<'e> {
        program(c"/bin/sh", &[c"sh", c"-c", script])
    }

    /// Its exit status and what it printed.
    fn ended(program: &Program<'_>) -> (Used, String) {
        let mut process = program.spawn().unwrap();
        let mut printed = String::new();
        for pipe in process.pipes.iter_mut().flatten() {
            pipe.read_to_string(&mut printed).unwrap();
        }
        (process.wait().unwrap(), printed)
    }

    #[test]
    fn a_program_gets_its_words_environment_folder_and_streams() {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"read\n", 0).unwrap();
        let program = Program {
            environment: vec![Cow::Borrowed(c"X=set")],
            folder: Some(c"/".into()),
            stdin: Some(file),
            ..program(
                c"/bin/sh",
                &[c"a name", c"-c", c"read line; echo \"$0 $1 $X $line $PWD\"; echo said >&2; exit 3", c"zero", c"one"],
            )
        };
        let (used, printed) = ended(&program);
        assert_eq!(used.status.code(), Some(3));
        assert!(used.max_rss_bytes > 100_000, "{used:?}");
        assert_eq!(printed, "zero one set read /\nsaid\n");
    }

    #[test]
    fn an_environment_is_all_that_there_is() {
        let environment = vec![Cow::Borrowed(c"X=set"), Cow::Owned(c"Y=".into())];
        let program = Program { environment, ..program(c"/usr/bin/env", &[c"env"]) };
        assert_eq!(ended(&program).1, "X=set\nY=\n");
    }

    #[test]
    fn it_may_open_as_many_files_as_it_is_told() {
        let open_files = Some(Rlimit { current: Some(77), maximum: Some(78) });
        let program = Program { open_files, ..shell(c"ulimit -n; ulimit -Hn") };
        assert_eq!(ended(&program).1, "77\n78\n");
    }

    #[test]
    fn it_is_easier_to_take_and_in_its_cgroup_before_it_begins() {
        assert_eq!(ended(&shell(c"cat /proc/self/oom_score_adj")).1, "700\n");
        let mut procs = tempfile::tempfile().unwrap();
        let process = Program { cgroup: Some(procs.try_clone().unwrap()), ..shell(c":") }.spawn().unwrap();
        process.wait().unwrap();
        let mut written = String::new();
        std::io::Seek::rewind(&mut procs).unwrap();
        procs.read_to_string(&mut written).unwrap();
        assert_eq!((process.is_in_cgroup, written.as_str()), (true, "0"));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let process = Program { cgroup: Some(full), ..shell(c":") }.spawn().unwrap();
        assert!(process.wait().unwrap().status.success() && !process.is_in_cgroup);
    }

    #[test]
    fn what_is_not_captured_goes_nowhere_and_nothing_is_read() {
        let script = c"for n in 0 1 2; do test /proc/$$/fd/$n -ef /dev/null || exit 1; done; ! echo written 2>&- >&0";
        let process = Program { writes: [Goes::Nowhere, Goes::Nowhere], ..shell(script) }.spawn().unwrap();
        assert!(process.pipes.iter().all(Option::is_none));
        assert!(process.wait().unwrap().status.success());
    }

    #[test]
    fn what_goes_to_a_file_is_there() {
        let mut file = tempfile::tempfile().unwrap();
        let writes = [Goes::Captured, Goes::To(file.try_clone().unwrap())];
        assert_eq!(ended(&Program { writes, ..shell(c"echo out; echo err >&2") }).1, "out\n");
        let mut written = String::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut written).unwrap();
        assert_eq!(written, "err\n");
    }

    #[test]
    fn a_process_leads_a_group_and_has_its_signals_as_they_are_by_default() {
        let before = block_signals();
        let script = c"ps=/proc/self; read -r stat < $ps/stat; echo $stat; while read -r line; do echo \"$line\"; done < $ps/status";
        let (_, printed) = ended(&shell(script));
        set_signals(&before);
        let fields: Vec<&str> = printed.split_ascii_whitespace().collect();
        assert_eq!(fields[0], fields[4], "it isn't its group");
        let set = |name| printed.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap().trim();
        let signals = |name| u64::from_str_radix(set(name), 16).unwrap();
        assert_eq!(signals("SigBlk:"), 0);
        // This process ignores it, and what is ignored is inherited.
        assert_eq!(signals("SigIgn:") & 1 << (libc::SIGPIPE - 1), 0);
    }

    #[test]
    fn signals_that_this_thread_takes_are_the_same_afterwards() {
        let mine = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = |status: String| status.lines().find(|line| line.starts_with("SigBlk:")).map(str::to_owned);
        let before = blocked(mine());
        ended(&shell(c":"));
        assert_eq!(blocked(mine()), before);
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_an_error_and_leaves_no_process() {
        let problem = |program: Program<'_>| match program.spawn().unwrap_err() {
            SpawnError::Process(error) => ("process", error.raw_os_error().unwrap()),
            SpawnError::Folder(error) => ("folder", error.raw_os_error().unwrap()),
            SpawnError::Program(error) => ("program", error.raw_os_error().unwrap()),
        };
        assert_eq!(problem(program(c"/no/such/file", &[c"x"])), ("program", libc::ENOENT));
        assert_eq!(problem(program(c"/etc/passwd", &[c"x"])), ("program", libc::EACCES));
        assert_eq!(problem(Program { folder: Some(c"/no/such".into()), ..shell(c":") }), ("folder", libc::ENOENT));
        let nowhere = Some(Rlimit { current: Some(2), maximum: Some(1) });
        assert_eq!(problem(Program { open_files: nowhere, ..shell(c":") }), ("process", libc::EINVAL));
        let long = CString::new(vec![b'x'; 4 << 20]).unwrap();
        assert_eq!(problem(program(c"/bin/true", &[c"true", &long])), ("program", libc::E2BIG));
        let own = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(own, "");
    }

    #[test]
    fn an_end_by_a_signal_is_told() {
        assert_eq!(ended(&shell(c"kill -9 $$")).0.status.signal(), Some(9));
    }
}
