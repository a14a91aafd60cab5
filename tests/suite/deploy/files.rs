//! Each file by the program that will read it, and what must hold between them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use salon::engine::events::Asking;
use salon::telemetry::METRICS;
use serde_json::{Value, json};

use super::{alarms, dashboard_queries, path, read, run, selectors, yaml};
use crate::support::guardian::Guardian;
use crate::support::node::free_port;

const SECRETS: [&str; 3] = ["SALON_SECRET", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"];

fn compose() -> Command {
    let mut command = Command::new("docker-compose");
    command.arg("-f").arg(path("docker-compose.yml")).arg("--project-directory").arg(path(".")).arg("config");
    for secret in SECRETS {
        command.env(secret, "of-the-tests");
    }
    command
}

/// The compose file as compose understands it.
fn composed() -> Value {
    yaml(&run(&mut compose())).remove(0)
}

fn services(composed: &Value) -> impl Iterator<Item = (&String, &Value)> {
    composed["services"].as_object().expect("services").iter()
}

#[test]
fn compose_starts_with_no_secret_left_out() {
    for secret in SECRETS {
        let output = compose().env_remove(secret).stdin(Stdio::null()).output().expect("compose runs");
        assert!(!output.status.success(), "without {secret} it would start");
    }
}

#[test]
fn compose_gives_every_container_as_little_as_possible() {
    let composed = composed();
    for (name, service) in services(&composed) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["user"].as_str().is_some_and(|user| !user.starts_with('0')), "{name} is root");
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        assert!(service.get("privileged").is_none() && service.get("cap_add").is_none(), "{name}");
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let Some((source, _)) = volume.as_str().and_then(|volume| volume.split_once(':')) else { continue };
            assert!(!source.starts_with('/') || std::path::Path::new(source).exists(), "{name}: {source} is not there");
        }
    }
    assert_eq!(composed["networks"]["inside"]["internal"], true);
    let published: Vec<&str> =
        services(&composed).filter(|(_, s)| s.get("ports").is_some()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(published, ["grafana", "nginx"]);
    let outside: Vec<&str> = services(&composed)
        .filter(|(_, service)| service["networks"].as_object().expect("networks").contains_key("edge"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(outside, published);
    assert!(composed["services"]["grafana"]["ports"][0].to_string().contains("127.0.0.1"));
    assert_eq!(composed["services"]["gateway"]["deploy"]["replicas"], 3);
}

/// A node that is killed before its own deadline did not get to move its people.
#[test]
fn supervisors_wait_longer_than_a_drain() {
    let composed = composed();
    let gateway = &composed["services"]["gateway"];
    let seconds =
        |value: &Value| -> u64 { value.as_str().expect("text").trim_end_matches('s').parse().expect("seconds") };
    assert!(seconds(&gateway["stop_grace_period"]) > seconds(&gateway["environment"]["SALON_DRAIN__TIMEOUT_S"]));

    let default = salon::config::Drain::default().timeout_s;
    let unit = read("deploy/systemd/salon.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("TimeoutStopSec");
    assert!(stop.parse::<u64>().expect("seconds") > default, "{stop}");
    let local = read("deploy/local");
    let grace = local.lines().find_map(|line| line.strip_prefix("grace=")).expect("grace");
    assert!(grace.parse::<u64>().expect("seconds") > default, "{grace}");

    let deployment = yaml(&read("deploy/kubernetes/deployment.yaml")).remove(0);
    let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    let config = &yaml(&read("deploy/kubernetes/configmap.yaml"))[0]["data"]["salon.toml"];
    let config: toml::Table = config.as_str().expect("a file").parse().expect("TOML");
    let drain = config["drain"]["timeout_s"].as_integer().expect("seconds");
    assert!(grace.as_i64().expect("seconds") > drain, "{grace}");
}

/// The variables of nginx' template are the ones that compose and deploy/local fill in.
#[test]
fn nginx_template_is_filled_in() {
    let template = read("deploy/nginx/nginx.conf.template");
    let composed = composed();
    let environment = composed["services"]["nginx"]["environment"].as_object().expect("variables");
    let mut used = 0;
    for (at, _) in template.match_indices("${SALON_") {
        let name = template[at + 2..].split('}').next().expect("it is closed");
        assert!(environment.contains_key(name), "{name} is not set in docker-compose.yml");
        assert!(read("deploy/local").contains(&format!("${{{name}}}")), "{name} is not set by deploy/local");
        used += 1;
    }
    assert!(used >= 5, "{used}");
}

#[test]
fn haproxy_accepts_its_file() {
    run(Command::new("/usr/sbin/haproxy").args(["-c", "-q", "-f"]).arg(path("deploy/haproxy/haproxy.cfg")));
}

#[test]
fn prometheus_accepts_its_files_and_alarms_ring_when_they_should() {
    let promtool = |args: [&str; 3]| run(Command::new("promtool").args(args).current_dir(path("deploy/prometheus")));
    promtool(["check", "config", "prometheus.yml"]);
    promtool(["check", "rules", "rules.yml"]);
    promtool(["test", "rules", "rules.test.yml"]);
    let tests = read("deploy/prometheus/rules.test.yml");
    let rules = yaml(&read("deploy/prometheus/rules.yml"));
    for rule in rules[0]["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("a name");
        assert!(tests.contains(name), "no test rings {name}");
        for note in ["summary", "runbook"] {
            assert!(rule["annotations"][note].as_str().is_some_and(|note| note.len() > 10), "{name} has no {note}");
        }
    }
}

#[test]
fn queries_name_metrics_that_exist() {
    let queries = dashboard_queries();
    assert!(queries.len() > 30, "{}", queries.len());
    for query in queries.into_iter().chain(alarms().into_iter().map(|(_, query)| query)) {
        for selector in selectors(&query) {
            let name = selector.split('{').next().expect("a name");
            let known = METRICS.iter().any(|metric| {
                name == metric.name || name.strip_suffix("_bucket").is_some_and(|histogram| histogram == metric.name)
            });
            assert!(known, "{name} in {query}");
        }
    }
}

#[test]
fn grafana_finds_its_data_source() {
    let source = yaml(&read("deploy/grafana/provisioning/datasources/prometheus.yml")).remove(0);
    let uid = &source["datasources"][0]["uid"];
    let dashboard = read("deploy/grafana/dashboards/salon.json");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut ids = std::collections::HashSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].to_string()), "{panel} is there twice");
        assert!(panel["type"] == "row" || panel["datasource"]["uid"] == *uid, "{panel}");
    }
    let provider = yaml(&read("deploy/grafana/provisioning/dashboards/salon.yml")).remove(0);
    let folder = provider["providers"][0]["options"]["path"].as_str().expect("a folder").to_owned();
    let mounts = composed()["services"]["grafana"]["volumes"].to_string();
    assert!(mounts.contains(&format!("deploy/grafana/dashboards:{folder}:ro")), "{mounts}");
}

