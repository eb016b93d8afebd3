//! Where pixels lie in the plane: the one definition that every host follows to the bit.
//!
//! Pixel (i, j) of a W x H picture has re = centre + (i + 0.5 - W/2) * step and im = centre - (j + 0.5 - H/2) * step
//! with step = width / W, all in f64, with a multiplication and then an addition (never fused).

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Column of its left edge.
    pub left: u32,
    /// Row of its top edge; row 0 is the top of the picture.
    pub top: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Rect {
    /// How many pixels it has.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// A picture's grid of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    center_re: f64,
    center_im: f64,
    step: f64,
    half_width: f64,
    half_height: f64,
}

impl Grid {
    /// The grid of a picture of that many pixels whose rows span `width` on the real axis.
    pub fn new((center_re, center_im): (f64, f64), width: f64, (columns, rows): (u32, u32)) -> Self {
        Self {
            center_re,
            center_im,
            step: width / f64::from(columns),
            half_width: f64::from(columns) / 2.0,
            half_height: f64::from(rows) / 2.0,
        }
    }

    /// The distance between neighbouring pixels.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// Real part of column `i`.
    #[inline(always)]
    pub fn re(&self, i: u32) -> f64 {
        self.center_re + (f64::from(i) + 0.5 - self.half_width) * self.step
    }

    /// Imaginary part of row `j`.
    #[inline(always)]
    pub fn im(&self, j: u32) -> f64 {
        self.center_im - (f64::from(j) + 0.5 - self.half_height) * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_lies_between_the_middle_pixels_and_row_0_is_on_top() {
        let grid = Grid::new((-0.5, 0.25), 3.0, (4, 2));
        assert_eq!([grid.re(1), grid.re(2)], [-0.875, -0.125]);
        assert_eq!([grid.im(0), grid.im(1)], [0.625, -0.125]);
        assert_eq!(grid.step(), 0.75);
    }
}
