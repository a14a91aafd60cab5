//! What a run found: a table for people, or JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::process::{Cpu, machine};

/// Violations told one by one; the rest is counted.
const VIOLATIONS_TOLD: usize = 10;

#[derive(Debug)]
pub struct Report {
    scenario: &'static str,
    figures: Vec<Figure>,
    /// Promises that were broken: the run has failed.
    pub violations: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    /// The name in JSON, with its unit last.
    key: String,
    label: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, figures: Vec::new(), violations: Vec::new() }
    }

    pub fn figure(&mut self, key: impl Into<String>, label: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { key: key.into(), label: label.into(), value, unit });
    }

    pub fn latency(&mut self, key: &str, label: &str, micros: &Histogram<u64>) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let millis = micros.value_at_quantile(share) as f64 / 1000.0;
            self.figure(format!("{key}_{name}_ms"), format!("{label}, {name}"), millis, "ms");
        }
    }

    /// What CPU each of `done` things took, of all watched processes together and of each.
    pub fn cpu_per(&mut self, key: &str, thing: &str, cpu: &Cpu, done: u64) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / done.max(1) as f64;
        if !cpu.watched.is_empty() {
            let label = format!("server CPU a {thing}");
            self.figure(format!("cpu_us_per_{key}"), label, micros(cpu.total()), "µs");
        }
        for (name, time) in &cpu.watched {
            let each = format!("cpu_us_per_{key}_{}", name.replace(' ', "_"));
            self.figure(each, format!("  of it {name}"), micros(*time), "µs");
        }
        self.figure(format!("own_cpu_us_per_{key}"), format!("salon-bench's own CPU a {thing}"), micros(cpu.own), "µs");
    }

    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("scenario".into(), json!(self.scenario));
        fields.insert("machine".into(), json!(machine()));
        fields.insert("command".into(), json!(command()));
        fields.extend(self.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value))));
        fields.insert("violations".into(), json!(self.violations));
        Value::Object(fields)
    }

    pub fn table(&self) -> String {
        let checks = match self.violations.len() {
            0 => "nothing wrong".to_owned(),
            count => format!("{count} VIOLATIONS"),
        };
        let mut rows = vec![("machine", machine()), ("command", command())];
        rows.extend(self.figures.iter().map(|figure| (figure.label.as_str(), figure.shown())));
        rows.push(("checks", checks));
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (label, shown) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<width$}  {shown}");
        }
        for violation in self.violations.iter().take(VIOLATIONS_TOLD) {
            let _ = writeln!(text, "  {violation}");
        }
        text
    }
}

impl Figure {
    fn shown(&self) -> String {
        let number = match self.value {
            value if value.fract() == 0.0 || value.abs() >= 1000.0 => grouped(value),
            value => format!("{value:.2}"),
        };
        format!("{number} {}", self.unit).trim_end().to_owned()
    }
}

/// Without a fraction, with a comma between thousands.
fn grouped(value: f64) -> String {
    let whole = format!("{value:.0}");
    let digits = whole.trim_start_matches('-').len();
    let sign = whole.len() - digits;
    let mut text = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > sign && (whole.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As it was called, without the secret.
fn command() -> String {
    let mut words = vec!["salon-bench".to_owned()];
    let mut hide = false;
    for word in std::env::args().skip(1) {
        words.push(match word.split_once('=') {
            _ if hide => "…".to_owned(),
            Some(("--secret", _)) => "--secret=…".to_owned(),
            _ => word.clone(),
        });
        hide = word == "--secret";
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0.0, 999.4, 1000.0, 1_234_567.0, -12_345.0, -123.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "-12,345", "-123"]);
    }
}
