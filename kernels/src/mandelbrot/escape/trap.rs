//! The third part of the vector algorithm, a macro too: proof that an orbit never escapes, long before the limit.
//!
//! An orbit inside the set is drawn towards a cycle. Once it is near enough, a small disk around its z comes to lie within
//! itself after some steps, and then whatever is in it stays in it and its images for ever: the orbit as it is computed too,
//! since every rounding is counted in. Let w be within r of z, and m = |z|². After a step they are at most
//! r·(2|z| + r) + ε apart, where ε = 2^-48 covers the roundings of both (all numbers are below 8). With s = r² and
//! (a + b)² <= a²(1 + h) + b²(1 + 1/h) for h = 2^-10, used twice, that is s' = s·(4.01 m + 1030 s) + 2^-85. If after n steps
//! s' and the square of the distance between z then and now are both at most 0.24 r², the disk lies within itself, and n
//! is a multiple of the cycle's period. An orbit that passes |z|² > 4 would leave every bound (`shortcuts::is_on_rim`), so
//! this one never does, and didn't in these n steps: it could not have come back near z.
//!
//! Since neighbours are alike, this is tried for points next to one that is thought to be inside, with its period. They are
//! followed in groups of their own, without tests, from one [`age`] to the next. What has escaped meanwhile, or isn't proved
//! to stay at last, goes the ordinary way from the start. What an ordinary lane found inside, by the limit or by a cycle, is
//! searched for its period.

/// The most stages that a point goes through. What isn't proved after the last, at an age of 6144, is left to the search for
/// cycles: it is on the edge, or its period is another.
pub(super) const STAGES: usize = 4;

/// Steps that a point of a stage has made: 96, then four times as many each time, as a try costs about as much as 96 steps.
pub(super) fn age(stage: usize) -> u32 {
    if stage == 0 { 0 } else { 96 << (2 * (stage - 1)) }
}

/// The disk's radius, squared: a small one for fast cycles, which start early, and for slow ones a smaller.
pub(super) fn disk(stage: usize) -> f64 {
    1.0 / if stage % 2 == 1 { (1u64 << 20) as f64 } else { (1u64 << 28) as f64 }
}

/// The longest period that is searched for.
pub(super) fn longest_period(limit: u32) -> u32 {
    (limit / 32).clamp(32, 512)
}

/// Times of a period within which a disk has to return: the weaker the cycle, the longer it takes to become half as large.
pub(super) const RETURNS: u32 = 2;

/// Below this limit an orbit is followed to its end.
pub(super) const LEAST_LIMIT: u32 = 256;

/// What the roundings of a step add to a disk's radius, squared: 2^-85.
pub(super) const ROUNDING: f64 = 1.0 / (1u128 << 85) as f64;

