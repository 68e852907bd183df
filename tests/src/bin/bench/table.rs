//! The table of ratios.

use std::{fmt, time::Duration};

use system_tests::load::Report;

/// Rows in the order they were measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// What another program measured.
pub(crate) struct Measured {
    /// Per second.
    pub(crate) rate: f64,
    /// The median and the 99th percentile, where it tells them.
    pub(crate) latencies: Option<(Duration, Duration)>,
}

struct Row {
    what: String,
    rate: f64,
    latencies: Option<(Duration, Duration)>,
    compared: Option<(String, f64)>,
    failed: u64,
}

impl Table {
    /// Adds a run, compared with `baseline` (a label and its rate).
    pub(crate) fn add(&mut self, what: &str, report: &Report, baseline: Option<(&str, f64)>) {
        self.rows.push(Row {
            what: what.to_owned(),
            rate: report.rate(),
            latencies: Some((report.percentile(50), report.percentile(99))),
            compared: baseline.map(|(label, rate)| (label.to_owned(), report.rate() / rate)),
            failed: report.failed,
        });
        if let Some(failure) = &report.first_failure {
            let line: String = failure.chars().take(300).collect();
            self.notes.push(format!(
                "{what}: {} failed, first: {}",
                report.failed,
                line.replace("\r\n", " ")
            ));
        }
    }

    /// Adds what another program measured.
    pub(crate) fn add_measured(&mut self, what: &str, measured: &Measured) {
        self.rows.push(Row {
            what: what.to_owned(),
            rate: measured.rate,
            latencies: measured.latencies,
            compared: None,
            failed: 0,
        });
    }

    /// Adds a remark below the table, such as why a row is missing.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<46} {:>9} {:>9} {:>9} {:>7}  ratio",
            "", "per sec", "p50 ms", "p99 ms", "failed"
        )?;
        for row in &self.rows {
            write!(f, "{:<46} {:>9.0}", row.what, row.rate)?;
            match row.latencies {
                Some((p50, p99)) => {
                    write!(
                        f,
                        " {:>9.2} {:>9.2}",
                        p50.as_secs_f64() * 1e3,
                        p99.as_secs_f64() * 1e3
                    )?;
                }
                None => write!(f, " {:>9} {:>9}", "-", "-")?,
            }
            write!(f, " {:>7}", row.failed)?;
            if let Some((label, ratio)) = &row.compared {
                write!(f, "  {ratio:.2} x {label}")?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}
