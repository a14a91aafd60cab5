//! What Linux says of a process: resident memory and CPU time.

use std::fs;
use std::time::Duration;

use salon::engine::Result;

/// `USER_HZ`: 100 on every Linux, whatever the kernel's own tick.
const TICKS_PER_S: u64 = 100;

/// Processes whose CPU time is watched, this one beside them.
#[derive(Debug)]
pub struct Pids(Vec<u32>);

/// CPU time spent by then.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    pub own: Duration,
    /// One for each watched process, with its name.
    pub watched: Vec<(String, Duration)>,
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// `VmRSS`.
    pub resident: u64,
    /// `Anonymous` of `smaps_rollup`: heap and stacks, without the program's own pages.
    pub anonymous: u64,
}

impl Pids {
    pub fn new(pids: &[u32]) -> Result<Self> {
        for pid in pids {
            cpu(&pid.to_string())?;
        }
        Ok(Self(pids.to_vec()))
    }

    /// A process that went meanwhile counts as 0.
    pub fn cpu(&self) -> Cpu {
        let watched = self.0.iter().map(|pid| cpu(&pid.to_string()).unwrap_or_default()).collect();
        Cpu { own: cpu("self").map(|(_, time)| time).unwrap_or_default(), watched }
    }
}

impl Cpu {
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.watched.iter().zip(&before.watched);
        let watched = pairs.map(|((name, now), (_, then))| (name.clone(), now.saturating_sub(*then))).collect();
        Self { own: self.own.saturating_sub(before.own), watched }
    }
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = read(&format!("/proc/{pid}/status"))?;
    // Other users' processes do not show it; then only VmRSS is told.
    let rollup = read(&format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let resident = kibibytes(&status, "VmRSS:").ok_or_else(|| format!("process {pid} has no VmRSS"))?;
    Ok(Memory { resident, anonymous: kibibytes(&rollup, "Anonymous:").unwrap_or(0) })
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Name, and user and system time. The name stands in parentheses and may hold anything, so fields are counted from the last one.
fn cpu(pid: &str) -> Result<(String, Duration)> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let (head, rest) = stat.rsplit_once(')').ok_or("no /proc/PID/stat as Linux has it")?;
    let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
    let ticks = |n: usize| rest.split_whitespace().nth(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok((name, Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS_PER_S)))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}
