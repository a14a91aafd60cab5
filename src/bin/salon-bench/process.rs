//! What Linux says of the machine and its processes: resident memory, CPU time, descriptors.

use std::fs;
use std::time::Duration;

use salon::engine::Result;

/// `USER_HZ`: 100 on every Linux, whatever the kernel's own tick.
const TICKS_PER_S: u64 = 100;

/// `NAME=PID` of the command line, or a PID alone, which is named by its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub pid: u32,
}

/// Processes whose use is watched; this one always is.
#[derive(Debug, Clone)]
pub struct Watch {
    named: Vec<Named>,
}

/// What was used by then.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub own: Use,
    /// One for each name, in the order given. Children are in it: Postgres works in them.
    pub watched: Vec<(String, Use)>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    pub cpu: Duration,
    /// Of all processes of that name together, pages they share counted once where the kernel tells.
    pub resident_kib: u64,
}

/// A line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    /// Its own, and that of children which have ended.
    cpu: Duration,
}

impl Named {
    pub fn parse(text: &str) -> Result<Self> {
        let (name, pid) = text.split_once('=').map_or((None, text), |(name, pid)| (Some(name), pid));
        let pid = pid.parse().map_err(|_| format!("`{pid}` is not the number of a process"))?;
        let program = program(pid).ok_or_else(|| format!("there is no process {pid}"))?;
        let name = name.map_or(program, str::to_owned);
        if name.is_empty() {
            return Err(format!("process {pid} has an empty name"));
        }
        Ok(Self { name, pid })
    }
}

impl Watch {
    pub fn new(named: &[Named]) -> Self {
        Self { named: named.to_vec() }
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// A process that went meanwhile counts as 0.
    pub fn look(&self) -> Usage {
        let all = if self.named.is_empty() { Vec::new() } else { running() };
        let mut watched: Vec<(String, Use)> = Vec::new();
        for Named { name, pid } in &self.named {
            let family = family(*pid, &all);
            let cpu = family.iter().map(|stat| stat.cpu).sum();
            let here = Use { cpu, resident_kib: resident_kib(&family) };
            match watched.iter_mut().find(|(other, _)| other == name) {
                Some((_, sum)) => {
                    *sum = Use { cpu: sum.cpu + here.cpu, resident_kib: sum.resident_kib + here.resident_kib };
                }
                None => watched.push((name.clone(), here)),
            }
        }
        let own = std::process::id();
        let cpu = stat(own).map(|stat| stat.cpu).unwrap_or_default();
        Usage { own: Use { cpu, resident_kib: kib(own, "status", "VmRSS:").unwrap_or(0) }, watched }
    }
}

impl Usage {
    /// CPU spent since then; memory as it is now.
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: Use, then: Use| Use { cpu: now.cpu.saturating_sub(then.cpu), ..now };
        let pairs = self.watched.iter().zip(&before.watched);
        let watched = pairs.map(|((name, now), (_, then))| (name.clone(), less(*now, *then))).collect();
        Self { own: less(self.own, before.own), watched }
    }

    /// CPU of all watched ones.
    pub fn cpu(&self) -> Duration {
        self.watched.iter().map(|(_, used)| used.cpu).sum()
    }

    pub fn resident_kib(&self) -> u64 {
        self.watched.iter().map(|(_, used)| used.resident_kib).sum()
    }
}

/// Soft and hard limit of open descriptors.
pub fn descriptors(pid: u32) -> Option<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |text: &str| if text == "unlimited" { Some(u64::MAX) } else { text.parse().ok() };
    let mut numbers = line.split_whitespace().map_while(number);
    Some((numbers.next()?, numbers.next()?))
}

/// The name of what runs there.
pub fn program(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|comm| comm.trim().to_owned())
}

/// Processors, memory and kernel, in one line.
pub fn machine() -> String {
    let cores = cores();
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let gib = memory.unwrap_or(0) as f64 / 1_048_576.0;
    format!("{cores} × {}, {gib:.1} GiB, Linux {}", model.trim_start_matches([':', ' ', '\t']), kernel.trim())
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn field(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned())
}

fn kib(pid: u32, file: &str, key: &str) -> Option<u64> {
    field(&format!("/proc/{pid}/{file}"), key)?.split_whitespace().next()?.parse().ok()
}

/// Of one process what it holds; of several what each holds, pages that they share divided among them.
fn resident_kib(family: &[&Stat]) -> u64 {
    let alone = family.len() == 1;
    let one = |pid| kib(pid, "smaps_rollup", "Pss:").filter(|_| !alone).or_else(|| kib(pid, "status", "VmRSS:"));
    family.iter().filter_map(|stat| one(stat.pid)).sum()
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
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_S) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_hand_or_by_its_program() {
        let own = std::process::id();
        assert_eq!(Named::parse(&format!("node={own}")).unwrap(), Named { name: "node".into(), pid: own });
        assert!(!Named::parse(&own.to_string()).unwrap().name.is_empty());
        for wrong in ["node=x", "=1", "node=4294967294", ""] {
            assert!(Named::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_are_given_twice_are_added_up() {
        let own = std::process::id();
        let named = ["a", "b", "a"].map(|name| Named { name: name.into(), pid: own });
        let usage = Watch::new(&named).look();
        let resident = |n: usize| usage.watched[n].1.resident_kib;
        assert_eq!(usage.watched.len(), 2);
        assert!(resident(1) > 0 && resident(0) > resident(1));
        assert!(descriptors(own).is_some_and(|(soft, hard)| soft <= hard && soft > 0));
    }
}
