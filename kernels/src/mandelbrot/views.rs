//! Places worth looking at, by name.

/// A named part of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// What `--view` calls it.
    pub name: &'static str,
    /// Centre of the picture: real and imaginary part.
    pub center: (f64, f64),
    /// Span of the real axis.
    pub width: f64,
    /// A limit of iterations that shows it well.
    pub iterations: u32,
}

/// Names of the views, the default first.
pub static NAMES: &[&str] = &["full", "titan", "seahorse", "elephant", "spiral", "eye", "minibrot"];

/// Every view, in the order of [`NAMES`].
pub static VIEWS: &[View] = &[
    View { name: "full", center: (-0.5, 0.0), width: 3.0, iterations: 1000 },
    View { name: "titan", center: (-0.746, 0.102), width: 0.004, iterations: 1000 },
    View { name: "seahorse", center: (-0.7435669, 0.1314023), width: 0.0022878, iterations: 3000 },
    View { name: "elephant", center: (0.286931868895, 0.014286693904), width: 0.00064, iterations: 2500 },
    View { name: "spiral", center: (-0.77468061063, -0.13741688560), width: 1.5e-5, iterations: 4000 },
    View { name: "eye", center: (-1.25066, 0.02012), width: 0.00017, iterations: 4000 },
    View { name: "minibrot", center: (-0.743643135, 0.131825963), width: 1.6e-5, iterations: 5000 },
];

/// The view of that name.
pub fn find(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names_is_that_of_the_views() {
        assert!(VIEWS.iter().map(|view| view.name).eq(NAMES.iter().copied()));
        assert!(NAMES.iter().all(|name| find(name).is_some()));
        assert_eq!(find("nowhere"), None);
    }
}
