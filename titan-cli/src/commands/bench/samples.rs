//! What a repeated measurement gave: the median tells, the lowest and the highest show how far to trust it.

/// What several runs gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Numbers that were measured; at least one.
    pub(super) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The one in the middle; of two in the middle the mean.
    pub(super) fn median(&self) -> f64 {
        let (before, middle) = ((self.0.len() - 1) / 2, self.0.len() / 2);
        f64::midpoint(self.0[before], self.0[middle])
    }

    pub(super) fn lowest(&self) -> f64 {
        self.0[0]
    }

    pub(super) fn highest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let samples = Samples::new(vec![3.0, 1.0, 2.0, 8.0]);
        assert_eq!((samples.median(), samples.lowest(), samples.highest(), samples.count()), (2.5, 1.0, 8.0, 4));
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
    }
}
