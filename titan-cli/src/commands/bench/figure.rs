//! One figure: what was measured, what bounds it, and what is promised of their ratio.

use serde_json::{Value, json};

use super::samples::Samples;

/// What is promised of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// At least the first; the second is aimed at.
    AtLeast(f64, f64),
    /// At most the first; the second is aimed at.
    AtMost(f64, f64),
    /// Nothing.
    Told,
}

/// One figure.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) section: &'static str,
    /// What was measured.
    pub(super) name: String,
    /// As a number with a unit.
    pub(super) measured: f64,
    pub(super) unit: &'static str,
    /// What it is compared with.
    pub(super) bound: String,
    pub(super) bound_value: f64,
    /// Measured by bound, in each run.
    pub(super) ratio: Samples,
    pub(super) target: Target,
}

impl Figure {
    /// Whether what is promised is kept; None: nothing is.
    pub(super) fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio.median();
        match self.target {
            Target::AtLeast(least, _) => Some(ratio >= least),
            Target::AtMost(most, _) => Some(ratio <= most),
            Target::Told => None,
        }
    }

    /// Whether it is worse than half of what is promised, which no noise explains.
    pub(super) fn is_far_off(&self) -> bool {
        let ratio = self.ratio.median();
        match self.target {
            Target::AtLeast(least, _) => ratio < least / 2.0,
            Target::AtMost(most, _) => ratio > most * 2.0,
            Target::Told => false,
        }
    }

    fn mark(&self) -> &'static str {
        match (self.is_far_off(), self.is_met()) {
            (true, _) => "!!",
            (false, Some(false)) => "!",
            _ => "",
        }
    }

    fn promise(&self) -> String {
        match self.target {
            Target::AtLeast(least, aim) => format!("≥ {least} ({aim})"),
            Target::AtMost(most, aim) => format!("≤ {most} ({aim})"),
            Target::Told => String::new(),
        }
    }

    /// For the progress of the benchmark.
    pub(super) fn sentence(&self) -> String {
        format!(
            "{}: {}: {} {}, {:.2} × {}",
            self.section,
            self.name,
            number(self.measured),
            self.unit,
            self.ratio.median(),
            self.bound
        )
    }

    /// As docs/json.md has it.
    pub(super) fn json(&self) -> Value {
        let (least, most, aim) = match self.target {
            Target::AtLeast(least, aim) => (Some(least), None, Some(aim)),
            Target::AtMost(most, aim) => (None, Some(most), Some(aim)),
            Target::Told => (None, None, None),
        };
        json!({
            "section": self.section,
            "name": self.name,
            "measured": self.measured,
            "unit": self.unit,
            "bound": self.bound,
            "bound_value": self.bound_value,
            "ratio": self.ratio.median(),
            "lowest": self.ratio.lowest(),
            "highest": self.ratio.highest(),
            "runs": self.ratio.count(),
            "at_least": least,
            "at_most": most,
            "aim": aim,
            "met": self.is_met(),
        })
    }
}

/// All figures, for people: a line each, in Markdown, so that docs/performance.md is this.
pub(super) fn table(figures: &[Figure]) -> String {
    let head = ["", "figure", "measured", "bound", "ratio", "lowest to highest", "promised (aim)"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(figures.iter().map(|figure| {
        [
            figure.mark().to_owned(),
            format!("{}: {}", figure.section, figure.name),
            format!("{} {}", number(figure.measured), figure.unit),
            format!("{}: {} {}", figure.bound, number(figure.bound_value), figure.unit),
            format!("{:.2}", figure.ratio.median()),
            format!("{:.2} to {:.2}", figure.ratio.lowest(), figure.ratio.highest()),
            figure.promise(),
        ]
    }));
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let rule = widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))).collect::<String>() + "|\n";
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if at == 0 {
            text += &rule;
        }
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ratio: f64, target: Target) -> Figure {
        Figure {
            section: "kernel",
            name: "view A".to_owned(),
            measured: 4.4321,
            unit: "Giter/s",
            bound: "one core's limit".to_owned(),
            bound_value: 7.5,
            ratio: Samples::new(vec![ratio, ratio - 0.1, ratio + 0.1]),
            target,
        }
    }

    #[test]
    fn only_what_is_worse_than_half_of_the_promise_is_far_off() {
        assert_eq!(figure(0.7, Target::AtLeast(0.65, 0.8)).is_met(), Some(true));
        let missed = figure(0.4, Target::AtLeast(0.65, 0.8));
        assert_eq!((missed.is_met(), missed.is_far_off(), missed.mark()), (Some(false), false, "!"));
        assert!(figure(0.3, Target::AtLeast(0.65, 0.8)).is_far_off());
        assert!(
            !figure(3.9, Target::AtMost(2.0, 1.5)).is_far_off() && figure(4.1, Target::AtMost(2.0, 1.5)).is_far_off()
        );
        assert_eq!((figure(9.0, Target::Told).is_met(), figure(9.0, Target::Told).is_far_off()), (None, false));
    }

    #[test]
    fn the_table_is_markdown() {
        let figures = [figure(0.59, Target::AtLeast(0.65, 0.8)), figure(9.0, Target::Told)];
        insta::assert_snapshot!(table(&figures));
    }
}
