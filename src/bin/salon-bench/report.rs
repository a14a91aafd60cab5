//! What a run found: a table for people, or JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::latency::quantile;
use crate::process::Cpu;

/// Violations told one by one; the rest is counted.
const VIOLATIONS_TOLD: usize = 10;

#[derive(Debug)]
pub struct Report {
    scenario: &'static str,
    rows: Vec<Row>,
    /// Promises that were broken: the run has failed.
    pub violations: Vec<String>,
}

#[derive(Debug)]
struct Row {
    /// The name in JSON, with its unit last.
    key: String,
    label: String,
    value: f64,
    shown: String,
}

impl Report {
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, rows: Vec::new(), violations: Vec::new() }
    }

    pub fn count(&mut self, key: &str, label: &str, value: u64) {
        self.row(key, label, value as f64, grouped(value));
    }

    pub fn number(&mut self, key: &str, label: &str, value: f64, unit: &str) {
        let shown = if value.abs() >= 1000.0 { grouped(value.round() as u64) } else { format!("{value:.2}") };
        self.row(key, label, value, format!("{shown} {unit}"));
    }

    pub fn latency(&mut self, key: &str, label: &str, histogram: &Histogram<u64>) {
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let millis = quantile(histogram, share).as_secs_f64() * 1000.0;
            self.row(&format!("{key}_{name}_ms"), &format!("{label} {name}"), millis, format!("{millis:.2} ms"));
        }
    }

    /// CPU over `elapsed`, as cores and for each of `done` things.
    pub fn cpu(&mut self, cpu: &Cpu, elapsed: Duration, done: u64, thing: &str) {
        let own = ("salon-bench itself".to_owned(), cpu.own);
        for (n, (name, time)) in cpu.watched.iter().chain([&own]).enumerate() {
            let cores = time.as_secs_f64() / elapsed.as_secs_f64();
            self.row(&format!("cpu_{n}_cores"), &format!("CPU of {name}"), cores, format!("{cores:.2} cores"));
            if done > 0 {
                let micros = time.as_secs_f64() * 1e6 / done as f64;
                let label = format!("CPU of {name} a {thing}");
                self.row(&format!("cpu_{n}_us_per_{thing}"), &label, micros, format!("{micros:.2} µs"));
            }
        }
    }

    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("scenario".into(), json!(self.scenario));
        fields.extend(self.rows.iter().map(|row| (row.key.clone(), json!(row.value))));
        fields.insert("violations".into(), json!(self.violations));
        Value::Object(fields)
    }

    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.scenario);
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<width$}  {}", row.label, row.shown);
        }
        let checks = match self.violations.len() {
            0 => "nothing lost, doubled or out of order".to_owned(),
            n => format!("{n} VIOLATIONS"),
        };
        let _ = writeln!(text, "  {:<width$}  {checks}", "checks");
        for violation in self.violations.iter().take(VIOLATIONS_TOLD) {
            let _ = writeln!(text, "    {violation}");
        }
        text
    }

    fn row(&mut self, key: &str, label: &str, value: f64, shown: String) {
        self.rows.push(Row { key: key.to_owned(), label: label.to_owned(), value, shown });
    }
}

/// With a comma between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
