//! What a process holds, and whether that grows.

use std::fmt;

use crate::support::node::Node;

/// Samples of a process before the first one that counts: pools and caches fill.
const WARM_UP: usize = 1;

/// Fewer samples than this say nothing of growth.
const SAMPLES_MIN: usize = 3;

/// How much more a process may hold at the end than after its warm-up: a part of it, and so much beside.
const TOLERATED: [(&str, f64, u64); 4] =
    [("KiB of memory", 0.25, 16 << 10), ("descriptors", 0.0, 16), ("threads", 0.0, 8), ("tasks", 0.0, 24)];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    pub memory_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
    pub tasks: u64,
}

impl Vitals {
    /// From outside, so all but its tasks; nothing of a process that is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            memory_kib: field("VmRSS:")?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: field("Threads:")?,
            tasks: 0,
        })
    }

    /// With its tasks, as it tells them itself.
    pub async fn sample(node: &Node) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let tasks = node.metric("salon_tasks").await as u64;
        Some(Self { tasks, ..Self::of(node.pid())? })
    }

    fn fields(self) -> [u64; 4] {
        [self.memory_kib, self.descriptors, self.threads, self.tasks]
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB {} fds {} threads", self.memory_kib >> 10, self.descriptors, self.threads)
    }
}

/// Compares a window after the warm-up with one at the end, each a third of what counts; what grew, in words.
pub fn growth(samples: &[Vitals]) -> Vec<String> {
    let Some(counting) = samples.get(WARM_UP..).filter(|_| samples.len() >= SAMPLES_MIN) else { return Vec::new() };
    let window = (counting.len() / 3).max(1);
    let (first, last) = (&counting[..window], &counting[counting.len() - window..]);
    let median = |samples: &[Vitals], field: usize| {
        let mut values: Vec<u64> = samples.iter().map(|sample| sample.fields()[field]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let mut grown = Vec::new();
    for (field, (what, part, beside)) in TOLERATED.into_iter().enumerate() {
        let (before, after) = (median(first, field), median(last, field));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound, roughly")]
        let bound = before + (before as f64 * part) as u64 + beside;
        if after > bound {
            grown.push(format!("{what} grew from {before} to {after}; tolerated were {bound}"));
        }
    }
    grown
}

#[test]
fn growth_is_seen_and_noise_is_not() {
    let steady = |number: u64| Vitals {
        memory_kib: 60_000 + number % 3 * 4_000,
        descriptors: 40 + number % 5,
        threads: 6,
        tasks: 50,
    };
    let flat: Vec<Vitals> = (0..20).map(steady).collect();
    assert_eq!(growth(&flat), Vec::<String>::new());
    // A warm-up is no growth.
    let warming: Vec<Vitals> = std::iter::once(Vitals::default()).chain(flat.clone()).collect();
    assert_eq!(growth(&warming), Vec::<String>::new());
    let leaks: [fn(&mut Vitals, u64); 4] = [
        |vitals, number| vitals.memory_kib += number * 4_000,
        |vitals, number| vitals.descriptors += number * 2,
        |vitals, number| vitals.threads += number,
        |vitals, number| vitals.tasks += number * 3,
    ];
    for leak in leaks {
        let leaking: Vec<Vitals> = (0..20)
            .map(|number| {
                let mut vitals = steady(number);
                leak(&mut vitals, number);
                vitals
            })
            .collect();
        assert_eq!(growth(&leaking).len(), 1);
    }
}
