//! The two batches that rows are played with: a map of commands that note on their hosts that they have begun and then wait for
//! a file there, and the picture of [`crate::scene`] with slow tiles.

use super::Row;
use crate::scene::{Events, Scene, picture};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder on hosts in which commands note that they have begun.
pub const NOTES: &str = "/run/matrix";
/// The tasks of the map.
pub const COMMANDS: usize = 16;
/// Those of them, the first, that wait for nothing.
const FREE: u64 = 4;

/// What a batch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands, which may not run twice.
    Command,
    /// Tiles of a picture, which may.
    Kernel,
}

/// A batch that can be started.
pub struct Batch {
    /// What it is made of.
    pub kind: Kind,
    /// What titan is told.
    pub words: Vec<OsString>,
    /// Where its results are to be.
    pub out: PathBuf,
    /// What they are if nothing goes wrong.
    pub whole: BTreeMap<String, Vec<u8>>,
}

impl Batch {
    pub(super) fn on(scene: &Scene, row: &Row, kind: Kind) -> Self {
        let cluster = row.pace.set((row.cluster)(scene, &kind.faults(row)));
        let cluster = scene.write_cluster(&cluster);
        let out = scene.work_file("out");
        let words = kind.words(scene, row, &cluster, &out);
        Self { kind, words, out, whole: kind.make_results(row, scene) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "commands",
            Self::Kernel => "kernels",
        })
    }
}

impl Kind {
    /// How many tasks there are.
    pub fn tasks(self) -> usize {
        match self {
            Self::Command => COMMANDS,
            Self::Kernel => picture::TILES,
        }
    }

    /// The tasks that run on a host, without those that may end at any moment.
    pub(super) fn running_on(self, events: &Events, host: &str) -> Vec<u64> {
        let mut running = events.running_on(host);
        running.retain(|task| self == Self::Kernel || *task >= FREE);
        running
    }

    /// What goes wrong in agents from the start.
    pub(super) fn faults(self, row: &Row) -> String {
        match self {
            Self::Command => String::new(),
            Self::Kernel => format!("slow:{}", row.slow_ms),
        }
    }

    /// The words that begin the batch on the hosts of a cluster file, its results in `out`.
    pub(super) fn words(self, scene: &Scene, row: &Row, cluster: &Path, out: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        match self {
            Self::Command => {
                words.extend(["map", "--no-stage-check", "--results"].map(Into::into));
                words.push(out.into());
            }
            Self::Kernel => {
                words.extend(picture::ARGUMENTS.map(Into::into));
                words.extend(["-o".into(), out.into()]);
            }
        }
        words.extend(["--cluster".into(), cluster.into()]);
        words.extend(row.options.iter().map(Into::into));
        if self == Self::Command {
            let waits = format!("test {{}} -le {FREE} || until test -e {NOTES}/go; do sleep 0.2; done");
            let script = format!("{}; echo $$ >> {NOTES}/{{}}; {waits}; {}; {}", row.begins, row.ends, row.script);
            words.extend(["-s".into(), script.into(), "-a".into(), write_numbers(scene).into()]);
        }
        words
    }

    /// The results of the batch in `out`, by what they are called.
    pub fn read_results(self, out: &Path) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::Command => read_streams(out),
            Self::Kernel => fs::read(out).into_iter().map(|bytes| ("picture".to_owned(), bytes)).collect(),
        }
    }

    /// The results of the batch if nothing goes wrong, as the laptop makes them alone.
    pub(super) fn make_results(self, row: &Row, scene: &Scene) -> BTreeMap<String, Vec<u8>> {
        if self == Self::Kernel {
            return BTreeMap::from([("picture".to_owned(), picture::local().to_vec())]);
        }
        let out = scene.rig.laptop().work_dir().join("whole");
        let mut titan = scene.titan(["map", "--local=1", "--no-output", "--results"]);
        titan.arg(&out).args(["-s", row.script, "-a"]).arg(write_numbers(scene));
        let output = titan.output().expect("titan can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_streams(&out)
    }
}

/// The values of commands: in a file, since titan is told more after these words.
fn write_numbers(scene: &Scene) -> PathBuf {
    let numbers: String = (1..=COMMANDS).map(|number| format!("{number}\n")).collect();
    scene.write("numbers", &numbers)
}

/// What each task has printed: `5/stdout`, `5/stderr`.
fn read_streams(results: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut streams = BTreeMap::new();
    for entry in fs::read_dir(results).into_iter().flatten().flatten() {
        for stream in ["stdout", "stderr"] {
            if let Ok(bytes) = fs::read(entry.path().join(stream)) {
                streams.insert(format!("{}/{stream}", entry.file_name().to_string_lossy()), bytes);
            }
        }
    }
    streams
}