macro_rules! trap {
    ($(#[$features:meta])*) => {
        use super::trap;

        /// Points of one age that are probably inside, and wait until they fill a group.
        struct Suspects {
            length: usize,
            x: Lanes,
            y: Lanes,
            re: Lanes,
            im: Lanes,
            /// The bits of the pixel's number.
            index: Lanes,
            /// The period of what is inside near it.
            period: Lanes,
        }

        /// All that is known of points that are probably inside.
        struct Traps {
            /// By stage.
            stages: Vec<Suspects>,
            /// Points that are inside, whose period isn't known.
            found: Suspects,
            /// Groups of these that aren't searched, since that was in vain lately: how many still, and of how many.
            pause: u32,
            whole_pause: u32,
        }

        fn no_suspects() -> Suspects {
            let zero = Lanes([0.0; GROUP_LANES]);
            Suspects { length: 0, x: zero, y: zero, re: zero, im: zero, index: zero, period: zero }
        }

        fn no_traps(limit: u32) -> Traps {
            let stages = (0..trap::STAGES).take_while(|&stage| limit >= trap::LEAST_LIMIT && trap::age(stage) < limit);
            Traps { stages: stages.map(|_| no_suspects()).collect(), found: no_suspects(), pause: 0, whole_pause: 0 }
        }

        impl Suspects {
            /// Takes a point. Says whether there are enough for a group now.
            #[inline]
            fn push(&mut self, z: (f64, f64), pixel: Pixel, period: f64) -> bool {
                let at = self.length;
                (self.x.0[at], self.y.0[at]) = z;
                (self.re.0[at], self.im.0[at], self.index.0[at]) = (pixel.re, pixel.im, pixel.index);
                self.period.0[at] = period;
                self.length += 1;
                self.length == GROUP_LANES
            }

            fn pixel(&self, lane: usize) -> Pixel {
                Pixel { re: self.re.0[lane], im: self.im.0[lane], index: self.index.0[lane] }
            }

            fn z(&self, lane: usize) -> (f64, f64) {
                (self.x.0[lane], self.y.0[lane])
            }

            /// The longest of their periods.
            fn longest_period(&self) -> u32 {
                self.period.0[..self.length].iter().fold(0.0, |a: f64, &b| a.max(b)) as u32
            }
        }

        /// Makes pixels ready for the lanes, unless none is left.
        #[inline(never)]
        $(#[$features])*
        fn refill<P: Paint>(engine: &mut Engine<'_, '_, P>) -> Result<(), Cancelled> {
            while engine.feed.ready() == 0 {
                let more = engine.feed.refill(engine.paint, engine.cancel)?;
                let mut suspects = std::mem::take(&mut engine.feed.suspects);
                for (pixel, period) in suspects.drain(..) {
                    if engine.traps.stages[0].push((0.0, 0.0), pixel, f64::from(period)) {
                        follow_stage(engine, 0);
                    }
                }
                engine.feed.suspects = suspects;
                take_early(engine);
                if !more && !follow_all(engine) {
                    break;
                }
            }
            Ok(())
        }

        /// Follows all points that wait, though they don't fill groups. Says whether there were any.
        $(#[$features])*
        fn follow_all<P: Paint>(engine: &mut Engine<'_, '_, P>) -> bool {
            let mut any = false;
            for stage in 0..engine.traps.stages.len() {
                if engine.traps.stages[stage].length > 0 {
                    any = true;
                    follow_stage(engine, stage);
                }
            }
            any
        }

        /// Follows the points of a stage to the next age, and those of the next stage if that fills its group.
        $(#[$features])*
        fn follow_stage<P: Paint>(engine: &mut Engine<'_, '_, P>, stage: usize) {
            let (next, limit) = (stage + 1, engine.limit as u32);
            let mut suspects = std::mem::replace(&mut engine.traps.stages[stage], no_suspects());
            let to = trap::age(next).min(limit);
            let there = go_on(&mut suspects, to - trap::age(stage));
            let inside = if to == limit {
                there
            } else {
                let most = suspects.longest_period() * trap::RETURNS;
                returns(&suspects, there, trap::disk(next), most, |_, _| ())
            };
            for lane in 0..suspects.length {
                let pixel = suspects.pixel(lane);
                if inside >> lane & 1 == 1 {
                    engine.paint.inside(pixel.index.to_bits());
                } else if there >> lane & 1 == 0 || next == engine.traps.stages.len() {
                    engine.feed.give_back(pixel);
                } else if engine.traps.stages[next].push(suspects.z(lane), pixel, suspects.period.0[lane]) {
                    follow_stage(engine, next);
                }
            }
        }

        /// Makes that many steps of all points. Returns those that haven't escaped, as bits.
        $(#[$features])*
        fn go_on(suspects: &mut Suspects, steps: u32) -> u64 {
            let (mut x, mut y) = (vectors(&suspects.x.0), vectors(&suspects.y.0));
            iterate(&mut x, &mut y, (&suspects.re.0, &suspects.im.0), steps);
            put(&x, &mut suspects.x);
            put(&y, &mut suspects.y);
            !escaped_of(&x, &y) & ((1 << suspects.length) - 1)
        }

        /// Those of the wanted points around which a disk of that radius, squared, returns into itself within so many steps.
        /// Tells of each after how many it did first.
        $(#[$features])*
        fn returns(suspects: &Suspects, wanted: u64, disk: f64, most: u32, mut tell: impl FnMut(usize, u32)) -> u64 {
            let (x0, y0) = (vectors(&suspects.x.0), vectors(&suspects.y.0));
            let (mut x, mut y, mut s) = (x0, y0, [splat(disk); GROUP]);
            let (near, mut returned) = (splat(0.24 * disk), 0);
            for step in 1..=most {
                for vector in 0..GROUP {
                    let m = magnitude(x[vector], y[vector]);
                    let growth = multiply_add(splat(4.01), m, multiply(splat(1030.0), s[vector]));
                    s[vector] = multiply_add(s[vector], growth, splat(trap::ROUNDING));
                }
                iterate(&mut x, &mut y, (&suspects.re.0, &suspects.im.0), 1);
                let mut now = 0;
                for vector in 0..GROUP {
                    let gone = magnitude(subtract(x[vector], x0[vector]), subtract(y[vector], y0[vector]));
                    now |= bits(both(at_most(gone, near), at_most(s[vector], near))) << (vector * LANES);
                }
                now &= wanted & !returned;
                returned |= now;
                while now != 0 {
                    tell(now.trailing_zeros() as usize, step);
                    now &= now - 1;
                }
                if returned == wanted {
                    break;
                }
            }
            returned
        }

        /// Notes that an ordinary lane's point is inside, so that its neighbours are tried.
        $(#[$features])*
        fn note_found<P: Paint>(engine: &mut Engine<'_, '_, P>, z: (f64, f64), pixel: Pixel) {
            if engine.traps.stages.is_empty() || !engine.traps.found.push(z, pixel, 0.0) {
                return;
            }
            let found = std::mem::replace(&mut engine.traps.found, no_suspects());
            if engine.traps.pause > 0 {
                engine.traps.pause -= 1;
                return;
            }
            let (feed, longest) = (&mut engine.feed, trap::longest_period(engine.limit as u32));
            let every = (1u64 << GROUP_LANES) - 1;
            let returned = returns(&found, every, trap::disk(2), longest, |lane, period| {
                feed.note_inside(found.index.0[lane].to_bits(), period);
            });
            let whole = if returned == 0 { (2 * engine.traps.whole_pause).clamp(1, 64) } else { 0 };
            (engine.traps.pause, engine.traps.whole_pause) = (whole, whole);
        }
    };
}
