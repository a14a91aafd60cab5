//! What came of it, fault by fault.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use salon::engine::checker::{Report, Rule};

use super::nemesis::Fault;

#[derive(Default)]
pub struct Tally {
    rows: BTreeMap<Fault, Row>,
    pub epochs: usize,
    pub acks: usize,
    pub deliveries: usize,
    /// Everything that must not be, in words.
    pub violations: Vec<String>,
}

#[derive(Default)]
struct Row {
    struck: u32,
    recovered: u32,
    sum: Duration,
    worst: Duration,
    wrong: Wrong,
}

#[derive(Default, Clone, Copy)]
struct Wrong {
    lost: usize,
    duplicated: usize,
    reordered: usize,
    other: usize,
}

impl Tally {
    /// `None`: it did not recover in time.
    pub fn struck(&mut self, fault: Fault, recovery: Option<Duration>) {
        let row = self.rows.entry(fault).or_default();
        row.struck += 1;
        if let Some(recovery) = recovery {
            row.recovered += 1;
            row.sum += recovery;
            row.worst = row.worst.max(recovery);
        }
    }

    /// What the checker found of an epoch is held against every fault that was in it.
    pub fn judged(&mut self, report: &Report, faults: &[Fault]) {
        self.epochs += 1;
        self.acks += report.counts.sends_acked + report.counts.changes_acked;
        self.deliveries += report.counts.live;
        let mut wrong = Wrong::default();
        for violation in &report.violations {
            match violation.rule {
                Rule::AckedLost
                | Rule::ChangeLost
                | Rule::Gap
                | Rule::Hole
                | Rule::HiddenByHole
                | Rule::PageHole
                | Rule::NotAtHead
                | Rule::StateDiffers => wrong.lost += 1,
                Rule::NonceTwice | Rule::Repeated | Rule::Backwards => wrong.duplicated += 1,
                Rule::AckOrder | Rule::SocketOrder | Rule::WentBack => wrong.reordered += 1,
                _ => wrong.other += 1,
            }
        }
        for fault in faults {
            let row = &mut self.rows.entry(*fault).or_default().wrong;
            row.lost += wrong.lost;
            row.duplicated += wrong.duplicated;
            row.reordered += wrong.reordered;
            row.other += wrong.other;
        }
        if !report.is_green() {
            self.violations.push(report.to_string());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<23} {:>6} {:>9} {:>10} {:>11} {:>6} {:>10} {:>9} {:>6}",
            "fault", "struck", "recovered", "mean", "worst", "lost", "duplicated", "reordered", "other"
        )?;
        for (fault, row) in &self.rows {
            let mean = row.sum.checked_div(row.recovered).unwrap_or_default();
            writeln!(
                f,
                "{:<23} {:>6} {:>9} {:>8.2} s {:>9.2} s {:>6} {:>10} {:>9} {:>6}",
                format!("{fault:?}"),
                row.struck,
                row.recovered,
                mean.as_secs_f64(),
                row.worst.as_secs_f64(),
                row.wrong.lost,
                row.wrong.duplicated,
                row.wrong.reordered,
                row.wrong.other,
            )?;
        }
        let Self { epochs, acks, deliveries, violations, .. } = self;
        write!(f, "{epochs} epochs, {acks} acks, {deliveries} deliveries, {} violations", violations.len())
    }
}
