//! The vector algorithm, as a macro that is expanded beside each instruction set's operations.
//!
//! Two groups of vectors take turns at blocks of [`BLOCK`] steps without a test; while one makes its block, the other's
//! lanes that escaped in theirs are dealt with, so that wrong guesses about them overlap with arithmetic: with what they had
//! at the start and in the middle of the block they go to the queue, and the next pixels take their places. The `finish`
//! macro, expanded beside this one, finds the exact counts of what is queued. One test for a block is enough because an
//! escaped point never comes back (`shortcuts::is_on_rim` holds the exceptions). A point that reaches the limit is noticed
//! by the clock: a group looks at its lanes when the first of them is due.
//!
//! Lanes that have escaped are dealt with a vector at a time, however many of its lanes they are: what they had is packed
//! to the end of the queue, and the next pixels are spread over them.

/// Steps between two tests.
pub(super) const BLOCK: u32 = 16;

/// Rounds of blocks between two looks at `cancel` and, if the limit is worth it, two searches for cycles: a few
/// microseconds, or a fraction of a millisecond where fused operations are done in software. More than a compiler unrolls.
pub(super) const ROUNDS_PER_LOOK: u32 = 20;

/// Below this limit an orbit is followed to its end sooner than a cycle is found.
pub(super) const LEAST_LIMIT_FOR_CYCLES: u32 = 4096;

/// Rounds that a point makes before its z is saved for the first time.
pub(super) const ROUNDS_BEFORE_SAVING: f64 = 32.0;

