//! The vector algorithm, as a macro that is expanded beside each instruction set's operations.
//!
//! Two groups of vectors take turns at blocks of steps without a test, the longer the rarer escapes are ([`block_for`]);
//! while one makes its block, the other's lanes that escaped in theirs are dealt with, so that wrong guesses about them
//! overlap with arithmetic: with what they had at the start and in the middle of the block they go to the queue, and the
//! next pixels take their places. The `finish` macro, expanded beside this one, finds the exact counts of what is queued.
//! One test for a block is enough because an escaped point never comes back (`shortcuts::is_on_rim` holds the exceptions).
//! A point that reaches the limit is noticed by the clock: a group looks at its lanes when the first of them is due.
//!
//! Lanes that have escaped are dealt with a vector at a time, however many of its lanes they are: what they had is packed
//! to the end of the queue, and the next pixels are spread over them.

/// Steps of each lane between two looks at `cancel`, at how often points escape and, if the limit is worth it, two searches
/// for cycles: a few microseconds, or a fraction of a millisecond where fused operations are done in software.
pub(super) const STEPS_PER_LOOK: u32 = 640;

/// Below this limit an orbit is followed to its end sooner than a cycle is found.
pub(super) const LEAST_LIMIT_FOR_CYCLES: u32 = 4096;

/// Steps that a point makes before its z is saved for the first time.
pub(super) const STEPS_BEFORE_SAVING: f64 = 512.0;

/// The length of a block for points that make so many steps before they escape: a long one costs steps after the escape and
/// in the search for the exact count, a short one more tests. A power of two that divides [`STEPS_PER_LOOK`].
pub(super) fn block_for(steps: f64) -> u32 {
    match steps {
        ..128.0 => 16,
        ..1024.0 => 32,
        ..4096.0 => 64,
        _ => 128,
    }
}

