//! Where an agent is met that runs apart from its connections: a socket in a folder that is this user's alone, on this machine's own
//! disk, not in a folder that goes at logout. Its name is made of the batch and the host: who knows it and is of this user may connect.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::own_folder;

/// Where the folder may be: the same for every process of this user, whatever its environment says, and short.
const PARENTS: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// What is said where there is none.
pub(super) const NOWHERE: &str = "no folder of this user's own can be made in /tmp, /var/tmp or /dev/shm (is there another user's \
    titan-meet-UID?): the agent ends with its connection";
/// A log without an agent is no agent's that is just being started after this.
const STALE_SPAN: Duration = Duration::from_secs(60);
/// The parts of a place.
const PARTS: [&str; 3] = ["sock", "log", "alive"];
/// The longest name that somebody can be met under.
const MAX_NAME_CHARS: usize = 32;

/// A place to meet.
#[derive(Debug, Clone)]
pub(crate) struct Meeting {
    folder: PathBuf,
    name: String,
}

impl Meeting {
    /// The place of that name; None: the name is none, or there is no folder for it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_name =
            !name.is_empty() && name.len() <= MAX_NAME_CHARS && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let user = rustix::process::geteuid().as_raw();
        let parents = PARENTS.map(Path::new).into_iter().filter(|parent| own_folder::is_safe_in(parent));
        let folders: Vec<PathBuf> = parents.map(|parent| parent.join(format!("titan-meet-{user}"))).collect();
        let in_folder = |folder: &PathBuf| Self { folder: folder.clone(), name: name.to_owned() };
        // Where one is already: it may have begun while somebody else had the name of the first.
        let met = folders.iter().filter(|folder| own_folder::is_ours(folder)).map(in_folder);
        let is_met = |meeting: &Self| meeting.path("alive").symlink_metadata().is_ok();
        let found = is_name.then(|| met.into_iter().find(is_met)).flatten();
        let made = || folders.iter().filter(|_| is_name).find(|folder| own_folder::make(folder).is_ok()).map(in_folder);
        found.or_else(made)
    }

    /// Whether the agent of that name may still be there, or something that it ran: held by its watcher and by itself, until both
    /// have ended. None: it is there.
    ///
    /// # Errors
    /// That can't be told.
    pub(crate) fn take_alive(&self) -> io::Result<Option<File>> {
        // The folder goes with the last agent.
        own_folder::make(&self.folder)?;
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.path("alive"));
        let file = open()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it may have removed it before it could be locked here.
        let is_same =
            || Some(rustix::fs::fstat(&file).ok()?.st_ino == rustix::fs::stat(self.path("alive")).ok()?.st_ino);
        if is_same() == Some(true) { Ok(Some(file)) } else { Ok(None) }
    }

    /// The agent's end.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        let socket = self.path("sock");
        // That of an agent that was killed: whoever calls this has made sure that it is gone.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// The other end.
    ///
    /// # Errors
    /// Nobody listens, or somebody else.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.path("sock"))?;
        if is_own(&stream) { Ok(stream) } else { Err(io::Error::other("another user listens")) }
    }

    /// Where the agent says what nobody may be there to hear.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn make_log(&self) -> io::Result<File> {
        own_folder::make(&self.folder)?;
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path("log"))
    }

    /// What it has said and will say, for whoever opens it before it goes.
    ///
    /// # Errors
    /// It isn't there.
    pub(crate) fn open_log(&self) -> io::Result<File> {
        File::open(self.path("log"))
    }

    /// Nobody is met here any more.
    pub(crate) fn remove(&self) {
        self.remove_parts();
        self.sweep(STALE_SPAN);
        // Goes only when it is empty.
        let _ = fs::remove_dir(&self.folder);
    }

    fn remove_parts(&self) {
        PARTS.iter().for_each(|part| drop(fs::remove_file(self.path(part))));
    }

    /// Removes the places of agents that were killed with their watchers, or that never came to be: what is there of them is
    /// older than that, and nobody holds it.
    fn sweep(&self, stale: Duration) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a file's age has no other clock; a wrong one leaves it for a later agent"
        )]
        let now = SystemTime::now();
        let is_stale = |path: &PathBuf| {
            let changed = path.symlink_metadata().and_then(|data| data.modified());
            changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age >= stale))
        };
        let paths = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_log = |path: &PathBuf| path.extension().is_some_and(|part| part == "log");
        for log in paths.filter(is_log).filter(is_stale) {
            let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let place = Self { folder: self.folder.clone(), name };
            // Held until all is gone: nobody begins there meanwhile.
            let alive = File::options().write(true).open(place.path("alive")).ok();
            if alive.as_ref().is_none_or(|alive| alive.try_lock().is_ok()) {
                place.remove_parts();
            }
        }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{}.{part}", self.name))
    }
}

/// Whether the other end of a connection is this user's.
pub(crate) fn is_own(stream: &UnixStream) -> bool {
    let user = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting() -> Meeting {
        let folder = std::env::temp_dir()
            .join(format!("titan-meet-test-{:?}", std::thread::current().id()).replace(['(', ')'], ""));
        Meeting { folder, name: "x".to_owned() }
    }

    #[test]
    fn one_agent_at_a_time_is_met_and_nothing_is_left_of_it() {
        let meeting = meeting();
        let alive = meeting.take_alive().unwrap().expect("nobody is there");
        assert!(meeting.take_alive().unwrap().is_none());
        assert!(meeting.connect().is_err());
        let listener = meeting.listen().unwrap();
        let here = meeting.connect().unwrap();
        let (there, _) = listener.accept().unwrap();
        assert!(is_own(&here) && is_own(&there));
        let mode = fs::metadata(meeting.path("sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        meeting.make_log().unwrap();
        drop(alive);
        meeting.remove();
        assert!(meeting.take_alive().unwrap().is_some());
        meeting.remove();
        assert!(!meeting.folder.exists());
    }

    #[test]
    fn what_killed_agents_left_goes_with_the_next_and_living_ones_keep_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| Meeting { folder: folder.path().join("met"), name: name.to_owned() };
        let (living, killed, unborn, last) = (place("living"), place("killed"), place("unborn"), place("last"));
        let alive = living.take_alive().unwrap().unwrap();
        drop(killed.take_alive().unwrap().unwrap());
        drop(killed.listen().unwrap());
        for meeting in [&living, &killed, &unborn, &last] {
            meeting.make_log().unwrap();
        }
        last.remove();
        assert!(unborn.path("log").exists(), "it may be about to begin");
        last.sweep(Duration::ZERO);
        let left = || fs::read_dir(&last.folder).into_iter().flatten().count();
        assert_eq!(left(), 2);
        assert!(living.path("log").exists() && living.path("alive").exists());
        drop(alive);
        living.remove();
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_name_is_letters_and_digits() {
        assert!(
            Meeting::named("").is_none()
                && Meeting::named("../x").is_none()
                && Meeting::named(&"x".repeat(33)).is_none()
        );
    }
}
