//! What is found in a task's folder, and what is refused.

use std::os::unix::fs::symlink;

use super::*;

fn plain(text: &str) -> OutputPattern {
    OutputPattern { text: text.into(), is_glob: false }
}

fn glob(text: &str) -> OutputPattern {
    OutputPattern { text: text.into(), is_glob: true }
}

/// The places of what is sent, or the sentence.
fn collected(folder: &Path, outputs: &[OutputPattern]) -> Result<Vec<String>, String> {
    let mut places = Vec::new();
    let taken = collect(folder, outputs, &mut |piece| {
        if let Piece::Entry(entry) = piece {
            places.push(String::from_utf8(entry.place.clone()).unwrap());
        }
        true
    });
    match taken {
        Ok(()) => Ok(places),
        Err(Problem::Failed(reason)) => Err(reason),
        Err(Problem::Stopped) => Err("stopped".to_owned()),
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("out/deep")).unwrap();
    for name in ["out/a.png", "out/b.png", "out/c.txt", "out/deep/d.png", "top.txt"] {
        fs::write(path.join(name), name).unwrap();
    }
    folder
}

#[test]
fn files_folders_and_patterns_are_found() {
    let folder = folder();
    let path = folder.path();
    assert_eq!(collected(path, &[plain("top.txt")]).unwrap(), ["top.txt"]);
    assert_eq!(collected(path, &[glob("out/*.png")]).unwrap(), ["out/a.png", "out/b.png"]);
    assert_eq!(collected(path, &[glob("**/d.png")]).unwrap(), ["out/deep/d.png"]);
    assert_eq!(collected(path, &[plain("out")]).unwrap().len(), 6);
    // Twice declared is sent once.
    assert_eq!(collected(path, &[plain("out/a.png"), glob("out/a*")]).unwrap(), ["out/a.png"]);
}

#[test]
fn an_output_that_isnt_there_is_named() {
    let folder = folder();
    assert_eq!(collected(folder.path(), &[plain("no.txt")]).unwrap_err(), "it made no output no.txt");
    assert_eq!(collected(folder.path(), &[glob("no/*.txt")]).unwrap_err(), "it made no output no/*.txt");
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    let folder = folder();
    let path = folder.path();
    symlink("a.png", path.join("out/inside")).unwrap();
    assert_eq!(collected(path, &[plain("out/inside")]).unwrap(), ["out/inside"]);
    symlink("../../secret", path.join("out/outside")).unwrap();
    assert!(collected(path, &[plain("out")]).unwrap_err().contains("leads to '../../secret', out of its folder"));
    symlink("/", path.join("root")).unwrap();
    assert!(collected(path, &[plain("root/etc/passwd")]).unwrap_err().contains("leads out of the task's own"));
    assert!(collected(path, &[glob("root/etc/pass*")]).unwrap_err().contains("leads out of the task's own"));
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    assert_eq!(
        collected(folder.path(), &[plain("socket")]).unwrap_err(),
        "its output socket: it is no file, folder or link"
    );
}

#[test]
fn names_need_not_be_text() {
    let folder = tempfile::tempdir().unwrap();
    let name = b"a\xff \n*".to_vec();
    fs::write(folder.path().join(OsStr::from_bytes(&name)), b"x").unwrap();
    let mut places = Vec::new();
    let output = OutputPattern { text: name.clone(), is_glob: false };
    collect(folder.path(), &[output], &mut |piece| {
        if let Piece::Entry(entry) = piece {
            places.push(entry.place.clone());
        }
        true
    })
    .unwrap();
    assert_eq!(places, [name]);
}
