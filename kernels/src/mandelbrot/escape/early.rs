//! The fourth part of the vector algorithm, a macro too: points that escape within their first steps, where many do.
//!
//! They would leave their lanes again at once. So where pixels lately did, the next ones make their first block together,
//! before they get lanes: those that have escaped then go to a queue of their own, the others start afresh.

/// Steps of the first block.
pub(super) const FIRST_BLOCK: u32 = 16;

/// Chunks of pixels that aren't tried after one of which less than half escaped at once.
pub(super) const PAUSE: u32 = 15;

macro_rules! early {
    ($(#[$features:meta])*) => {
        use super::early::{FIRST_BLOCK, PAUSE};

        /// Points that escaped in their first block.
        struct Early {
            queue: Queue,
            /// Chunks of pixels that aren't tried.
            pause: u32,
        }

        /// Takes those of the ready pixels that escape at once, if that is likely.
        $(#[$features])*
        fn take_early<P: Paint>(engine: &mut Engine<'_, '_, P>) {
            let ready = engine.feed.ready();
            if ready < GROUP_LANES {
                return;
            }
            if engine.early.pause > 0 {
                engine.early.pause -= 1;
                return;
            }
            let (start, end) = (engine.feed.start, engine.feed.end);
            engine.feed.end = start;
            for at in (start..end).step_by(GROUP_LANES) {
                take_early_of(engine, at, (end - at).min(GROUP_LANES));
                if engine.early.queue.length >= GROUP_LANES {
                    finish(&mut engine.early.queue, engine.limit, engine.paint);
                }
            }
            engine.early.pause = if 2 * engine.feed.ready() > ready { PAUSE } else { 0 };
        }

        /// As `take_early`, of the pixels at that place of the feed; what is left goes to the feed's end.
        $(#[$features])*
        fn take_early_of<P: Paint>(engine: &mut Engine<'_, '_, P>, at: usize, length: usize) {
            let (feed, queue) = (&mut engine.feed, &mut engine.early.queue);
            let (zero, mut re) = (Lanes([0.0; GROUP_LANES]), Lanes([0.0; GROUP_LANES]));
            re.0[..length].copy_from_slice(&feed.re[at..at + length]);
            let im = Lanes([feed.im; GROUP_LANES]);
            let (mut x, mut y) = (vectors(&zero.0), vectors(&zero.0));
            iterate(&mut x, &mut y, (&re.0, &im.0), FIRST_BLOCK / 2);
            let middle = (x, y);
            iterate(&mut x, &mut y, (&re.0, &im.0), FIRST_BLOCK / 2);
            let escaped = escaped_of(&x, &y);
            for vector in 0..GROUP {
                let lanes_before = vector * LANES;
                let real = EVERY_LANE & !(u64::MAX << length.saturating_sub(lanes_before).min(LANES));
                let escaped = escaped >> lanes_before & real;
                let (re, index) = (load(&re.0, lanes_before), load(&feed.index, at + lanes_before));
                store(packed(escaped, middle.0[vector]), &mut queue.middle[0], queue.length);
                store(packed(escaped, middle.1[vector]), &mut queue.middle[1], queue.length);
                store(packed(escaped, re), &mut queue.re, queue.length);
                store(splat(feed.im), &mut queue.im, queue.length);
                store(packed(escaped, index), &mut queue.index, queue.length);
                queue.length += escaped.count_ones() as usize;
                let left = real & !escaped;
                store(packed(left, re), &mut feed.re, feed.end);
                store(packed(left, index), &mut feed.index, feed.end);
                feed.end += left.count_ones() as usize;
            }
        }
    };
}
