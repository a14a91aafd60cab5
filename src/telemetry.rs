//! Logs, and every metric's name, kind and help in one table.

/// Names of metrics. Labels never hold a room or a user.
pub mod metric {
    pub const SOCKETS: &str = "salon_sockets";
    pub const ROOMS: &str = "salon_rooms_open";
    pub const MESSAGES: &str = "salon_messages_total";
    pub const DELIVERIES: &str = "salon_deliveries_total";
    pub const APPEND_BATCH_SIZE: &str = "salon_append_batch_size";
    pub const APPEND_SECONDS: &str = "salon_append_seconds";
    pub const APPEND_QUEUE: &str = "salon_append_queue";
    pub const BROKER_LAG_SECONDS: &str = "salon_broker_lag_seconds";
    pub const BROKER_UP: &str = "salon_broker_up";
    pub const BROKER_DISTURBANCES: &str = "salon_broker_disturbances_total";
    pub const BROKER_PUBLISH_DROPPED: &str = "salon_broker_publish_dropped_total";
    pub const DATABASE_UP: &str = "salon_database_up";
    pub const DATABASE_NOT_DURABLE: &str = "salon_database_not_durable";
    pub const GATE_REPAIRS: &str = "salon_gate_repairs_total";
    pub const BEACON_REPAIRS: &str = "salon_beacon_repairs_total";
    pub const BEACON_SECONDS: &str = "salon_beacon_seconds";
    pub const CLOCK_WENT_BACK: &str = "salon_clock_went_back_total";
    pub const CATCH_UPS: &str = "salon_catch_ups_total";
    pub const QUEUE_OVERFLOWS: &str = "salon_queue_overflows_total";
    pub const QUEUE_BYTES: &str = "salon_queue_bytes";
    pub const CLOSES: &str = "salon_closes_total";
    pub const ENVELOPES_UNKNOWN: &str = "salon_envelopes_unknown_total";
    pub const HTTP_REQUESTS: &str = "salon_http_requests_total";
    pub const HTTP_SECONDS: &str = "salon_http_request_seconds";
    pub const BUILD_INFO: &str = "salon_build_info";
}
