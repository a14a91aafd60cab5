//! What Linux says of processes: CPU time, resident memory.

use std::fs;

/// `USER_HZ`: 100 on every Linux, whatever the kernel's own tick.
const TICK_US: u64 = 10_000;

struct Stat {
    pid: u32,
    parent: u32,
    /// Its own, and that of children which have ended.
    micros: u64,
}

/// CPU time in microseconds of a process, its children and theirs: Postgres works in its children.
pub fn micros(pid: u32) -> u64 {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let all: Vec<Stat> = names.filter_map(|name| stat(name.to_str()?.parse().ok()?)).collect();
    let mut family: Vec<&Stat> = all.iter().filter(|stat| stat.pid == pid).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|stat| stat.pid) {
        family.extend(all.iter().filter(|stat| stat.parent == parent));
        next += 1;
    }
    family.iter().map(|stat| stat.micros).sum()
}

/// `VmRSS`.
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processors, memory and kernel, in one line.
pub fn machine() -> String {
    let read = |file, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        value.trim_matches([':', ' ', '\t']).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0) / 1_048_576.0;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} × {}, {memory:.0} GiB, Linux {}", read("/proc/cpuinfo", "model name"), kernel.trim())
}

/// The name stands in parentheses and may hold anything, so fields are counted from the last one.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, micros: ticks * TICK_US })
}
