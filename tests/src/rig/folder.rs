//! The folder in which a rig has all that it writes.

use std::fs;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A rig's folder. It goes when this is dropped; a rig's script has usually removed it before, also when the test was
/// killed.
pub(super) struct RigFolder(PathBuf);

impl RigFolder {
    /// Makes a folder that no other rig has. Its name is short, for the sockets below it.
    pub(super) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        loop {
            let dir = PathBuf::from(format!("/tmp/rig-{pid}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
            match fs::create_dir(&dir) {
                Ok(()) => return Self(dir),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", dir.display()),
            }
        }
    }
}

impl Deref for RigFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for RigFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
