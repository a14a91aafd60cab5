//! Logs, and every metric's name, kind and help in one table.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use metrics::{Label, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// One metric: what is written under `metric` below, and what Prometheus is told about it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: Labels,
    pub help: &'static str,
}

/// Which series a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// One.
    None,
    /// One for each of these values of this label, and for others that may come.
    Known(&'static str, &'static [&'static str]),
    /// Those that were met: nobody can list them beforehand.
    Met,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Why something keeps failing, for who tries it for ever: said at once, seldom again while the reason stays the same,
/// and not more often than people can read when reasons take turns.
#[derive(Debug, Default)]
pub struct Complaint(Option<(String, Instant)>);

/// Between two lines of one [`Complaint`]: with another reason, and with the same.
const COMPLAINTS_APART: Duration = Duration::from_secs(5);
const COMPLAINTS_AGAIN: Duration = Duration::from_secs(60);

impl Complaint {
    /// Whether this reason is to be said now.
    pub fn is_news(&mut self, why: &impl ToString) -> bool {
        let why = why.to_string();
        let news = self
            .0
            .as_ref()
            .is_none_or(|(said, at)| at.elapsed() >= if *said == why { COMPLAINTS_AGAIN } else { COMPLAINTS_APART });
        if news {
            self.0 = Some((why, Instant::now()));
        }
        news
    }

    /// It works; gives back whether it had been said that it does not.
    pub fn ends(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Starts logging to standard error. Once for a process; the reason when the filter cannot be read.
pub fn init(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.level)).map_err(|error| error.to_string())?;
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if human {
        builder.with_ansi(std::io::stderr().is_terminal()).finish().with(filter_fn(is_discreet)).try_init()
    } else {
        builder.json().flatten_event(true).finish().with(filter_fn(is_discreet)).try_init()
    };
    started.map_err(|error| error.to_string())
}

/// Starts counting. Once for a process; later calls change nothing. What was counted before is lost, so this comes
/// first.
pub fn init_metrics() -> Result<(), String> {
    if RECORDED.get().is_some() {
        return Ok(());
    }
    let handle = builder()?.install_recorder().map_err(|error| error.to_string())?;
    describe_all();
    register_all();
    metrics::gauge!(metric::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let _ = RECORDED.set(handle);
    Ok(())
}

/// All metrics in Prometheus' text format; empty before [`init_metrics`].
pub fn metrics_text() -> String {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        metrics::gauge!(metric::TASKS).set(runtime.metrics().num_alive_tasks() as f64);
    }
    RECORDED.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what histograms gathered, which otherwise grows until the next scrape. Runs until it is dropped.
pub async fn run_upkeep() {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tick.tick().await;
        if let Some(handle) = RECORDED.get() {
            handle.run_upkeep();
        }
    }
}

/// What tells at `info` that it has nothing to tell, or tells as a warning what we tell ourselves once (Redis is away),
/// unless `log.level` names it.
const QUIET: &str = "refinery_core=warn,tokio_postgres=warn,fred=error";
/// What tells what it carries below `info`: statements with their values, commands, frames with their text. Message
/// bodies, tokens and hashes of passwords are among it, so no `log.level` makes it speak.
const INDISCREET: &[&str] = &["tokio_postgres", "fred", "tungstenite", "tokio_tungstenite"];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
static RECORDED: OnceLock<PrometheusHandle> = OnceLock::new();

/// Bounds of histogram buckets. Of seconds: from a hint on one machine to a send at its deadline.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

fn is_discreet(about: &Metadata<'_>) -> bool {
    let crate_name = about.target().split("::").next().unwrap_or_default();
    *about.level() <= Level::INFO || !INDISCREET.contains(&crate_name)
}

fn builder() -> Result<PrometheusBuilder, String> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), BATCH_SIZES))
        .map_err(|error| error.to_string())
}

fn describe_all() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