#[test]
fn kubernetes_accepts_the_manifests() {
    let mut manifests: Vec<_> = std::fs::read_dir(path("deploy/kubernetes"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    manifests.sort();
    assert!(manifests.len() >= 6, "{manifests:?}");
    run(Command::new(path("target/tools/bin/kubernetes-validate")).args(["--strict", "--quiet"]).args(&manifests));
    // What is in the file that the manifests bring must be known to the program, too.
    let config = &yaml(&read("deploy/kubernetes/configmap.yaml"))[0]["data"]["salon.toml"];
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("salon.toml");
    std::fs::write(&file, config.as_str().expect("a file")).expect("the file");
    run(Command::new(env!("CARGO_BIN_EXE_salon")).arg("--config").arg(&file).arg("config"));
    let readme = read("deploy/kubernetes/README.md");
    let deployment = yaml(&read("deploy/kubernetes/deployment.yaml")).remove(0);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().expect("variables") {
        if let Some(key) = variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            assert!(readme.contains(&format!("--from-literal={key}=")), "nobody makes the secret {key}");
        } else {
            assert!(variable.get("value").is_none(), "{variable}");
        }
    }
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn systemd_accepts_the_unit_and_finds_little_to_attack() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("salon.service");
    // The program must be there to be accepted.
    let text = read("deploy/systemd/salon.service").replace("/usr/local/bin/salon", env!("CARGO_BIN_EXE_salon"));
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    std::fs::write(&unit, text).expect("the unit");
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    // In tenths: below 2.0 of 10.
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(&unit));
}

/// An `EventSource` gives up on any answer but 200, also on one of the balancer's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_without_a_gateway_keeps_event_sources_waiting() {
    let folder = std::env::temp_dir().join(format!("salon-haproxy-{:016x}", rand::random::<u64>()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (port, gone) = (free_port(), free_port());
    let text = read("deploy/haproxy/haproxy.cfg")
        .replace("bind :8080", &format!("bind 127.0.0.1:{port}"))
        .replace("maxconn 60000", "maxconn 100")
        .replace("\nbackend sockets\n", &format!("\nbackend sockets\n  server gone 127.0.0.1:{gone}\n"));
    let needs_gateways =
        |line: &&str| ["server-template", "default-server", "check"].iter().any(|word| line.contains(word));
    let text: String = text.lines().filter(|line| !needs_gateways(line)).map(|line| format!("{line}\n")).collect();
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).expect("the file");
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let haproxy = Guardian::spawn(&command, &folder, "TERM");
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{}", haproxy.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asking = Asking::new(&format!("127.0.0.1:{port}"), "general");
    let first = asking.refused().await.expect("an answer");
    assert_eq!(first.status, 503, "who was never connected is told so");
    let mut nothing = asking.header("last-event-id", "7").open().await.expect("a stream of nothing");
    assert_eq!(nothing.rest(Duration::from_secs(10)).await.expect("an end"), []);
}
