//! Cyclic colour gradients: a few stops, joined by monotone cubics, as a table.
//!
//! Only +, -, *, / on f64 make the table, so that it is the same everywhere.

/// Entries of a table: neighbours differ by a step or so of one channel.
pub(super) const ENTRIES: usize = 4096;

/// A colour at a place of the cycle, 0 <= place < 1.
pub(super) type Stop = (f64, [u8; 3]);

/// A gradient's colours as 0x00BBGGRR.
pub(super) type Table = Box<[u32; ENTRIES]>;

/// The table of a cycle through these stops, which are in order of their places.
pub(super) fn table(stops: &[Stop]) -> Table {
    let mut table = Box::new([0; ENTRIES]);
    let slopes: Vec<[f64; 3]> = (0..stops.len()).map(|i| slopes_at(stops, i)).collect();
    for (entry, colour) in table.iter_mut().enumerate() {
        *colour = colour_at(stops, &slopes, entry as f64 / ENTRIES as f64);
    }
    table
}

/// The stop `offset` after number `i`, going round: its place may be below 0 or above 1.
fn stop_after(stops: &[Stop], i: usize, offset: isize) -> (f64, [f64; 3]) {
    let count = stops.len() as isize;
    let number = i as isize + offset;
    let (place, colour) = stops[number.rem_euclid(count) as usize];
    (place + number.div_euclid(count) as f64, colour.map(f64::from))
}

/// Slope of each channel at a stop: the harmonic mean of its neighbours' slopes, or 0 at an extreme, so that no channel
/// overshoots its stops.
fn slopes_at(stops: &[Stop], i: usize) -> [f64; 3] {
    let [before, here, after] = [-1, 0, 1].map(|offset| stop_after(stops, i, offset));
    std::array::from_fn(|channel| {
        let rise = (here.1[channel] - before.1[channel]) / (here.0 - before.0);
        let next = (after.1[channel] - here.1[channel]) / (after.0 - here.0);
        if rise * next > 0.0 { 2.0 * rise * next / (rise + next) } else { 0.0 }
    })
}

/// The colour at a place of the cycle.
fn colour_at(stops: &[Stop], slopes: &[[f64; 3]], place: f64) -> u32 {
    let last = stops.len() - 1;
    let (i, place) = match stops.iter().rposition(|stop| stop.0 <= place) {
        Some(i) => (i, place),
        None => (last, place + 1.0),
    };
    let (from, to) = (stop_after(stops, i, 0), stop_after(stops, i, 1));
    let (from_slopes, to_slopes) = (slopes[i], slopes[(i + 1) % stops.len()]);
    let span = to.0 - from.0;
    let t = (place - from.0) / span;
    let channels: [u32; 3] = std::array::from_fn(|channel| {
        let slopes = (from_slopes[channel] * span, to_slopes[channel] * span);
        hermite(t, (from.1[channel], to.1[channel]), slopes).clamp(0.0, 255.0).round_ties_even() as u32
    });
    channels[0] | channels[1] << 8 | channels[2] << 16
}

/// The cubic with these values and slopes at t = 0 and t = 1.
fn hermite(t: f64, values: (f64, f64), slopes: (f64, f64)) -> f64 {
    let rest = 1.0 - t;
    let from = values.0 * (1.0 + 2.0 * t) + slopes.0 * t;
    let to = values.1 * (1.0 + 2.0 * rest) - slopes.1 * rest;
    rest * rest * from + t * t * to
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOPS: [Stop; 3] = [(0.125, [0, 0, 255]), (0.5, [255, 128, 0]), (0.75, [255, 0, 10])];

    fn channels(colour: u32) -> [i32; 3] {
        [0, 8, 16].map(|shift| (colour >> shift & 255) as i32)
    }

    #[test]
    fn stops_keep_their_colours() {
        let table = table(&STOPS);
        for (place, colour) in STOPS {
            assert_eq!(channels(table[(place * ENTRIES as f64) as usize]), colour.map(i32::from));
        }
    }

    #[test]
    fn neighbours_differ_by_little_all_the_way_round() {
        let table = table(&STOPS);
        for i in 0..ENTRIES {
            let (a, b) = (channels(table[i]), channels(table[(i + 1) % ENTRIES]));
            assert!((0..3).all(|channel| (a[channel] - b[channel]).abs() <= 2), "{a:?} and {b:?} at {i}");
        }
    }
}