/// Makes every series that can be known, at zero. One that came into being by its first event would hide that event:
/// a rate needs a value before it, and an alarm on it would find nothing to compare with.
fn register_all() {
    for metric in METRICS {
        match metric.labels {
            Labels::None => register(metric, Vec::new()),
            Labels::Known(label, values) => {
                values.iter().for_each(|value| register(metric, vec![Label::new(label, *value)]));
            }
            Labels::Met => {}
        }
    }
}

fn register(metric: &Metric, labels: Vec<Label>) {
    match metric.kind {
        Kind::Counter => drop(metrics::counter!(metric.name, labels)),
        Kind::Gauge => drop(metrics::gauge!(metric.name, labels)),
        Kind::Histogram => drop(metrics::histogram!(metric.name, labels)),
    }
}

macro_rules! labels {
    () => { Labels::None };
    (met) => { Labels::Met };
    ($label:literal: $($value:literal)+) => { Labels::Known($label, &[$($value),+]) };
}

macro_rules! table {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident $([$($labels:tt)+])?, $help:literal;)+) => {
        /// Names of metrics. Labels never hold a room or a user.
        pub mod metric {
            $(#[doc = $help] pub const $constant: &str = $name;)+
        }

        /// Every metric there is.
        pub const METRICS: &[Metric] = &[
            $(Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: labels!($($($labels)+)?),
                help: $help,
            },)+
        ];
    };
}

