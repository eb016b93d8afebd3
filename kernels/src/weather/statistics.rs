//! Mean and standard deviation of fields that are added one after the other: Welford's method (Technometrics 4, 1962;
//! Knuth, The Art of Computer Programming, volume 2, §4.2.2). Fields that are all the same have a spread of exactly 0.

/// What is known of the fields that were added.
pub(super) struct Statistics {
    /// How many have been added to all cells.
    fields: u32,
    mean: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl Statistics {
    /// Of no fields, each of that many cells.
    pub(super) fn new(cells: usize) -> Self {
        Self { fields: 0, mean: vec![0.0; cells], squares: vec![0.0; cells] }
    }

    /// Adds a part of the next field, whose first cell has that number.
    pub(super) fn add(&mut self, first_cell: usize, values: impl ExactSizeIterator<Item = f64>) {
        let count = f64::from(self.fields + 1);
        let cells = first_cell..first_cell + values.len();
        let known = self.mean[cells.clone()].iter_mut().zip(&mut self.squares[cells]);
        for ((mean, squares), value) in known.zip(values) {
            let before = value - *mean;
            *mean += before / count;
            *squares += before * (value - *mean);
        }
    }

    /// All parts of the next field have been added.
    pub(super) fn end_field(&mut self) {
        self.fields += 1;
    }

    /// How many fields were added.
    pub(super) fn fields(&self) -> u32 {
        self.fields
    }

    /// The mean in each cell, and the standard deviation (of the population); not numbers if there was no field.
    pub(super) fn end(mut self) -> (Vec<f64>, Vec<f64>) {
        if self.fields == 0 {
            self.mean.fill(f64::NAN);
            self.squares.fill(f64::NAN);
            return (self.mean, self.squares);
        }
        let count = f64::from(self.fields);
        self.squares.iter_mut().for_each(|squares| *squares = (*squares / count).sqrt());
        (self.mean, self.squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[[f64; 2]]) -> (Vec<f64>, Vec<f64>) {
        let mut statistics = Statistics::new(2);
        for field in fields {
            statistics.add(0, field[..1].iter().copied());
            statistics.add(1, field[1..].iter().copied());
            statistics.end_field();
        }
        statistics.end()
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_population() {
        let (mean, spread) =
            of(&[[2.0, 0.0], [4.0, 0.0], [4.0, 3.0], [4.0, 3.0], [5.0, 0.0], [5.0, 0.0], [7.0, 3.0], [9.0, 3.0]]);
        assert_eq!((mean, spread), (vec![5.0, 1.5], vec![2.0, 1.5]));
    }

    #[test]
    fn equal_fields_are_their_mean_and_have_no_spread() {
        let field = [1.0 / 3.0, 0.1];
        assert_eq!(of(&[field; 7]), (field.to_vec(), vec![0.0, 0.0]));
    }

    #[test]
    fn no_fields_have_no_mean() {
        let (mean, spread) = of(&[]);
        assert!(mean.iter().chain(&spread).all(|value| value.is_nan()));
    }
}
