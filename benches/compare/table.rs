//! The table: a row for each thing that is aimed at, a column for each server, and whether salon reaches its target.

use std::fmt::Write;

use clap::ValueEnum;

use super::results::{ALONE, Results};
use super::scenarios::Scenario::{self, Big, Connect, Sends, Small};
use super::servers::Kind::{self, BareCoalesced, BareEach, Channels, Salon, SocketIo};

const PEERS: [Kind; 3] = [SocketIo, Channels, Salon];

pub fn table(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}\n{}\n", results.machine, results.versions.join("; "));
    let _ = writeln!(out, "| | bare, one write each; coalesced | Socket.IO | Channels | salon | target | |");
    let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- | --- |");
    let floor = results.median(Big, BareCoalesced.name(), "cpu_us_per_delivery");
    let least = floor.map_or(2.2, |floor| (2.0 * floor).min(2.2));
    row(&mut out, results, "big: CPU µs a delivery", Big, "cpu_us_per_delivery", 2, Some(Target::AtMost(least)));
    row(&mut out, results, "big: deliveries a second", Big, "deliveries_per_s", 0, Some(Target::AtLeast(400_000.0)));
    row(&mut out, results, "big: p99 send to receipt, ms", Big, "p99_ms", 1, None);
    row(&mut out, results, "small: CPU µs a delivery", Small, "cpu_us_per_delivery", 1, Some(Target::AtMost(12.0)));
    let append = results.median(Sends, ALONE, "append_cpu_us").map(|alone| Target::AtMost(1.3 * alone));
    row(&mut out, results, "small: Postgres CPU µs a message", Small, "postgres_cpu_us_per_message", 1, append);
    let commit = results.median(Sends, ALONE, "commit_p99_ms").map(|alone| Target::AtMost(1.0 + 2.0 * alone));
    row(&mut out, results, "small: p99 send to receipt, ms", Small, "p99_ms", 2, commit);
    row(
        &mut out,
        results,
        "connect: gateway CPU µs a socket",
        Connect,
        "connect_cpu_us",
        0,
        Some(Target::AtMost(120.0)),
    );
    row(&mut out, results, "the same, users new, comings told", Connect, "first_connect_cpu_us", 0, None);
    row(&mut out, results, "comings told, of each", Connect, "announcements_per_connect", 1, None);
    row(&mut out, results, "idle: resident KiB a socket", Connect, "idle_kib", 1, Some(Target::AtMost(10.0)));
    let inserts = results.median(Sends, ALONE, "inserts_per_s").map(Target::AtLeast);
    row(&mut out, results, "durable sends a second, one node", Sends, "acked_per_s", 0, inserts);
    faults(&mut out, results);
    growth(&mut out, results);
    alone(&mut out, results);
    for failure in &results.failures {
        let _ = writeln!(out, "FAILED: {failure}");
    }
    out
}

/// At the same offered load: what a delivery costs over more and more rooms.
fn growth(out: &mut String, results: &Results) {
    for (scenario, rooms) in Scenario::GROWING {
        let of = |kind: Kind| results.median(scenario, kind.name(), "cpu_us_per_delivery");
        let (Some(floor), Some(_)) = (of(BareEach), of(Salon)) else { continue };
        let title = format!("{} rooms of 2: CPU µs a delivery", thousands(rooms as f64, 0));
        row(out, results, &title, scenario, "cpu_us_per_delivery", 1, None);
        let times = of(Salon).map(|salon| salon / floor);
        let _ = writeln!(out, "| the same, times the bare server's | 1 | | | {:.2} | | |", times.unwrap_or(0.0));
    }
}

#[derive(Clone, Copy)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

fn row(
    out: &mut String,
    results: &Results,
    title: &str,
    scenario: Scenario,
    name: &'static str,
    digits: usize,
    target: Option<Target>,
) {
    let of = |kind: Kind| results.median(scenario, kind.name(), name);
    if Kind::value_variants().iter().all(|kind| of(*kind).is_none()) {
        return;
    }
    let text = |value: Option<f64>| value.map_or("–".to_owned(), |value| thousands(value, digits));
    let peers = PEERS.map(|kind| text(of(kind)));
    let [each, coalesced] = [BareEach, BareCoalesced].map(|kind| text(of(kind)));
    // What the bare server does not do is no zero.
    let comparable = !matches!(name, "postgres_cpu_us_per_message" | "announcements_per_connect" | "acked_per_s");
    let (bare, socketio, channels) = match comparable {
        true => (format!("{each}; {coalesced}"), peers[0].as_str(), peers[1].as_str()),
        false => ("–".to_owned(), "–", "–"),
    };
    let (aim, met) = match (target, of(Salon)) {
        (None, _) => (String::new(), ""),
        (Some(target), value) => {
            let (sign, bound) = match target {
                Target::AtMost(bound) => ("≤", bound),
                Target::AtLeast(bound) => ("≥", bound),
            };
            let met = match (target, value) {
                (_, None) => "",
                (Target::AtMost(bound), Some(value)) if value <= bound => "met",
                (Target::AtLeast(bound), Some(value)) if value >= bound => "met",
                _ => "**missed**",
            };
            (format!("{sign} {}", thousands(bound, digits)), met)
        }
    };
    let _ = writeln!(out, "| {title} | {bare} | {socketio} | {channels} | {} | {aim} | {met} |", peers[2]);
}

/// Over all rounds, in these runs.
fn faults(out: &mut String, results: &Results) {
    let growing = Scenario::GROWING.map(|(scenario, _)| scenario);
    let measured =
        |scenario: &Scenario| PEERS.iter().any(|kind| results.median(*scenario, kind.name(), "lost").is_some());
    for scenario in [Big, Small].into_iter().chain(growing).filter(measured) {
        let of = |kind: Kind| {
            let sum = |name| results.sum(scenario, kind.name(), name);
            let Some(lost) = sum("lost") else { return "–".to_owned() };
            let [doubled, reordered, strange] =
                ["doubled", "reordered", "strange"].map(|name| sum(name).unwrap_or(0.0));
            format!("{}; {}; {}", thousands(lost, 0), thousands(doubled + strange, 0), thousands(reordered, 0))
        };
        let name = format!("{scenario:?}").to_lowercase();
        let [each, coalesced] = [BareEach, BareCoalesced].map(of);
        let bare = if each == coalesced { each } else { format!("{each} / {coalesced}") };
        let [socketio, channels, salon] = PEERS.map(of);
        let met = match salon.as_str() {
            "–" => "",
            "0; 0; 0" => "met",
            _ => "**missed**",
        };
        let title = format!("{name}: receipts lost; doubled; out of one order, all rounds");
        let _ = writeln!(out, "| {title} | {bare} | {socketio} | {channels} | {salon} | 0; 0; 0 | {met} |");
    }
}

fn alone(out: &mut String, results: &Results) {
    let of = |name| results.median(Sends, ALONE, name);
    let [Some(cpu), Some(p99), Some(appends), Some(inserts)] =
        ["append_cpu_us", "commit_p99_ms", "appends_per_s", "inserts_per_s"].map(of)
    else {
        return;
    };
    let _ = writeln!(
        out,
        "\nPostgres alone, called by pgbench: an append of one message at the rate of `small` costs {cpu:.1} µs of CPU, \
         p99 of its commit {p99:.2} ms; 32 clients commit {} appends of one message a second, {} plain rows of one \
         (the target of durable sends).",
        thousands(appends, 0),
        thousands(inserts, 0),
    );
}

fn thousands(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}
