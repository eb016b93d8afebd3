//! The one picture that scenes make.

use crate::program::titan;
use std::process::Command;
use std::sync::OnceLock;

/// The run that makes it.
pub const ARGUMENTS: [&str; 8] = ["run", "mandelbrot", "--size", "512x512", "--iterations", "100", "--tiles", "8x8"];
/// Its tiles in a row, and its rows; tiles are numbered along rows.
const TILES_ACROSS: u32 = 8;
/// Its tiles, each of which is a task.
pub const TILES: usize = 64;
/// Pixels across a tile, and down.
const TILE_PIXELS: u32 = 64;

/// The picture's file as this machine makes it without any other.
///
/// # Panics
/// titan can't make it.
pub fn local() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().expect("there is a place for temporary files");
        let file = folder.path().join("local.png");
        let mut command = Command::new(titan());
        for name in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            command.env(name, folder.path());
        }
        command.env_remove("TITAN_CLUSTER").env_remove("TITAN_TEST_FAULTS").current_dir(folder.path());
        let output =
            command.args(ARGUMENTS).args(["--local=1", "-o"]).arg(&file).output().expect("titan can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(file).expect("titan has written it")
    })
}

/// Asserts that a picture is the local one but for one tile, which is empty.
///
/// # Panics
/// It isn't.
#[track_caller]
pub fn assert_only_missing(picture: &[u8], tile: u32) {
    let decode = |bytes: &[u8]| image::load_from_memory(bytes).expect("it is a picture").to_rgba8();
    let (whole, picture) = (decode(local()), decode(picture));
    assert_eq!(whole.dimensions(), picture.dimensions());
    let differing: Vec<u32> = (0..TILES as u32)
        .filter(|tile| {
            let (left, top) = ((tile % TILES_ACROSS) * TILE_PIXELS, (tile / TILES_ACROSS) * TILE_PIXELS);
            let mut pixels = (0..TILE_PIXELS * TILE_PIXELS).map(|at| (left + at % TILE_PIXELS, top + at / TILE_PIXELS));
            pixels.any(|(x, y)| whole.get_pixel(x, y) != picture.get_pixel(x, y))
        })
        .collect();
    assert_eq!(differing, [tile], "the tiles that differ");
}
