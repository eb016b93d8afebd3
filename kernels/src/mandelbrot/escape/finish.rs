//! The second part of the vector algorithm, a macro too: exact counts for the points that have left their group.
//!
//! Points wait in a queue until they fill a group. Each has escaped within the block after its z at the start; if it
//! hasn't yet in the middle, that is where to look. Then the count is found by halving: a quarter of a block, an eighth and
//! so on to one step, each kept if the point is still there. At last the points go on for their colours, and are painted.

macro_rules! finish {
    ($(#[$features:meta])*) => {
        use super::{Batch, SMOOTH_ESCAPE, SMOOTH_STEPS, integer};

        /// Points that may wait: a group less one, and another; and as a vector is written whole, room for its idle end.
        const QUEUE: usize = 2 * GROUP_LANES + LANES;

        /// Points that have left their group and wait for their exact count.
        struct Queue {
            length: usize,
            /// Steps of the block in which they escaped.
            block: u32,
            /// z at the start of the block in which it escaped, and in its middle.
            start: [[f64; QUEUE]; 2],
            middle: [[f64; QUEUE]; 2],
            re: [f64; QUEUE],
            im: [f64; QUEUE],
            /// Steps that were made before it.
            steps: [f64; QUEUE],
            /// The bits of the pixel's number.
            index: [f64; QUEUE],
        }

        /// Points whose counts are being found.
        struct Points<'q> {
            x: Vectors,
            y: Vectors,
            re: &'q [f64; GROUP_LANES],
            im: &'q [f64; GROUP_LANES],
            /// Steps made.
            steps: Vectors,
        }

        fn empty_queue(block: u32) -> Queue {
            let zero = [0.0; QUEUE];
            Queue { length: 0, block, start: [zero; 2], middle: [zero; 2], re: zero, im: zero, steps: zero, index: zero }
        }

        /// The first points of the queue, as many as a group has, get their exact counts and are painted.
        #[inline(never)]
        $(#[$features])*
        fn finish<P: Paint>(queue: &mut Queue, limit: f64, paint: &mut P) {
            let length = queue.length.min(GROUP_LANES);
            let mut points = last_within(queue);
            let limit = splat(limit);
            for steps in &mut points.steps {
                *steps = smaller(add(*steps, splat(1.0)), limit);
            }
            let mut count = Lanes([0.0; GROUP_LANES]);
            let (mut steps, mut magnitude) = (count, count);
            put(&points.steps, &mut count);
            if P::NEEDS_MAGNITUDE {
                put(&follow(&mut points, limit), &mut magnitude);
                put(&points.steps, &mut steps);
            }
            let (mut index, mut whole_count) = ([0; GROUP_LANES], [0; GROUP_LANES]);
            for lane in 0..GROUP_LANES {
                index[lane] = queue.index[lane].to_bits();
                whole_count[lane] = integer(count.0[lane]) as u32;
            }
            paint.batch(Batch {
                index: &index[..length],
                count: &whole_count[..length],
                steps: &steps.0[..length],
                magnitude: &magnitude.0[..length],
            });
            drop_first(queue, length);
        }

        /// The queue's first points at the last step before their escape.
        ///
        /// Not inlined, so that what it calls has one caller, however many paints there are, and is.
        #[inline(never)]
        $(#[$features])*
        fn last_within(queue: &Queue) -> Points<'_> {
            let mut points = queued(queue);
            halve(&mut points, queue.block);
            points
        }

        /// Finishes all points of the queue.
        $(#[$features])*
        fn finish_all<P: Paint>(queue: &mut Queue, limit: f64, paint: &mut P) {
            while queue.length > 0 {
                finish(queue, limit, paint);
            }
        }

        /// Forgets the first `length` points of the queue: all of them, or a group, after which few are left.
        #[inline]
        $(#[$features])*
        fn drop_first(queue: &mut Queue, length: usize) {
            let Queue { start: [a, b], middle: [c, d], re, im, steps, index, .. } = queue;
            queue.length -= length;
            for array in [a, b, c, d, re, im, steps, index] {
                for at in (0..queue.length).step_by(LANES) {
                    store(load(array, GROUP_LANES + at), array, at);
                }
            }
        }

        /// The queue's points where they are last known not to have escaped: at the start of the block or in its middle.
        #[inline]
        $(#[$features])*
        fn queued(queue: &Queue) -> Points<'_> {
            let zero = [splat(0.0); GROUP];
            let (re, _) = queue.re.split_first_chunk().expect("it has room for more");
            let (im, _) = queue.im.split_first_chunk().expect("it has room for more");
            let mut points = Points { x: zero, y: zero, re, im, steps: zero };
            for vector in 0..GROUP {
                let at = vector * LANES;
                let (x, y) = (load(&queue.middle[0], at), load(&queue.middle[1], at));
                let is_there = at_most(magnitude(x, y), splat(ESCAPE));
                let steps = load(&queue.steps, at);
                points.x[vector] = select(is_there, x, load(&queue.start[0], at));
                points.y[vector] = select(is_there, y, load(&queue.start[1], at));
                points.steps[vector] = select(is_there, add(steps, splat(f64::from(queue.block / 2))), steps);
            }
            points
        }

        /// Brings every point to the last step before its escape, which is within half a block.
        #[inline]
        $(#[$features])*
        fn halve(points: &mut Points<'_>, block: u32) {
            // Not a loop: so the compiler knows each length, and keeps what it can in registers.
            if block >= 128 {
                keep_if_there(points, 32);
            }
            if block >= 64 {
                keep_if_there(points, 16);
            }
            if block >= 32 {
                keep_if_there(points, 8);
            }
            keep_if_there(points, 4);
            keep_if_there(points, 2);
            keep_if_there(points, 1);
        }

        /// Makes that many steps of the points that haven't escaped after them.
        #[inline]
        $(#[$features])*
        fn keep_if_there(points: &mut Points<'_>, length: u32) {
            let (x, y) = steps_of(points, length);
            for vector in 0..GROUP {
                let keep = at_most(magnitude(x[vector], y[vector]), splat(ESCAPE));
                let steps = add(points.steps[vector], splat(f64::from(length)));
                points.x[vector] = select(keep, x[vector], points.x[vector]);
                points.y[vector] = select(keep, y[vector], points.y[vector]);
                points.steps[vector] = select(keep, steps, points.steps[vector]);
            }
        }

        /// z after that many steps of every lane.
        #[inline]
        $(#[$features])*
        fn steps_of(points: &Points<'_>, steps: u32) -> (Vectors, Vectors) {
            let (mut x, mut y) = (points.x, points.y);
            iterate(&mut x, &mut y, (points.re, points.im), steps);
            (x, y)
        }

        /// Makes the escaping step of points below the limit, then goes on for colours; returns |z|².
        #[inline]
        $(#[$features])*
        fn follow(points: &mut Points<'_>, limit: Vector) -> Vectors {
            (points.x, points.y) = steps_of(points, 1);
            let (counts, mut magnitudes) = (points.steps, points.x);
            for vector in 0..GROUP {
                magnitudes[vector] = magnitude(points.x[vector], points.y[vector]);
                // Points at the limit have not escaped and are not followed.
                magnitudes[vector] = select(at_most(limit, counts[vector]), splat(f64::INFINITY), magnitudes[vector]);
            }
            for _ in 0..SMOOTH_STEPS {
                if !any_at_most(&magnitudes, splat(SMOOTH_ESCAPE)) {
                    break;
                }
                let (x, y) = steps_of(points, 1);
                for vector in 0..GROUP {
                    let go_on = at_most(magnitudes[vector], splat(SMOOTH_ESCAPE));
                    points.x[vector] = x[vector];
                    points.y[vector] = y[vector];
                    magnitudes[vector] = select(go_on, magnitude(x[vector], y[vector]), magnitudes[vector]);
                    let steps = add(points.steps[vector], splat(1.0));
                    points.steps[vector] = select(go_on, steps, points.steps[vector]);
                }
            }
            magnitudes
        }

        #[inline]
        $(#[$features])*
        fn any_at_most(values: &Vectors, most: Vector) -> bool {
            let mut found = 0;
            for &value in values {
                found |= bits(at_most(value, most));
            }
            found != 0
        }
    };
}