table! {
    SOCKETS = "salon_sockets", Gauge, Count, "Sockets and event streams open on this node.";
    EVENT_STREAMS = "salon_event_streams", Gauge, Count, "Event streams among them.";
    ROOMS = "salon_rooms_open", Gauge, Count, "Rooms that have sockets on this node.";
    MESSAGES = "salon_messages_total", Counter, Count ["outcome": "stored" "unchanged" "refused" "unknown"],
        "Sends, edits and deletions by outcome: stored, unchanged, refused, unknown.";
    DELIVERIES = "salon_deliveries_total", Counter, Count, "Room frames put into sockets' queues.";
    APPEND_BATCH_SIZE = "salon_append_batch_size", Histogram, Count, "Sends stored in one batch.";
    APPEND_SECONDS = "salon_append_seconds", Histogram, Seconds, "Storing one batch of sends, with its retries.";
    APPEND_QUEUE = "salon_append_queue", Gauge, Count, "Sends waiting to be stored.";
    BROKER_LAG_SECONDS = "salon_broker_lag_seconds", Histogram, Seconds,
        "From a probe's publishing to its being heard by the same node.";
    BROKER_UP = "salon_broker_up", Gauge, Count, "1 while the node hears itself through the broker.";
    BROKER_DISTURBANCES = "salon_broker_disturbances_total", Counter, Count ["cause": "reconnected" "resubscribed" "lagged" "overflow" "replaced"],
        "Times that hints may have been lost, by kind.";
    BROKER_PUBLISH_DROPPED = "salon_broker_publish_dropped_total", Counter, Count,
        "Hints that were not published because the queue was full or the broker gone.";
    DATABASE_UP = "salon_database_up", Gauge, Count, "1 while the database answers.";
    DATABASE_NOT_DURABLE = "salon_database_not_durable", Gauge, Count,
        "Database settings under which an acknowledged message could be lost; must be 0.";
    CLOCK_SKEW_SECONDS = "salon_clock_skew_seconds", Gauge, Seconds,
        "How far the clock of this node is ahead of the database's; negative: behind.";
    GATE_REPAIRS = "salon_gate_repairs_total", Counter, Count ["cause": "hole" "resume"], "Holes that a gate filled from the store.";
    BEACON_REPAIRS = "salon_beacon_repairs_total", Counter, Count,
        "Rooms found behind by comparing with the database although the broker was well: a bug alarm.";
    BEACON_SECONDS = "salon_beacon_seconds", Histogram, Seconds, "One comparison of all open rooms with the store.";
    UNREAD_SECONDS = "salon_unread_seconds", Histogram, Seconds, "One look for unread messages in rooms that sockets have not joined.";
    MESSAGES_PURGED = "salon_messages_purged_total", Counter, Count, "Messages that this node removed because they were too old.";
    CLOCK_WENT_BACK = "salon_clock_went_back_total", Counter, Count,
        "Rooms whose clock went back: the database forgot what it had committed.";
    CATCH_UPS = "salon_catch_ups_total", Counter, Count, "Pages that sessions which fell behind were given of a room.";
    QUEUE_OVERFLOWS = "salon_queue_overflows_total", Counter, Count,
        "Sessions turned back to catching up because their queue was full.";
    QUEUE_BYTES = "salon_queue_bytes", Gauge, Bytes, "Output waiting for all sockets of this node.";
    CLOSES = "salon_closes_total", Counter, Count ["code": "1000" "1001" "1005" "1006" "1009" "1012" "4008" "4009" "4010" "4029" "4500" "4501" "4503"], "Sockets and event streams that ended, by code.";
    ENVELOPES_UNKNOWN = "salon_envelopes_unknown_total", Counter, Count,
        "Hints of a format this version does not know.";
    HTTP_REQUESTS = "salon_http_requests_total", Counter, Count [met], "HTTP requests by method, route and status.";
    HTTP_SECONDS = "salon_http_request_seconds", Histogram, Seconds [met], "HTTP requests by route.";
    LOGINS = "salon_logins_total", Counter, Count ["outcome": "ok" "invalid_credentials" "rate_limited" "unavailable"], "Tries to log in by outcome.";
    PASSWORD_SECONDS = "salon_password_seconds", Histogram, Seconds, "Hashing one password, without the wait for it.";
    PASSWORD_QUEUE = "salon_password_queue", Gauge, Count, "Passwords waiting to be hashed.";
    TASKS = "salon_tasks", Gauge, Count, "Tasks that live in this process.";
    BUILD_INFO = "salon_build_info", Gauge, Count [met], "1, with the version as a label.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_complaint_is_made_once_and_again_after_it_was_well() {
        let mut complaint = Complaint::default();
        assert!(!complaint.ends(), "nothing was said");
        for _ in 0..2 {
            assert!(complaint.is_news(&"refused"));
            assert!(!complaint.is_news(&"refused") && !complaint.is_news(&"reset"), "too soon");
            assert!(complaint.ends());
        }
    }

    #[test]
    fn metrics_are_named_as_operators_expect() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("salon_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(name.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            if metric.kind == Kind::Histogram {
                assert!(name.ends_with("_seconds") || name.ends_with("_size"), "{name} has no buckets");
            }
        }
    }

    #[test]
    fn what_can_be_known_is_there_before_anything_happens() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, register_all);
        let text = recorder.handle().render();
        for metric in METRICS {
            let name = metric.name;
            let (label, values) = match metric.labels {
                Labels::None => (String::new(), vec![""]),
                Labels::Known(label, values) => (label.to_owned(), values.to_vec()),
                Labels::Met => continue,
            };
            for value in values {
                let labels = if label.is_empty() { String::new() } else { format!("{{{label}=\"{value}\"}}") };
                let series = match metric.kind {
                    Kind::Histogram => format!("{name}_count{labels} 0"),
                    Kind::Counter | Kind::Gauge => format!("{name}{labels} 0"),
                };
                assert!(text.lines().any(|line| line == series), "{series:?} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn what_is_recorded_is_rendered_with_help_and_buckets() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_all();
            metrics::counter!(metric::MESSAGES, "outcome" => "stored").increment(2);
            metrics::histogram!(metric::APPEND_SECONDS).record(0.004);
            metrics::histogram!(metric::APPEND_BATCH_SIZE).record(3.0);
        });
        let text = recorder.handle().render();
        for line in [
            "# HELP salon_messages_total Sends, edits and deletions by outcome: stored, unchanged, refused, unknown.",
            "# TYPE salon_messages_total counter",
            "salon_messages_total{outcome=\"stored\"} 2",
            "salon_append_seconds_bucket{le=\"0.005\"} 1",
            "salon_append_seconds_bucket{le=\"0.0025\"} 0",
            "salon_append_batch_size_bucket{le=\"4\"} 1",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
    }
}
