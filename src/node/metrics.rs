//! The node's hot counters, looked up once instead of at every delivery.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::telemetry::metric;

pub struct Metrics {
    pub sockets: Gauge,
    pub rooms: Gauge,
    pub messages_stored: Counter,
    pub messages_unchanged: Counter,
    pub messages_refused: Counter,
    pub messages_unknown: Counter,
    pub messages_purged: Counter,
    pub deliveries: Counter,
    pub append_batch_size: Histogram,
    pub append_seconds: Histogram,
    pub append_queue: Gauge,
    pub queue_overflows: Counter,
    pub queue_bytes: Gauge,
    pub envelopes_unknown: Counter,
    pub clock_went_back: Counter,
    pub beacon_repairs: Counter,
    pub beacon_seconds: Histogram,
    pub unread_seconds: Histogram,
    pub database_up: Gauge,
    pub clock_skew_seconds: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            sockets: gauge!(metric::SOCKETS),
            rooms: gauge!(metric::ROOMS),
            messages_stored: counter!(metric::MESSAGES, "outcome" => "stored"),
            messages_unchanged: counter!(metric::MESSAGES, "outcome" => "unchanged"),
            messages_refused: counter!(metric::MESSAGES, "outcome" => "refused"),
            messages_unknown: counter!(metric::MESSAGES, "outcome" => "unknown"),
            messages_purged: counter!(metric::MESSAGES_PURGED),
            deliveries: counter!(metric::DELIVERIES),
            append_batch_size: histogram!(metric::APPEND_BATCH_SIZE),
            append_seconds: histogram!(metric::APPEND_SECONDS),
            append_queue: gauge!(metric::APPEND_QUEUE),
            queue_overflows: counter!(metric::QUEUE_OVERFLOWS),
            queue_bytes: gauge!(metric::QUEUE_BYTES),
            envelopes_unknown: counter!(metric::ENVELOPES_UNKNOWN),
            clock_went_back: counter!(metric::CLOCK_WENT_BACK),
            beacon_repairs: counter!(metric::BEACON_REPAIRS),
            beacon_seconds: histogram!(metric::BEACON_SECONDS),
            unread_seconds: histogram!(metric::UNREAD_SECONDS),
            database_up: gauge!(metric::DATABASE_UP),
            clock_skew_seconds: gauge!(metric::CLOCK_SKEW_SECONDS),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
