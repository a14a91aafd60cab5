//! What a run found, for the table, for JSON and for the page.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::process::{Usage, machine};
use crate::seconds::Second;

/// Of each latency these are told: name and share.
pub const PERCENTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
/// From here on the measuring itself is a part of what is measured.
const OWN_SHARE_MAX: f64 = 0.5;
/// Cores; less than this is in nobody's way.
const OWN_CORES_MIN: f64 = 0.2;

#[derive(Debug)]
pub struct Report {
    pub scenario: &'static str,
    /// What was done, in one line.
    pub title: String,
    pub figures: Vec<Figure>,
    pub latencies: Vec<Latency>,
    pub costs: Option<Costs>,
    pub seconds: Vec<Second>,
    /// Promises that were broken: the run has failed.
    pub violations: Vec<String>,
    /// What may have spoiled the figures.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct Figure {
    /// The name in JSON, with its unit last.
    pub key: String,
    pub label: String,
    pub value: f64,
    pub unit: &'static str,
}

#[derive(Debug)]
pub struct Latency {
    pub key: String,
    pub label: String,
    pub micros: Histogram<u64>,
}

/// What was used, and what for.
#[derive(Debug)]
pub struct Costs {
    pub usage: Usage,
    pub elapsed_s: f64,
    /// Key, label and number of what the use is divided by.
    pub per: Vec<(&'static str, &'static str, u64)>,
}

/// A row of the table of costs.
#[derive(Debug)]
pub struct Cost {
    pub name: String,
    /// CPU in microseconds, for each of `per`.
    pub micros: Vec<f64>,
    pub cores: f64,
    pub resident_mib: f64,
}

impl Report {
    pub fn new(scenario: &'static str, title: String) -> Self {
        Self {
            scenario,
            title,
            figures: Vec::new(),
            latencies: Vec::new(),
            costs: None,
            seconds: Vec::new(),
            violations: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn figure(&mut self, key: impl Into<String>, label: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { key: key.into(), label: label.into(), value, unit });
    }

    pub fn latency(&mut self, key: impl Into<String>, label: impl Into<String>, micros: Histogram<u64>) {
        if !micros.is_empty() {
            self.latencies.push(Latency { key: key.into(), label: label.into(), micros });
        }
    }

    pub fn costs(&mut self, usage: Usage, elapsed_s: f64, per: &[(&'static str, &'static str, u64)]) {
        let (own, theirs) = (usage.own.cpu.as_secs_f64(), usage.cpu().as_secs_f64());
        if theirs > 0.0 && own / (own + theirs) > OWN_SHARE_MAX && own > OWN_CORES_MIN * elapsed_s {
            let share = 100.0 * own / (own + theirs);
            self.warnings.push(format!("salon-bench took {share:.0} % of the CPU time itself: it was in the way"));
        }
        let per = per.iter().filter(|(_, _, count)| *count > 0).copied().collect();
        self.costs = Some(Costs { usage, elapsed_s, per });
    }

    /// The last of the JSON lines.
    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("type".into(), json!("result"));
        fields.insert("scenario".into(), json!(self.scenario));
        fields.insert("title".into(), json!(self.title));
        fields.insert("machine".into(), json!(machine()));
        fields.insert("command".into(), json!(command()));
        fields.extend(self.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value))));
        for Latency { key, micros, .. } in &self.latencies {
            for (name, share) in PERCENTILES {
                let millis = micros.value_at_quantile(share) as f64 / 1000.0;
                fields.insert(format!("{key}_{}_ms", name.replace('.', "_")), json!(millis));
            }
        }
        if let Some(costs) = &self.costs {
            costs.tell(&mut fields);
        }
        fields.insert("violations".into(), json!(self.violations));
        fields.insert("warnings".into(), json!(self.warnings));
        Value::Object(fields)
    }
}

impl Costs {
    /// One row a watched name, one of all of them together, and our own.
    pub fn rows(&self) -> Vec<Cost> {
        let row = |name: &str, cpu: std::time::Duration, resident_kib: u64| Cost {
            name: name.to_owned(),
            micros: self.per.iter().map(|(_, _, count)| cpu.as_secs_f64() * 1e6 / *count as f64).collect(),
            cores: cpu.as_secs_f64() / self.elapsed_s.max(1e-6),
            resident_mib: resident_kib as f64 / 1024.0,
        };
        let Usage { own, watched } = &self.usage;
        let mut rows: Vec<Cost> = watched.iter().map(|(name, used)| row(name, used.cpu, used.resident_kib)).collect();
        if watched.len() > 1 {
            rows.push(row("all of these", self.usage.cpu(), self.usage.resident_kib()));
        }
        rows.push(row("salon-bench itself", own.cpu, own.resident_kib));
        rows
    }

    /// Of all CPU time, as far as it was watched.
    pub fn own_share(&self) -> Option<f64> {
        let (own, theirs) = (self.usage.own.cpu.as_secs_f64(), self.usage.cpu().as_secs_f64());
        (theirs > 0.0).then(|| own / (own + theirs))
    }

    fn tell(&self, fields: &mut Map<String, Value>) {
        let Usage { own, watched } = &self.usage;
        let micros = |cpu: std::time::Duration, count: u64| cpu.as_secs_f64() * 1e6 / count as f64;
        for (key, _, count) in &self.per {
            if !watched.is_empty() {
                fields.insert(format!("cpu_us_per_{key}"), json!(micros(self.usage.cpu(), *count)));
            }
            for (name, used) in watched {
                fields.insert(format!("cpu_us_per_{key}_{name}"), json!(micros(used.cpu, *count)));
            }
            fields.insert(format!("own_cpu_us_per_{key}"), json!(micros(own.cpu, *count)));
        }
        for (name, used) in watched {
            fields.insert(format!("cpu_s_{name}"), json!(used.cpu.as_secs_f64()));
            fields.insert(format!("resident_kib_{name}"), json!(used.resident_kib));
        }
        fields.insert("own_cpu_s".into(), json!(own.cpu.as_secs_f64()));
        fields.insert("own_resident_kib".into(), json!(own.resident_kib));
        if let Some(share) = self.own_share() {
            fields.insert("own_cpu_share".into(), json!(share));
        }
    }
}

impl Figure {
    pub fn shown(&self) -> String {
        format!("{} {}", rounded(self.value), self.unit).trim_end().to_owned()
    }
}

/// As many digits as say something.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 || size >= 1000.0 => grouped(value),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size < 0.1 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// Without a fraction, with a comma between thousands.
pub fn grouped(value: f64) -> String {
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

/// As it was called, without the secrets.
pub fn command() -> String {
    const SECRETS: [&str; 3] = ["--issuer-key", "--secret", "--password"];
    let mut words = vec!["salon-bench".to_owned()];
    let mut hide = false;
    for word in std::env::args().skip(1) {
        words.push(match word.split_once('=') {
            _ if hide => "…".to_owned(),
            Some((name, _)) if SECRETS.contains(&name) => format!("{name}=…"),
            _ => word.clone(),
        });
        hide = SECRETS.contains(&word.as_str());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0.0, 999.4, 1000.0, 1_234_567.0, -12_345.0, -123.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "-12,345", "-123"]);
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown = [3.0, 0.0123, 1.234, 123.45, 4321.7].map(rounded);
        assert_eq!(shown, ["3", "0.012", "1.23", "123.5", "4,322"]);
    }
}
