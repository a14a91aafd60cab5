//! What operators are given under `deploy/` holds: the files are valid and say what they must, and the topology works.

mod files;
mod haproxy;
mod local;
mod prometheus;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A file of this repository.
fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Standard output of a command that must succeed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; tests/run installs what is missing");
    });
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}\n{}", told(&output.stdout), told(&output.stderr));
    told(&output.stdout)
}

/// The documents of a YAML text.
fn yaml(text: &str) -> Vec<Value> {
    const TO_JSON: &str =
        "import sys, yaml, json; print(json.dumps(list(yaml.safe_load_all(sys.argv[1])), default=str))";
    let json = run(Command::new(path("target/tools/bin/python")).args(["-c", TO_JSON, text]));
    serde_json::from_str(&json).expect("JSON")
}

/// Every query of the dashboard, its variables replaced as Grafana does.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/dashboards/salon.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    queries.map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*")).collect()
}

/// The expression of every alarm, by its name.
fn alarms() -> Vec<(String, String)> {
    let rules = yaml(&read("deploy/prometheus/rules.yml"));
    let groups = rules[0]["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

/// The selectors of our series in a query: the name, and what stands in braces after it.
fn selectors(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find("salon_") {
        let end =
            rest[start..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(rest.len(), |n| start + n);
        let end = match rest[end..].strip_prefix('{') {
            Some(labels) => end + labels.find('}').expect("it is closed") + 2,
            None => end,
        };
        found.push(rest[start..end].to_owned());
        rest = &rest[end..];
    }
    found
}