macro_rules! engine {
    ($(#[$features:meta])*) => {
        use super::engine::{LEAST_LIMIT_FOR_CYCLES, STEPS_BEFORE_SAVING, STEPS_PER_LOOK, block_for};
        use super::feed::{Feed, LARGEST_GROUP, Pixel};
        use super::{Cancelled, ESCAPE, Paint};
        use crate::Cancel;

        /// Lanes of a group.
        const GROUP_LANES: usize = GROUP * LANES;

        const _: () = assert!(GROUP_LANES <= LARGEST_GROUP, "a group fits behind a chunk, and its lanes into the bits of a number");

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
            /// When they got there; infinity in idle lanes.
            born: Lanes,
            /// When a lane may first have reached the limit.
            due: f64,
            /// An earlier z, to recognise cycles, and when it was saved: of the same orbit if that is after it was born.
            saved: [Lanes; 2],
            saved_at: Lanes,
        }

        /// Times are told as steps that every lane has made since the start.
        struct Engine<'a, 'f, P> {
            groups: [Group; 2],
            /// When both groups will have made the block that they are at.
            now: f64,
            /// Points that have escaped since the last look.
            escapes: usize,
            /// Lanes that have a pixel.
            busy: usize,
            /// What has escaped in blocks as long as those that are made.
            queue: Queue,
            early: Early,
            traps: Traps,
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
                now: 0.0,
                escapes: 0,
                busy: 2 * GROUP_LANES,
                queue: empty_queue(block_for(0.0)),
                early: Early { queue: empty_queue(FIRST_BLOCK), pause: 0 },
                traps: no_traps(limit),
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
                make_blocks(&mut engine)?;
                if engine.cancel.is_set() {
                    return Err(Cancelled);
                }
                if limit >= LEAST_LIMIT_FOR_CYCLES {
                    search_cycles(&mut engine)?;
                }
                choose_block(&mut engine);
            }
            finish_all(&mut engine.queue, engine.limit, engine.paint);
            finish_all(&mut engine.early.queue, engine.limit, engine.paint);
            Ok(())
        }

        /// Makes the blocks between two looks. All lanes are settled before and after.
        $(#[$features])*
        fn make_blocks<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            let (block, length) = (engine.queue.block, f64::from(engine.queue.block));
            for _ in 0..STEPS_PER_LOOK / block {
                engine.now += length;
                advance(&mut engine.groups[0], block);
                settle(engine, 1, engine.now - length)?;
                advance(&mut engine.groups[1], block);
                settle(engine, 0, engine.now)?;
            }
            settle(engine, 1, engine.now)
        }

        /// Chooses how long the next blocks are, by what was seen in the last ones.
        $(#[$features])*
        fn choose_block<P: Paint>(engine: &mut Engine<'_, '_, P>) {
            let steps = f64::from(STEPS_PER_LOOK) * (2 * GROUP_LANES) as f64;
            let steps = steps / std::mem::take(&mut engine.escapes) as f64;
            let block = block_for(steps.min(4.0 * engine.limit));
            if block != engine.queue.block {
                finish_all(&mut engine.queue, engine.limit, engine.paint);
                engine.queue.block = block;
            }
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
                saved_at: zero,
            }
        }

        /// Makes a block of steps, and notes which lanes have escaped.
        #[inline]
        $(#[$features])*
        fn advance(group: &mut Group, block: u32) {
            let [x, y] = &group.z[group.now];
            let (mut x, mut y) = (vectors(&x.0), vectors(&y.0));
            iterate(&mut x, &mut y, (&group.re.0, &group.im.0), block / 2);
            put(&x, &mut group.middle[0]);
            put(&y, &mut group.middle[1]);
            iterate(&mut x, &mut y, (&group.re.0, &group.im.0), block / 2);
            group.now ^= 1;
            put(&x, &mut group.z[group.now][0]);
            put(&y, &mut group.z[group.now][1]);
            group.escaped = escaped_of(&x, &y);
        }

        /// The lanes beyond the escape, as bits.
        #[inline]
        $(#[$features])*
        fn escaped_of(x: &Vectors, y: &Vectors) -> u64 {
            let mut escaped = 0;
            for vector in 0..GROUP {
                escaped |= bits_beyond(magnitude(x[vector], y[vector]), ESCAPE) << (vector * LANES);
            }
            escaped
        }

        /// Deals with a group's lanes that have escaped or reached the limit in its last block, which ended at `now`.
        #[inline]
        $(#[$features])*
        fn settle<P: Paint>(engine: &mut Engine<'_, '_, P>, group: usize, now: f64) -> Result<(), Cancelled> {
            let mut escaped = std::mem::take(&mut engine.groups[group].escaped);
            engine.escapes += escaped.count_ones() as usize;
            while let Some((at, lanes)) = next_vector(&mut escaped) {
                enqueue(engine, (group, at), lanes, now);
                replace(engine, (group, at), lanes, now)?;
            }
            if engine.queue.length >= GROUP_LANES {
                finish(&mut engine.queue, engine.limit, engine.paint);
            }
            if now >= engine.groups[group].due {
                let due = lanes_due(&engine.groups[group], now - engine.limit);
                if due != 0 {
                    settle_inside(engine, group, due, now)?;
                }
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

        /// Queues the points of some of a vector's lanes, which have escaped in the block that ended at `now`.
        #[inline]
        $(#[$features])*
        fn enqueue<P: Paint>(engine: &mut Engine<'_, '_, P>, (group, at): (usize, usize), lanes: u64, now: f64) {
            let begun = now - f64::from(engine.queue.block);
            let (group, queue) = (&engine.groups[group], &mut engine.queue);
            let (to, start) = (queue.length, &group.z[group.now ^ 1]);
            for axis in 0..2 {
                store(packed(lanes, load(&start[axis].0, at)), &mut queue.start[axis], to);
                store(packed(lanes, load(&group.middle[axis].0, at)), &mut queue.middle[axis], to);
            }
            store(packed(lanes, load(&group.re.0, at)), &mut queue.re, to);
            store(packed(lanes, load(&group.im.0, at)), &mut queue.im, to);
            store(packed(lanes, load(&group.index.0, at)), &mut queue.index, to);
            store(packed(lanes, subtract(splat(begun), load(&group.born.0, at))), &mut queue.steps, to);
            queue.length += lanes.count_ones() as usize;
        }

        /// Paints points that never escape, and replaces them.
        #[inline(never)]
        $(#[$features])*
        fn settle_inside<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            group: usize,
            mut inside: u64,
            now: f64,
        ) -> Result<(), Cancelled> {
            while let Some((at, lanes)) = next_vector(&mut inside) {
                for lane in lanes_of(at, lanes) {
                    let of = &engine.groups[group];
                    let z = (of.z[of.now][0].0[lane], of.z[of.now][1].0[lane]);
                    let pixel = Pixel { re: of.re.0[lane], im: of.im.0[lane], index: of.index.0[lane] };
                    engine.paint.inside(pixel.index.to_bits());
                    note_found(engine, z, pixel);
                }
                replace_one_by_one(engine, (group, at), lanes, now)?;
            }
            Ok(())
        }

        /// A vector's lanes that are named by bits, as lanes of its group.
        #[inline]
        fn lanes_of(at: usize, lanes: u64) -> impl Iterator<Item = usize> {
            (0..LANES).filter(move |lane| lanes >> lane & 1 == 1).map(move |lane| at + lane)
        }

        /// The lanes whose points got there at that time or before.
        #[inline]
        $(#[$features])*
        fn lanes_due(group: &Group, time: f64) -> u64 {
            let mut due = 0;
            for vector in 0..GROUP {
                due |= bits(at_most(load(&group.born.0, vector * LANES), splat(time))) << (vector * LANES);
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
            group.due = first.iter().fold(f64::INFINITY, |a, &b| if a < b { a } else { b }) + engine.limit;
        }

        /// Puts the next pixels into some of a vector's lanes, whose last block ended at `now`.
        ///
        /// Whole vectors are read and written: what is written in parts would make the next block wait for it.
        #[inline]
        $(#[$features])*
        fn replace<P: Paint>(
            engine: &mut Engine<'_, '_, P>,
            (group, at): (usize, usize),
            lanes: u64,
            now: f64,
        ) -> Result<(), Cancelled> {
            let pixels = lanes.count_ones() as usize;
            if engine.feed.ready() < pixels {
                return replace_one_by_one(engine, (group, at), lanes, now);
            }
            let (group, feed, mask) = (&mut engine.groups[group], &mut engine.feed, mask_of(lanes));
            let [x, y] = &mut group.z[group.now];
            put_into(x, at, mask, splat(0.0));
            put_into(y, at, mask, splat(0.0));
            put_into(&mut group.re, at, mask, spread(lanes, load(&feed.re, feed.start)));
            put_into(&mut group.im, at, mask, splat(feed.im));
            put_into(&mut group.index, at, mask, spread(lanes, load(&feed.index, feed.start)));
            put_into(&mut group.born, at, mask, splat(now));
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
            now: f64,
        ) -> Result<(), Cancelled> {
            for lane in lanes_of(at, lanes) {
                refill(engine)?;
                let pixel = engine.feed.next();
                let Pixel { re, im, index } = pixel.unwrap_or_default();
                let group = &mut engine.groups[group];
                for z in &mut group.z[group.now] {
                    z.0[lane] = 0.0;
                }
                group.re.0[lane] = re;
                group.im.0[lane] = im;
                group.index.0[lane] = index;
                group.born.0[lane] = if pixel.is_some() { now } else { f64::INFINITY };
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
                settle_inside(engine, group, cycles, engine.now)?;
                save(&mut engine.groups[group], engine.now);
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
                let is_of_another = at_most(load(&group.saved_at.0, at), load(&group.born.0, at));
                cycles |= (bits(both(is_x, is_y)) & !bits(is_of_another)) << at;
            }
            cycles
        }

        /// Saves z of the lanes that are twice as old as when they were last saved, and old enough.
        #[inline]
        $(#[$features])*
        fn save(group: &mut Group, time: f64) {
            let Group { z, now, born, saved, saved_at, .. } = group;
            for at in (0..GROUP_LANES).step_by(LANES) {
                let (born, last) = (load(&born.0, at), load(&saved_at.0, at));
                let (age, age_at_last) = (subtract(splat(time), born), subtract(last, born));
                let is_old = at_most(splat(STEPS_BEFORE_SAVING), age);
                let is_due = both(is_old, at_most(add(age_at_last, age_at_last), age));
                for (z, saved) in z[*now].iter().zip(&mut *saved) {
                    store(merge(is_due, load(&z.0, at), load(&saved.0, at)), &mut saved.0, at);
                }
                store(merge(is_due, splat(time), last), &mut saved_at.0, at);
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