macro_rules! engine {
    ($(#[$features:meta])*) => {
        use super::engine::{BLOCK, LEAST_LIMIT_FOR_CYCLES, ROUNDS_BEFORE_SAVING, ROUNDS_PER_LOOK};
        use super::feed::{Feed, Pixel};
        use super::{Cancelled, ESCAPE, Paint};
        use crate::Cancel;

        /// Lanes of a group.
        const GROUP_LANES: usize = GROUP * LANES;

        /// A vector for each of a group's.
        type Vectors = [Vector; GROUP];

        /// All lanes of a vector, as bits.
        const EVERY_LANE: u64 = (1 << LANES) - 1;

        /// A number for each of a group's lanes, where single lanes are within reach.
        #[derive(Clone, Copy)]
        #[repr(align(64))]
        struct Lanes([f64; GROUP_LANES]);

        /// Points that are iterated side by side.
        struct Group {
            /// z, and z at the start of the last block: which is which changes with each block.
            z: [[Lanes; 2]; 2],
            /// Which of them is z.
            now: usize,
            /// z in the middle of the last block.
            middle: [Lanes; 2],
            re: Lanes,
            im: Lanes,
            /// Lanes that have escaped in it, as bits.
            escaped: u64,
            /// The pixels in the lanes: the bits of their numbers.
            index: Lanes,
            /// The rounds after which they got there; infinity in idle lanes.
            born: Lanes,
            /// The first round after which a lane may have reached the limit.
            due: f64,
            /// An earlier z, to recognise cycles, and the round after which it was saved: of the same orbit if that is after
            /// it was born.
            saved: [Lanes; 2],
            saved_after: Lanes,
        }

        struct Engine<'a, 'f, P> {
            groups: [Group; 2],
            /// Rounds that were begun. In each of them both groups make a block.
            round: f64,
            /// Rounds in which a point reaches the limit.
            rounds_to_limit: f64,
            /// Lanes that have a pixel.
            busy: usize,
            queue: Queue,
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
            let mut engine = Engine {
                groups: [idle_group(), idle_group()],
                round: 0.0,
                rounds_to_limit: f64::from(limit.div_ceil(BLOCK)),
                busy: 2 * GROUP_LANES,
                queue: empty_queue(),
                limit: f64::from(limit),
                feed,
                paint,
                cancel,
            };
            for group in 0..2 {
                for at in (0..GROUP_LANES).step_by(LANES) {
                    replace_one_by_one(&mut engine, (group, at), EVERY_LANE, 0.0)?;
                }
                note_due(&mut engine, group);
            }
            while engine.busy > 0 {
                make_rounds(&mut engine)?;
                if engine.cancel.is_set() {
                    return Err(Cancelled);
                }
                if limit >= LEAST_LIMIT_FOR_CYCLES {
                    search_cycles(&mut engine)?;
                }
            }
            while engine.queue.length > 0 {
                finish(&mut engine);
            }
            Ok(())
        }

        /// Makes the rounds between two looks. All lanes are settled before and after.
        $(#[$features])*
        fn make_rounds<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            for _ in 0..ROUNDS_PER_LOOK {
                engine.round += 1.0;
                advance(&mut engine.groups[0]);
                settle(engine, 1, engine.round - 1.0)?;
                advance(&mut engine.groups[1]);
                settle(engine, 0, engine.round)?;
            }
            settle(engine, 1, engine.round)
        }

        /// The iteration alone; see `bare_iterations`.
        $(#[$features])*
        pub(super) fn bare(steps: u32) -> u64 {
            let mut c = (Lanes([-0.1; GROUP_LANES]), Lanes([0.1; GROUP_LANES]));
            for (lane, re) in c.0.0.iter_mut().enumerate() {
                *re -= 0.001 * lane as f64;
            }
            let (mut x, mut y) = ([splat(0.0); GROUP], [splat(0.0); GROUP]);
            let c = std::hint::black_box(c);
            iterate(&mut x, &mut y, (&c.0.0, &c.1.0), steps);
            std::hint::black_box((x, y));
            u64::from(steps) * GROUP_LANES as u64
        }

        #[inline]
        $(#[$features])*
        fn magnitude(x: Vector, y: Vector) -> Vector {
            multiply_add(x, x, multiply(y, y))
        }

        #[inline]
        $(#[$features])*
        fn vectors(lanes: &[f64; GROUP_LANES]) -> Vectors {
            let mut vectors = [splat(0.0); GROUP];
            for (vector, value) in vectors.iter_mut().enumerate() {
                *value = load(lanes, vector * LANES);
            }
            vectors
        }

        #[inline]
        $(#[$features])*
        fn put(vectors: &Vectors, lanes: &mut Lanes) {
            for (vector, &value) in vectors.iter().enumerate() {
                store(value, &mut lanes.0, vector * LANES);
            }
        }

        $(#[$features])*
        fn idle_group() -> Group {
            let zero = Lanes([0.0; GROUP_LANES]);
            Group {
                z: [[zero; 2]; 2],
                now: 0,
                middle: [zero; 2],
                re: zero,
                im: zero,
                escaped: 0,
                index: zero,
                born: Lanes([f64::INFINITY; GROUP_LANES]),
                due: f64::INFINITY,
                saved: [zero; 2],
                saved_after: zero,
            }
        }

        /// Makes a block of steps, and notes which lanes have escaped.
        #[inline]
        $(#[$features])*
        fn advance(group: &mut Group) {
            let [x, y] = &group.z[group.now];
            let (mut x, mut y) = (vectors(&x.0), vectors(&y.0));
            iterate(&mut x, &mut y, (&group.re.0, &group.im.0), BLOCK / 2);
            put(&x, &mut group.middle[0]);
            put(&y, &mut group.middle[1]);
            iterate(&mut x, &mut y, (&group.re.0, &group.im.0), BLOCK / 2);
            group.now ^= 1;
            put(&x, &mut group.z[group.now][0]);
            put(&y, &mut group.z[group.now][1]);
            let mut escaped = 0;
            for vector in 0..GROUP {
                escaped |= bits_beyond(magnitude(x[vector], y[vector]), ESCAPE) << (vector * LANES);
            }
            group.escaped = escaped;
        }

        /// Deals with a group's lanes that have escaped or reached the limit in the last block, that of `round`.
        #[inline]
        $(#[$features])*
        fn settle<P: Paint>(engine: &mut Engine<'_, '_, P>, group: usize, round: f64) -> Result<(), Cancelled> {
            let mut escaped = std::mem::take(&mut engine.groups[group].escaped);
            while let Some((at, lanes)) = next_vector(&mut escaped) {
                enqueue(engine, (group, at), lanes, round);
                replace(engine, (group, at), lanes, round)?;
            }
            if engine.queue.length >= GROUP_LANES {
                finish(engine);
            }
            if round >= engine.groups[group].due {
                let due = lanes_due(&engine.groups[group], round - engine.rounds_to_limit);
                settle_inside(engine, group, due, round)?;
                note_due(engine, group);
            }
            Ok(())
        }

        /// Of a group's lanes, the first vector that has any: where it is and which of its lanes. They are taken out.
        #[inline]
        fn next_vector(lanes: &mut u64) -> Option<(usize, u64)> {
            if *lanes == 0 {
                return None;
            }
            let at = lanes.trailing_zeros() as usize / LANES * LANES;
            let of_vector = *lanes >> at & EVERY_LANE;
            *lanes ^= of_vector << at;
            Some((at, of_vector))
        }

        /// Queues the points of some of a vector's lanes, which have escaped in the block of `round`.
        #[inline]
        $(#[$features])*
        fn enqueue<P: Paint>(engine: &mut Engine<'_, '_, P>, (group, at): (usize, usize), lanes: u64, round: f64) {
            let (group, queue) = (&engine.groups[group], &mut engine.queue);
            let (to, start) = (queue.length, &group.z[group.now ^ 1]);
            for axis in 0..2 {
                store(packed(lanes, load(&start[axis].0, at)), &mut queue.start[axis], to);
                store(packed(lanes, load(&group.middle[axis].0, at)), &mut queue.middle[axis], to);
            }
            store(packed(lanes, load(&group.re.0, at)), &mut queue.re, to);
            store(packed(lanes, load(&group.im.0, at)), &mut queue.im, to);
            store(packed(lanes, load(&group.index.0, at)), &mut queue.index, to);
            store(packed(lanes, subtract(splat(round - 1.0), load(&group.born.0, at))), &mut queue.rounds, to);
            queue.length += lanes.count_ones() as usize;
        }

        /// Paints points that never escape, and replaces them.
        #[inline(never)]
        $(#[$features])*
        fn settle_inside<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            group: usize,
            mut inside: u64,
            round: f64,
        ) -> Result<(), Cancelled> {
            while let Some((at, lanes)) = next_vector(&mut inside) {
                for lane in lanes_of(at, lanes) {
                    engine.paint.inside(engine.groups[group].index.0[lane].to_bits());
                }
                replace(engine, (group, at), lanes, round)?;
            }
            Ok(())
        }

        /// A vector's lanes that are named by bits, as lanes of its group.
        #[inline]
        fn lanes_of(at: usize, lanes: u64) -> impl Iterator<Item = usize> {
            (0..LANES).filter(move |lane| lanes >> lane & 1 == 1).map(move |lane| at + lane)
        }

        /// The lanes whose points got there in that round or before.
        #[inline]
        $(#[$features])*
        fn lanes_due(group: &Group, round: f64) -> u64 {
            let mut due = 0;
            for vector in 0..GROUP {
                due |= bits(at_most(load(&group.born.0, vector * LANES), splat(round))) << (vector * LANES);
            }
            due
        }

        /// Notes when the group's next lane can reach the limit; a lane that is replaced before makes it too early only.
        #[inline]
        $(#[$features])*
        fn note_due<P: Paint>(engine: &mut Engine<'_, '_, P>, group: usize) {
            let group = &mut engine.groups[group];
            let mut least = load(&group.born.0, 0);
            for vector in 1..GROUP {
                least = smaller(least, load(&group.born.0, vector * LANES));
            }
            let mut first = [0.0; LANES];
            store(least, &mut first, 0);
            group.due = first.iter().fold(f64::INFINITY, |a, &b| if a < b { a } else { b }) + engine.rounds_to_limit;
        }

        /// Puts the next pixels into some of a vector's lanes, whose last block was that of `round`.
        ///
        /// Whole vectors are read and written: what is written in parts would make the next block wait for it.
        #[inline]
        $(#[$features])*
        fn replace<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, at): (usize, usize),
            lanes: u64,
            round: f64,
        ) -> Result<(), Cancelled> {
            let pixels = lanes.count_ones() as usize;
            if engine.feed.ready() < pixels {
                return replace_one_by_one(engine, (group, at), lanes, round);
            }
            let (group, feed, mask) = (&mut engine.groups[group], &mut engine.feed, mask_of(lanes));
            let [x, y] = &mut group.z[group.now];
            put_into(x, at, mask, splat(0.0));
            put_into(y, at, mask, splat(0.0));
            put_into(&mut group.re, at, mask, spread(lanes, load(&feed.re, feed.start)));
            put_into(&mut group.im, at, mask, splat(feed.im));
            put_into(&mut group.index, at, mask, spread(lanes, load(&feed.index, feed.start)));
            put_into(&mut group.born, at, mask, splat(round));
            feed.start += pixels;
            Ok(())
        }

        /// Sets some lanes of the vector that is there.
        #[inline]
        $(#[$features])*
        fn put_into(to: &mut Lanes, at: usize, lanes: Mask, values: Vector) {
            store(merge(lanes, values, load(&to.0, at)), &mut to.0, at);
        }

        /// As `replace`, across the ends of chunks of pixels; a lane for which none is left becomes idle.
        #[inline(never)]
        $(#[$features])*
        fn replace_one_by_one<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, at): (usize, usize),
            lanes: u64,
            round: f64,
        ) -> Result<(), Cancelled> {
            for lane in lanes_of(at, lanes) {
                engine.feed.refill(engine.paint, engine.cancel)?;
                let pixel = engine.feed.next();
                let Pixel { re, im, index } = pixel.unwrap_or_default();
                let group = &mut engine.groups[group];
                for z in &mut group.z[group.now] {
                    z.0[lane] = 0.0;
                }
                group.re.0[lane] = re;
                group.im.0[lane] = im;
                group.index.0[lane] = index;
                group.born.0[lane] = if pixel.is_some() { round } else { f64::INFINITY };
                engine.busy -= usize::from(pixel.is_none());
            }
            Ok(())
        }

        /// Finds orbits that have come back to a saved z and so never escape. Equal as numbers is enough: the sign of a
        /// zero has no influence on any |z|².
        #[inline(never)]
        $(#[$features])*
        fn search_cycles<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            for group in 0..2 {
                let cycles = cycles_of(&engine.groups[group]);
                settle_inside(engine, group, cycles, engine.round)?;
                save(&mut engine.groups[group], engine.round);
            }
            Ok(())
        }

        /// The lanes that are where they were when they were saved.
        #[inline]
        $(#[$features])*
        fn cycles_of(group: &Group) -> u64 {
            let mut cycles = 0;
            for vector in 0..GROUP {
                let at = vector * LANES;
                let [x, y] = &group.z[group.now];
                let is_x = equal(load(&x.0, at), load(&group.saved[0].0, at));
                let is_y = equal(load(&y.0, at), load(&group.saved[1].0, at));
                let is_of_another = at_most(load(&group.saved_after.0, at), load(&group.born.0, at));
                cycles |= (bits(both(is_x, is_y)) & !bits(is_of_another)) << at;
            }
            cycles
        }

        /// Saves z of the lanes that are twice as old as when they were last saved, and old enough.
        #[inline]
        $(#[$features])*
        fn save(group: &mut Group, round: f64) {
            let Group { z, now, born, saved, saved_after, .. } = group;
            for at in (0..GROUP_LANES).step_by(LANES) {
                let (born, last) = (load(&born.0, at), load(&saved_after.0, at));
                let (age, age_at_last) = (subtract(splat(round), born), subtract(last, born));
                let is_old = at_most(splat(ROUNDS_BEFORE_SAVING), age);
                let is_due = both(is_old, at_most(add(age_at_last, age_at_last), age));
                for (z, saved) in z[*now].iter().zip(&mut *saved) {
                    store(merge(is_due, load(&z.0, at), load(&saved.0, at)), &mut saved.0, at);
                }
                store(merge(is_due, splat(round), last), &mut saved_after.0, at);
            }
        }
    };
}

/// The iteration, for instruction sets whose compiler keeps all of it in registers.
macro_rules! iterate {
    ($(#[$features:meta])*) => {
        /// Makes that many steps of every lane.
        #[inline]
        $(#[$features])*
        fn iterate(
            x: &mut Vectors,
            y: &mut Vectors,
            (re, im): (&[f64; GROUP_LANES], &[f64; GROUP_LANES]),
            steps: u32,
        ) {
            let (re, im) = (vectors(re), vectors(im));
            for _ in 0..steps {
                for vector in 0..GROUP {
                    let (a, b) = (x[vector], y[vector]);
                    x[vector] = multiply_add(a, a, subtract_product(re[vector], b, b));
                    y[vector] = multiply_add(add(a, a), b, im[vector]);
                }
            }
        }
    };
}
