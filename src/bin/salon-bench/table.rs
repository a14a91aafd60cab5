//! The report as text, for a terminal.

use std::fmt::Write;

use crate::process::machine;
use crate::report::{Costs, PERCENTILES, Report, command, rounded};

/// Violations told one by one; the rest is counted.
const VIOLATIONS_TOLD: usize = 10;

pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{}\n{}\n{}\n", report.title, command(), machine());
    let figures = report.figures.iter().map(|figure| vec![figure.label.clone(), figure.shown()]);
    aligned(&mut text, figures.collect());
    if !report.latencies.is_empty() {
        let head = [String::from("milliseconds")].into_iter().chain(PERCENTILES.map(|(name, _)| name.to_owned()));
        let mut rows: Vec<Vec<String>> = vec![head.collect()];
        for latency in &report.latencies {
            let millis = PERCENTILES.map(|(_, share)| latency.micros.value_at_quantile(share) as f64 / 1000.0);
            rows.push([latency.label.clone()].into_iter().chain(millis.map(rounded)).collect());
        }
        text.push('\n');
        aligned(&mut text, rows);
    }
    if let Some(costs) = &report.costs {
        text.push('\n');
        aligned(&mut text, cost_rows(costs));
    }
    text.push('\n');
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = match report.violations.len() {
        0 => writeln!(text, "checked while measured: nothing wrong"),
        count => writeln!(text, "checked while measured: {count} VIOLATIONS"),
    };
    for violation in report.violations.iter().take(VIOLATIONS_TOLD) {
        let _ = writeln!(text, "  {violation}");
    }
    if report.violations.len() > VIOLATIONS_TOLD {
        let _ = writeln!(text, "  and {} more", report.violations.len() - VIOLATIONS_TOLD);
    }
    text
}

/// With a head; for the page too.
pub fn cost_rows(costs: &Costs) -> Vec<Vec<String>> {
    let mut head = vec!["CPU".to_owned()];
    head.extend(costs.per.iter().map(|(_, label, _)| format!("µs a {label}")));
    head.extend(["cores", "of all", "MiB"].map(str::to_owned));
    let rows = costs.rows();
    let all = costs.usage.own.cpu + costs.usage.cpu();
    let mut table = vec![head];
    for row in rows {
        let share = row.cores * costs.elapsed_s / all.as_secs_f64().max(1e-6);
        let mut cells = vec![row.name];
        cells.extend(row.micros.iter().map(|micros| rounded(*micros)));
        cells.extend([format!("{:.2}", row.cores), format!("{:.0} %", 100.0 * share), rounded(row.resident_mib)]);
        table.push(cells);
    }
    table
}

/// The first column to the left, numbers to the right.
fn aligned(text: &mut String, rows: Vec<Vec<String>>) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |n: usize| rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    for row in &rows {
        for (n, cell) in row.iter().enumerate() {
            let _ = match n {
                0 => write!(text, "{cell:<width$}", width = widths[n]),
                _ => write!(text, "  {cell:>width$}", width = widths[n]),
            };
        }
        text.push('\n');
    }
}
