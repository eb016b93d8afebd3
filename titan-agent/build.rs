//! Hashes the kernels' sources: two builds whose hashes differ could compute different bits. Not in the kernels' own crate:
//! there a build script changed how the escape loop is compiled, and cost a seventh of its speed.

use std::path::{Path, PathBuf};
use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../kernels/src");
    let mut files = Vec::new();
    collect(Path::new("../kernels/src"), &mut files)?;
    files.sort();
    let mut hash = FNV_OFFSET;
    for file in &files {
        hash = fnv(hash, file.to_string_lossy().as_bytes());
        hash = fnv(hash, &fs::read(file)?);
    }
    println!("cargo::rustc-env=KERNELS_SOURCE_HASH={hash:016x}");
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
