//! The report as one page that needs nothing else: tables, and plots drawn into it. No script, no font, no request.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::plot::{Plot, Scale, Series, escape};
use crate::process::machine;
use crate::report::{PERCENTILES, Report, command, rounded};
use crate::table::cost_rows;

/// Nothing may be loaded, whatever the text of a figure holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --back: #fcfcfd; --rule: #d9d9e0;
  --bad: #b3261e; --warn: #8a5a00; --c0: #0b68cb; --c1: #c2410c; --c2: #15803d; --c3: #8e4ec6 }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --soft: #b0b4ba; --back: #18191b; --rule: #43484e;
  --bad: #ff9592; --warn: #ffca16; --c0: #70b8ff; --c1: #ffa057; --c2: #6ee7a0; --c3: #d19dff } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 780px;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p.soft, code { color: var(--soft) } code { overflow-wrap: anywhere; font-size: .85rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--rule); font-weight: normal }
th:first-child, td:first-child { text-align: left; white-space: pre }
.legend { margin: 0; font-size: .8rem; color: var(--soft) } .legend span { margin-right: 1rem }
.legend i { display: inline-block; width: 1rem; height: .2rem; margin-right: .4rem; vertical-align: middle }
.legend .c0 { background: var(--c0) } .legend .c1 { background: var(--c1) }
.legend .c2 { background: var(--c2) } .legend .c3 { background: var(--c3) } thead th { color: var(--soft) }
.good { color: var(--c2) } .bad { color: var(--bad) } .warn { color: var(--warn) }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif } svg text { fill: var(--soft) }
.grid { stroke: var(--rule); stroke-width: .7 } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.line.c0 { stroke: var(--c0) } .line.c1 { stroke: var(--c1) } .line.c2 { stroke: var(--c2) } .line.c3 { stroke: var(--c3) }
circle.c0 { fill: var(--c0) } circle.c1 { fill: var(--c1) } circle.c2 { fill: var(--c2) } circle.c3 { fill: var(--c3) }
";

pub fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // Writing to a string cannot fail.
    let _ = writeln!(page, r#"<meta http-equiv="Content-Security-Policy" content="{POLICY}">"#);
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = writeln!(page, "<title>salon-bench: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>", report.scenario);
    let _ = writeln!(page, "<h1>salon-bench: {}</h1>\n<p>{}</p>", report.scenario, escape(&report.title));
    let _ = writeln!(page, "<p class=\"soft\">{}<br><code>{}</code></p>", escape(&machine()), escape(&command()));
    verdict(&mut page, report);
    let figures = report.figures.iter().map(|figure| vec![figure.label.clone(), figure.shown()]).collect();
    table(&mut page, "Figures", false, figures);
    latencies(&mut page, report);
    if let Some(costs) = &report.costs {
        table(&mut page, "CPU and memory", true, cost_rows(costs));
    }
    plots(&mut page, report);
    page.push_str("</body>\n</html>\n");
    page
}

fn verdict(page: &mut String, report: &Report) {
    if report.violations.is_empty() {
        page.push_str("<p class=\"good\">Checked while measured: nothing wrong.</p>\n");
    } else {
        let _ = write!(
            page,
            "<p class=\"bad\">Checked while measured: {} violations.</p>\n<ul class=\"bad\">",
            report.violations.len()
        );
        for violation in report.violations.iter().take(100) {
            let _ = write!(page, "<li>{}</li>", escape(violation));
        }
        page.push_str("</ul>\n");
    }
    for warning in &report.warnings {
        let _ = writeln!(page, "<p class=\"warn\">Warning: {}</p>", escape(warning));
    }
}

fn latencies(page: &mut String, report: &Report) {
    if report.latencies.is_empty() {
        return;
    }
    let head = [String::new()].into_iter().chain(PERCENTILES.map(|(name, _)| name.to_owned())).collect();
    let rows = report.latencies.iter().map(|latency| {
        let millis = PERCENTILES.map(|(_, share)| latency.micros.value_at_quantile(share) as f64 / 1000.0);
        [latency.label.clone()].into_iter().chain(millis.map(rounded)).collect()
    });
    table(page, "Latency in milliseconds", true, [head].into_iter().chain(rows).collect());
}

fn plots(page: &mut String, report: &Report) {
    let seconds = &report.seconds;
    let names = ["p50", "p99", "max"];
    let over_time = names.iter().enumerate().map(|(n, name)| Series {
        label: name,
        points: seconds.iter().filter_map(|second| Some((second.at_s, second.latency?[n]))).collect(),
    });
    let x_label = "seconds";
    let (x, y) = (Scale::Linear, Scale::Log);
    let title = "Latency over time";
    plot(page, Plot { title, x_label, y_label: "milliseconds", x, y, series: over_time.collect() });
    let curves = report.latencies.iter().map(|one| Series { label: &one.label, points: curve(&one.micros) });
    let (x, title) = (Scale::Nines, "Latency by percentile");
    plot(page, Plot { title, x_label: "percentile", y_label: "milliseconds", x, y, series: curves.collect() });
    // Each on its own: a delivery is told hundreds of times more often than a message is sent.
    let rates = seconds.first().map(|second| second.rates.clone()).unwrap_or_default();
    for (n, (_, label, _)) in rates.iter().enumerate() {
        let points = seconds.iter().map(|second| (second.at_s, second.rates[n].2)).collect();
        let (title, y_label) = (format!("Throughput: {label} a second"), format!("{label} a second"));
        let (x, y) = (Scale::Linear, Scale::Linear);
        plot(page, Plot { title: &title, x_label, y_label: &y_label, x, y, series: vec![Series { label, points }] });
    }
    let used = seconds.first().map(|second| second.cores.clone()).unwrap_or_default();
    let cores = used.iter().enumerate().map(|(n, (name, _))| Series {
        label: name,
        points: seconds.iter().filter_map(|second| Some((second.at_s, second.cores.get(n)?.1))).collect(),
    });
    let (x, y) = (Scale::Linear, Scale::Linear);
    plot(page, Plot { title: "CPU over time", x_label, y_label: "cores", x, y, series: cores.collect() });
}

fn plot(page: &mut String, plot: Plot) {
    if plot.series.iter().any(|series| !series.points.is_empty()) {
        let _ = writeln!(
            page,
            "<h2>{}</h2>\n<p class=\"legend\">{}</p>\n{}",
            escape(plot.title),
            plot.legend(),
            plot.svg()
        );
    }
}

/// Nines up to which there is something to tell, and the milliseconds there.
fn curve(micros: &Histogram<u64>) -> Vec<(f64, f64)> {
    const STEPS_PER_NINE: u32 = 20;
    let nines = (micros.len().max(1) as f64).log10();
    let steps = (nines * f64::from(STEPS_PER_NINE)).ceil() as u32;
    let at = |step: u32| f64::from(step) / f64::from(STEPS_PER_NINE);
    let value = |nines: f64| micros.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64 / 1000.0;
    (0..=steps).map(|step| (at(step), value(at(step)))).collect()
}

fn table(page: &mut String, title: &str, headed: bool, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let row = |cells: &[String], tag: &str| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{}</tr>\n", cells.concat())
    };
    let _ = writeln!(page, "<h2>{title}</h2>\n<div class=\"scroll\"><table>");
    let (head, body) = rows.split_at(usize::from(headed));
    head.iter().for_each(|cells| page.push_str(&format!("<thead>{}</thead>\n", row(cells, "th"))));
    body.iter().for_each(|cells| page.push_str(&row(cells, "td")));
    page.push_str("</table></div>\n");
}
