//! Memory doesn't grow with the picture, not even when the first tile is the last to come.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;

use image::ImageDecoder;
use titan_tests::cli::{Desk, Running};
use titan_tests::rig::holds_within;

/// What titan and its agents may take together at most, in bytes.
///
/// By design none of it depends on the picture's size: the sink's group of bands takes 64 MiB at most, an agent's
/// results under way 64 MiB and a tile of 12 MB for each slot, and the executables are mapped once for each process.
/// The picture's own pixels are 192 MiB: a titan that kept them, or the results that wait for the first one, would take
/// more than this. At 65536 x 65536 the same parts have to stay below 1 GiB.
const MOST_BYTES: u64 = 176 << 20;

/// Pixels of a side.
const SIDE: u32 = 8192;

#[test]
fn a_picture_whose_first_tile_comes_last_is_written_in_bounded_memory() {
    // A slow machine may need longer for the other tiles: then the first one is held back for longer.
    let peak = [5_000, 20_000].into_iter().find_map(peak_with_first_tile_last);
    let peak = peak.expect("within 20 s all other tiles are there");
    println!("{} MiB at the peak", peak >> 20);
    assert!(peak <= MOST_BYTES, "{} MiB", peak >> 20);
}

/// The peak of all processes together; None if some tile came after the first.
fn peak_with_first_tile_last(delay_ms: u32) -> Option<u64> {
    let desk = Desk::new();
    let words = format!("run mandelbrot -o big.png --size {SIDE}x{SIDE} --iterations 20 --tiles auto -j 2 -v");
    let faults = format!("delay:0:{delay_ms}");
    let mut running = Running::start(desk.titan(&words).env(titan_agent::faults::VARIABLE, faults));
    let mut peaks = BTreeMap::<u32, u64>::new();
    let ended = holds_within(std::time::Duration::from_secs(60), || {
        let pids = desk.processes().into_iter().map(|(pid, _)| pid);
        for (pid, bytes) in pids.filter_map(|pid| Some((pid, peak_of(pid)?))) {
            peaks.insert(pid, bytes);
        }
        running.has_ended()
    });
    assert!(ended, "it hangs: {}", running.stderr());
    let outcome = running.wait().expect(0);
    assert_eq!(peaks.len(), 4, "titan, the bridge, the watcher and the agent: {peaks:?}");
    let done: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains(": done in ")).collect();
    assert!(done.len() >= 64, "{}", outcome.stderr);
    if !done[done.len() - 1].contains("task 0 on ") {
        return None;
    }
    let file = BufReader::new(fs::File::open(desk.path("big.png")).unwrap());
    let decoder = image::codecs::png::PngDecoder::new(file).unwrap();
    assert_eq!(decoder.dimensions(), (SIDE, SIDE));
    Some(peaks.values().sum())
}

/// The most that a process ever had in memory, in bytes.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
