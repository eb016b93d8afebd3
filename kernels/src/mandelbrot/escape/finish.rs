//! The second half of the vector algorithm, a macro too: exact counts for the points that have left their group.
//!
//! Points wait in a queue until they fill a group. Then the count is found by halving: 8 steps, then 4, 2, 1, each
//! kept if the point is still there. At last the points go on for their colours, and are painted.

macro_rules! finish {
    ($(#[$features:meta])*) => {
        use super::{Batch, SMOOTH_ESCAPE, SMOOTH_STEPS};

        /// Lanes that may wait: a group less one, a vector that joins them, and room for storing a whole vector.
        const QUEUE: usize = GROUP_LANES + 2 * LANES;

        /// Points that have left the group and wait for their exact count.
        struct Queue {
            length: usize,
            x: [f64; QUEUE],
            y: [f64; QUEUE],
            re: [f64; QUEUE],
            im: [f64; QUEUE],
            steps: [f64; QUEUE],
            index: [f64; QUEUE],
        }

        fn empty_queue() -> Queue {
            let zero = [0.0; QUEUE];
            Queue { length: 0, x: zero, y: zero, re: zero, im: zero, steps: zero, index: zero }
        }

        /// The first `length` points of the queue get their exact counts and are painted.
        #[inline(never)]
        $(#[$features])*
        fn finish<P: Paint>(engine: &mut Engine<'_, '_, P>, length: usize) {
            let (mut points, limit) = (queued(&engine.queue), splat(engine.limit));
            halve(&mut points, limit);
            let counts = points.steps.map(|steps| smaller(add(steps, splat(1.0)), limit));
            points.steps = counts;
            let magnitudes = follow(&mut points, limit);
            let queue = &mut engine.queue;
            let (mut count, mut magnitude) = ([0.0; GROUP_LANES], [0.0; GROUP_LANES]);
            let mut steps = [0.0; GROUP_LANES];
            for vector in 0..GROUP {
                store(counts[vector], &mut count, vector * LANES);
                store(points.steps[vector], &mut steps, vector * LANES);
                store(magnitudes[vector], &mut magnitude, vector * LANES);
            }
            let (index, count) = (&queue.index[..length], &count[..length]);
            engine.paint.batch(Batch { index, count, steps: &steps[..length], magnitude: &magnitude[..length] });
            drop_first(queue, length);
        }

        /// The queue's first points.
        #[inline]
        $(#[$features])*
        fn queued(queue: &Queue) -> Points {
            let mut points = idle_group().points;
            for vector in 0..GROUP {
                let at = vector * LANES;
                points.x[vector] = load(&queue.x, at);
                points.y[vector] = load(&queue.y, at);
                points.re[vector] = load(&queue.re, at);
                points.im[vector] = load(&queue.im, at);
                points.steps[vector] = load(&queue.steps, at);
            }
            points
        }

        /// Brings every point to the last step before its escape or to the limit, whichever comes first.
        #[inline]
        $(#[$features])*
        fn halve(points: &mut Points, limit: Vector) {
            for length in [BLOCK / 2, BLOCK / 4, BLOCK / 8, BLOCK / 16] {
                let (x, y) = steps_of(points, length);
                for vector in 0..GROUP {
                    let steps = add(points.steps[vector], splat(f64::from(length)));
                    let stays = at_most(magnitude(x[vector], y[vector]), splat(ESCAPE));
                    let keep = both(stays, at_most(steps, limit));
                    points.x[vector] = select(keep, x[vector], points.x[vector]);
                    points.y[vector] = select(keep, y[vector], points.y[vector]);
                    points.steps[vector] = select(keep, steps, points.steps[vector]);
                }
            }
        }

        /// Makes the escaping step of points below the limit, then goes on for colours; returns |z|².
        #[inline]
        $(#[$features])*
        fn follow(points: &mut Points, limit: Vector) -> Vectors {
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
            let mut found = at_most(values[0], most);
            for vector in 1..GROUP {
                found = either(found, at_most(values[vector], most));
            }
            any(found)
        }

        /// Moves the points after the first `length` to the queue's start.
        fn drop_first(queue: &mut Queue, length: usize) {
            let rest = length..queue.length;
            let Queue { x, y, re, im, steps, index, .. } = queue;
            for array in [x, y, re, im, steps, index] {
                array.copy_within(rest.clone(), 0);
            }
            queue.length -= length;
        }
    };
}
