//! Every figure of every round, and the medians.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::scenarios::{Figures, Scenario};
use super::support::Result;

/// The row of pgbench.
pub const ALONE: &str = "Postgres alone";

pub struct Results {
    pub versions: Vec<String>,
    pub machine: String,
    pub failures: Vec<String>,
    /// By scenario, server and figure: one value a round.
    figures: BTreeMap<(String, &'static str, &'static str), Vec<f64>>,
}

impl Results {
    pub fn new(versions: Vec<String>, machine: String) -> Self {
        Self { versions, machine, failures: Vec::new(), figures: BTreeMap::new() }
    }

    /// A run that failed is told, and the others go on.
    pub fn note(&mut self, round: usize, scenario: Scenario, server: &'static str, figures: Result<Figures>) {
        match figures {
            Ok(figures) => {
                let told: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
                eprintln!("    {}", told.join(", "));
                for (name, value) in figures {
                    self.figures.entry((format!("{scenario:?}"), server, name)).or_default().push(value);
                }
            }
            Err(why) => {
                let failure = format!("round {round}, {scenario:?}, {server}: {why}");
                eprintln!("    FAILED: {failure}");
                self.failures.push(failure);
            }
        }
    }

    pub fn median(&self, scenario: Scenario, server: &'static str, name: &'static str) -> Option<f64> {
        let mut values = self.figures.get(&(format!("{scenario:?}"), server, name))?.clone();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        Some(if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) })
    }

    /// Over all rounds: faults are not averaged away.
    pub fn sum(&self, scenario: Scenario, server: &'static str, name: &'static str) -> Option<f64> {
        self.figures.get(&(format!("{scenario:?}"), server, name)).map(|values| values.iter().sum())
    }

    pub fn json(&self) -> String {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|((scenario, server, name), values)| {
                json!({"scenario": scenario, "server": server, "figure": name, "rounds": values})
            })
            .collect();
        json!({"versions": self.versions, "machine": self.machine, "failures": self.failures, "figures": figures})
            .to_string()
    }
}
