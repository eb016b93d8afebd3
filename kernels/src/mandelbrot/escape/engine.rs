//! The vector algorithm, as a macro that is expanded beside each instruction set's operations.
//!
//! Two groups of vectors take turns at blocks of [`BLOCK`] steps without a test; while one makes its block, the CPU
//! finds out which lanes of the other are done, so that no guess about that costs time. Lanes that have escaped in a
//! block leave with their state before it and are replaced by new pixels; so do lanes that are about to reach the
//! limit. The `finish` macro, expanded beside this one, finds their exact counts. One test for a block is enough
//! because an escaped point never comes back (`shortcuts::is_on_rim` holds the exceptions). All numbers in lanes are
//! f64, counts and indices too.

/// Steps between two tests.
pub(super) const BLOCK: u32 = 16;

/// Blocks between two searches for cycles, and between two looks at `cancel`: microseconds, or a fraction of a
/// millisecond where fused operations are done in software.
pub(super) const BLOCKS_PER_SEARCH: u32 = 16;

macro_rules! engine {
    ($(#[$features:meta])*) => {
        use super::engine::{BLOCK, BLOCKS_PER_SEARCH};
        use super::feed::{Feed, IDLE};
        use super::{Cancelled, ESCAPE, Paint};
        use crate::Cancel;

        /// Lanes of a group.
        const GROUP_LANES: usize = GROUP * LANES;

        /// A vector for each of a group's.
        type Vectors = [Vector; GROUP];

        /// Points that are iterated side by side.
        #[derive(Clone, Copy)]
        struct Points {
            x: Vectors,
            y: Vectors,
            re: Vectors,
            im: Vectors,
            /// Steps made; minus infinity in idle lanes.
            steps: Vectors,
        }

        /// Points in the middle of their orbits, and what the last block has brought.
        #[derive(Clone, Copy)]
        struct Group {
            points: Points,
            index: Vectors,
            /// z before the last block.
            before_x: Vectors,
            before_y: Vectors,
            /// Lanes that have escaped in the last block.
            escaped: [Mask; GROUP],
            /// Lanes that have, or are about to reach the limit.
            done: [Mask; GROUP],
            /// The vectors that have such lanes, as bits.
            vectors_done: u32,
            /// An earlier z of the same orbit, to recognise cycles; NaN if none.
            saved_x: Vectors,
            saved_y: Vectors,
            /// Steps at which z is saved again.
            save_at: Vectors,
        }

        struct Engine<'a, 'f, P> {
            groups: [Group; 2],
            queue: Queue,
            /// Points that have entered the queue.
            retired: u64,
            limit: f64,
            feed: Feed<'f>,
            paint: &'a mut P,
            cancel: &'a Cancel,
        }

        /// Computes all that the feed has.
        $(#[$features])*
        pub(super) fn run<P: Paint>(
            feed: Feed<'_>,
            limit: u32,
            paint: &mut P,
            cancel: &Cancel,
        ) -> Result<(), Cancelled> {
            let (groups, queue) = ([idle_group(); 2], empty_queue());
            let mut engine = Engine { groups, queue, retired: 0, limit: f64::from(limit), feed, paint, cancel };
            fill(&mut engine)?;
            while !(engine.feed.is_exhausted() && engine.retired == engine.feed.handed_out()) {
                if engine.cancel.is_set() {
                    return Err(Cancelled);
                }
                make_blocks(&mut engine)?;
                search_cycles(&mut engine)?;
            }
            let rest = engine.queue.length;
            finish(&mut engine, rest);
            Ok(())
        }

        /// Makes the blocks between two searches for cycles.
        #[inline]
        $(#[$features])*
        fn make_blocks<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            for _ in 0..BLOCKS_PER_SEARCH {
                advance(&mut engine.groups[0], engine.limit);
                settle(engine, 1)?;
                advance(&mut engine.groups[1], engine.limit);
                settle(engine, 0)?;
            }
            settle(engine, 1)
        }

        /// The iteration alone; see `bare_iterations`.
        $(#[$features])*
        pub(super) fn bare(steps: u32) -> u64 {
            let mut points = idle_group().points;
            for vector in 0..GROUP {
                points.re[vector] = splat(-0.1 - 0.01 * vector as f64);
                points.im[vector] = splat(0.1);
            }
            (points.x, points.y) = steps_of(&points, steps);
            std::hint::black_box((&points.x, &points.y));
            u64::from(steps) * GROUP_LANES as u64
        }

        /// One step of every lane of a vector.
        #[inline]
        $(#[$features])*
        fn step(x: Vector, y: Vector, re: Vector, im: Vector) -> (Vector, Vector) {
            (multiply_add(x, x, subtract_product(re, y, y)), multiply_add(add(x, x), y, im))
        }

        #[inline]
        $(#[$features])*
        fn magnitude(x: Vector, y: Vector) -> Vector {
            multiply_add(x, x, multiply(y, y))
        }

        /// z after that many steps of every lane, with no test.
        #[inline]
        $(#[$features])*
        fn steps_of(points: &Points, steps: u32) -> (Vectors, Vectors) {
            let (mut x, mut y) = (points.x, points.y);
            for _ in 0..steps {
                for vector in 0..GROUP {
                    (x[vector], y[vector]) = step(x[vector], y[vector], points.re[vector], points.im[vector]);
                }
            }
            (x, y)
        }

        $(#[$features])*
        fn idle_group() -> Group {
            let (zero, nan, never) = ([splat(0.0); GROUP], [splat(f64::NAN); GROUP], at_most(splat(1.0), splat(0.0)));
            let steps = [splat(f64::NEG_INFINITY); GROUP];
            Group {
                points: Points { x: zero, y: zero, re: zero, im: zero, steps },
                index: [splat(IDLE); GROUP],
                before_x: zero,
                before_y: zero,
                escaped: [never; GROUP],
                done: [never; GROUP],
                vectors_done: 0,
                saved_x: nan,
                saved_y: nan,
                save_at: zero,
            }
        }

        /// Gives every lane its first pixel.
        $(#[$features])*
        fn fill<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            let every_lane = at_most(splat(0.0), splat(0.0));
            for group in 0..2 {
                for vector in 0..GROUP {
                    replace(engine, (group, vector), every_lane)?;
                }
            }
            Ok(())
        }

        /// Makes a block of steps, and notes which lanes are done.
        #[inline]
        $(#[$features])*
        fn advance(group: &mut Group, limit: f64) {
            let (x, y) = steps_of(&group.points, BLOCK);
            let last_start = splat(limit - f64::from(BLOCK));
            (group.before_x, group.before_y) = (group.points.x, group.points.y);
            (group.points.x, group.points.y) = (x, y);
            group.vectors_done = 0;
            for vector in 0..GROUP {
                let steps = add(group.points.steps[vector], splat(f64::from(BLOCK)));
                let escaped = not_at_most(magnitude(x[vector], y[vector]), splat(ESCAPE));
                let done = either(escaped, not_at_most(steps, last_start));
                group.points.steps[vector] = steps;
                group.escaped[vector] = escaped;
                group.done[vector] = done;
                group.vectors_done |= u32::from(any(done)) << vector;
            }
        }

        /// Queues a group's lanes that are done, and puts new pixels in their places.
        #[inline]
        $(#[$features])*
        fn settle<P: Paint>(engine: &mut Engine<'_, '_, P>, group: usize) -> Result<(), Cancelled> {
            let mut vectors_done = std::mem::take(&mut engine.groups[group].vectors_done);
            while vectors_done != 0 {
                let vector = vectors_done.trailing_zeros() as usize;
                vectors_done &= vectors_done - 1;
                leave(engine, (group, vector))?;
            }
            Ok(())
        }

        /// Queues a vector's lanes that are done: with the state before the block if the escape is in it, otherwise with
        /// the state after it. The limit itself is within a block only if it is below a block's length.
        #[inline]
        $(#[$features])*
        fn leave<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, vector): (usize, usize),
        ) -> Result<(), Cancelled> {
            let Group { points, before_x, before_y, escaped, done, .. } = &mut engine.groups[group];
            let (steps, done) = (points.steps[vector], done[vector]);
            let before = if engine.limit < f64::from(BLOCK) { done } else { escaped[vector] };
            let steps_before = add(steps, splat(-f64::from(BLOCK)));
            points.x[vector] = select(before, before_x[vector], points.x[vector]);
            points.y[vector] = select(before, before_y[vector], points.y[vector]);
            points.steps[vector] = select(before, steps_before, steps);
            retire(engine, (group, vector), done)
        }

        /// Moves these lanes' points to the queue, and new pixels into the lanes.
        #[inline]
        $(#[$features])*
        fn retire<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, vector): (usize, usize),
            lanes: Mask,
        ) -> Result<(), Cancelled> {
            let (Group { points, index, .. }, queue) = (&engine.groups[group], &mut engine.queue);
            let at = queue.length;
            store_lanes(lanes, points.x[vector], &mut queue.x, at);
            store_lanes(lanes, points.y[vector], &mut queue.y, at);
            store_lanes(lanes, points.re[vector], &mut queue.re, at);
            store_lanes(lanes, points.im[vector], &mut queue.im, at);
            store_lanes(lanes, points.steps[vector], &mut queue.steps, at);
            store_lanes(lanes, index[vector], &mut queue.index, at);
            queue.length += count(lanes);
            engine.retired += count(lanes) as u64;
            if engine.queue.length >= GROUP_LANES {
                finish(engine, GROUP_LANES);
            }
            replace(engine, (group, vector), lanes)
        }

        /// Makes a vector's worth of pixels ready.
        #[inline(never)]
        $(#[$features])*
        fn prepare<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            engine.feed.refill(engine.paint, engine.cancel)
        }

        /// Puts new pixels into these lanes.
        #[inline]
        $(#[$features])*
        fn replace<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, vector): (usize, usize),
            lanes: Mask,
        ) -> Result<(), Cancelled> {
            if engine.feed.is_short() {
                prepare(engine)?;
            }
            let Group { points, index, saved_x, save_at, .. } = &mut engine.groups[group];
            let ready = engine.feed.ready();
            points.re[vector] = load_lanes(points.re[vector], lanes, ready.re);
            points.im[vector] = load_lanes(points.im[vector], lanes, ready.im);
            index[vector] = load_lanes(index[vector], lanes, ready.index);
            let (zero, nan) = (splat(0.0), splat(f64::NAN));
            let is_idle = at_most(index[vector], splat(IDLE));
            let steps = select(lanes, zero, points.steps[vector]);
            points.x[vector] = select(lanes, zero, points.x[vector]);
            points.y[vector] = select(lanes, zero, points.y[vector]);
            points.steps[vector] = select(is_idle, splat(f64::NEG_INFINITY), steps);
            saved_x[vector] = select(lanes, nan, saved_x[vector]);
            save_at[vector] = select(lanes, zero, save_at[vector]);
            engine.feed.take(count(lanes));
            Ok(())
        }

        /// Finds orbits that have come back to a saved z and so never escape. Equal as numbers is enough: the sign of a
        /// zero has no influence on any |z|².
        #[inline]
        $(#[$features])*
        fn search_cycles<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            for place in 0..2 * GROUP {
                let (group, vector) = (place / GROUP, place % GROUP);
                let Group { points, saved_x, saved_y, save_at, .. } = &mut engine.groups[group];
                let (x, y, steps) = (points.x[vector], points.y[vector], points.steps[vector]);
                let cycle = both(equal(x, saved_x[vector]), equal(y, saved_y[vector]));
                let save = at_most(save_at[vector], steps);
                saved_x[vector] = select(save, x, saved_x[vector]);
                saved_y[vector] = select(save, y, saved_y[vector]);
                save_at[vector] = select(save, add(steps, steps), save_at[vector]);
                if any(cycle) {
                    points.steps[vector] = select(cycle, splat(engine.limit), steps);
                    retire(engine, (group, vector), cycle)?;
                }
            }
            Ok(())
        }
    };
}
