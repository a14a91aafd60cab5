//! What Linux says of the machine and its processes: resident memory, CPU time.

use std::fs;
use std::time::Duration;

use salon::engine::Result;

/// `USER_HZ`: 100 on every Linux, whatever the kernel's own tick.
const TICKS_PER_S: u64 = 100;

/// Processes whose CPU time is watched; this one always is.
#[derive(Debug)]
pub struct Watch {
    pids: Vec<u32>,
}

/// CPU time that was spent by then.
#[derive(Debug, Clone)]
pub struct Cpu {
    pub own: Duration,
    /// One for each watched process, with its name. Those of its children are in it: Postgres works in them.
    pub watched: Vec<(String, Duration)>,
}

/// A line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    name: String,
    /// Its own, and that of children which have ended.
    cpu: Duration,
}

impl Watch {
    pub fn new(pids: &[u32]) -> Result<Self> {
        for pid in pids {
            stat(*pid).ok_or_else(|| format!("there is no process {pid}"))?;
        }
        Ok(Self { pids: pids.to_vec() })
    }

    /// A process that went meanwhile counts as 0.
    pub fn cpu(&self) -> Cpu {
        let all: Vec<Stat> = running();
        let of = |pid: u32| {
            let name = all.iter().find(|stat| stat.pid == pid).map_or("gone", |stat| &stat.name);
            (format!("{name} {pid}"), family(pid, &all).iter().map(|stat| stat.cpu).sum())
        };
        let own = stat(std::process::id()).map(|stat| stat.cpu).unwrap_or_default();
        Cpu { own, watched: self.pids.iter().map(|pid| of(*pid)).collect() }
    }
}

impl Cpu {
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.watched.iter().zip(&before.watched);
        let watched = pairs.map(|((name, now), (_, then))| (name.clone(), now.saturating_sub(*then))).collect();
        Self { own: self.own.saturating_sub(before.own), watched }
    }

    /// Of all watched ones.
    pub fn total(&self) -> Duration {
        self.watched.iter().map(|(_, time)| *time).sum()
    }
}

/// Resident memory of one process (`VmRSS`), in KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("/proc/{pid}/status tells no VmRSS"))
}

/// Processors, memory and kernel, in one line.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let gib = memory.unwrap_or(0) as f64 / 1_048_576.0;
    format!("{cores} × {}, {gib:.1} GiB, Linux {}", model.trim_start_matches([':', ' ', '\t']), kernel.trim())
}

fn field(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned())
}

fn running() -> Vec<Stat> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| stat(name.to_str()?.parse().ok()?)).collect()
}

/// A process, its children, and theirs.
fn family(pid: u32, all: &[Stat]) -> Vec<&Stat> {
    let mut family: Vec<&Stat> = all.iter().filter(|stat| stat.pid == pid).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|stat| stat.pid) {
        family.extend(all.iter().filter(|stat| stat.parent == parent));
        next += 1;
    }
    family
}

/// The name stands in parentheses and may hold anything, so fields are counted from the last one.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        name: head.split_once('(')?.1.to_owned(),
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_S),
    })
}
