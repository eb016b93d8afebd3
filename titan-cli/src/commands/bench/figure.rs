//! One figure: what was measured, what bounds it, and what is promised of their ratio.

use std::io;

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

/// What a figure is of.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) section: &'static str,
    /// What is measured.
    pub(super) name: String,
    pub(super) unit: &'static str,
    /// What it is compared with, in the same unit.
    pub(super) bound: String,
    pub(super) target: Target,
}

/// One figure.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    subject: Subject,
    measured: f64,
    bound_value: f64,
    /// Measured by bound, in each run.
    ratio: Samples,
}

impl Figure {
    /// Measures once to warm up and then that many times: what is measured, and what bounds it.
    ///
    /// # Errors
    /// Those of `measure`.
    pub(super) fn take(
        subject: Subject,
        runs: u32,
        mut measure: impl FnMut() -> io::Result<(f64, f64)>,
    ) -> io::Result<Self> {
        measure()?;
        let runs: Vec<(f64, f64)> = (0..runs.max(1)).map(|_| measure()).collect::<io::Result<_>>()?;
        let samples = |number: fn(&(f64, f64)) -> f64| Samples::new(runs.iter().map(number).collect());
        Ok(Self {
            subject,
            measured: samples(|run| run.0).median(),
            bound_value: samples(|run| run.1).median(),
            ratio: samples(|run| run.0 / run.1),
        })
    }

    /// Whether what is promised is kept; None: nothing is.
    pub(super) fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio.median();
        match self.subject.target {
            Target::AtLeast(least, _) => Some(ratio >= least),
            Target::AtMost(most, _) => Some(ratio <= most),
            Target::Told => None,
        }
    }

    /// Whether it is worse than half of what is promised, which no noise explains.
    pub(super) fn is_far_off(&self) -> bool {
        let ratio = self.ratio.median();
        match self.subject.target {
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
        match self.subject.target {
            Target::AtLeast(least, aim) => format!("≥ {least} ({aim})"),
            Target::AtMost(most, aim) => format!("≤ {most} ({aim})"),
            Target::Told => String::new(),
        }
    }

    /// For the progress of the benchmark.
    pub(super) fn sentence(&self) -> String {
        format!(
            "{}: {}: {} {}, {:.2} × {}",
            self.subject.section,
            self.subject.name,
            number(self.measured),
            self.subject.unit,
            self.ratio.median(),
            self.subject.bound
        )
    }

    /// As docs/json.md has it.
    pub(super) fn json(&self) -> Value {
        let (least, most, aim) = match self.subject.target {
            Target::AtLeast(least, aim) => (Some(least), None, Some(aim)),
            Target::AtMost(most, aim) => (None, Some(most), Some(aim)),
            Target::Told => (None, None, None),
        };
        json!({
            "section": self.subject.section,
            "name": self.subject.name,
            "measured": self.measured,
            "unit": self.subject.unit,
            "bound": self.subject.bound,
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
            format!("{}: {}", figure.subject.section, figure.subject.name),
            format!("{} {}", number(figure.measured), figure.subject.unit),
            format!("{}: {} {}", figure.subject.bound, number(figure.bound_value), figure.subject.unit),
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
        let subject = Subject {
            section: "kernel",
            name: "view A".to_owned(),
            unit: "Giter/s",
            bound: "one core's limit".to_owned(),
            target,
        };
        let ratio = Samples::new(vec![ratio, ratio - 0.1, ratio + 0.1]);
        Figure { subject, measured: 4.4321, bound_value: 7.5, ratio }
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
    fn the_run_that_warms_up_does_not_count() {
        let subject = figure(1.0, Target::Told).subject;
        let mut runs = [(100.0, 1.0), (3.0, 2.0), (1.0, 1.0), (2.0, 1.0)].into_iter();
        let figure = Figure::take(subject.clone(), 3, || Ok(runs.next().unwrap())).unwrap();
        let Figure { measured, bound_value, ratio, .. } = figure;
        assert_eq!((measured, bound_value, ratio), (2.0, 1.0, Samples::new(vec![1.0, 1.5, 2.0])));
        assert!(Figure::take(subject, 3, || Err(io::Error::other("no"))).is_err());
    }

    #[test]
    fn the_table_is_markdown() {
        let figures = [figure(0.59, Target::AtLeast(0.65, 0.8)), figure(9.0, Target::Told)];
        insta::assert_snapshot!(table(&figures));
    }
}
