//! Whether the process runs and whether people should be sent here, for load balancers and orchestrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::node::{Node, Readiness};

/// Touches nothing: a process that cannot reach its database is no better for being killed.
pub async fn livez() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

pub async fn readyz(State(node): State<Arc<Node>>) -> Response {
    answer(&node.readiness())
}

fn answer(readiness: &Readiness) -> Response {
    if readiness.ready {
        Json(json!({"status": "ready", "degraded": readiness.degraded})).into_response()
    } else {
        let body = Json(json!({"status": "unready", "failing": readiness.failing}));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(readiness: Readiness) -> (u16, String) {
        let response = answer(&readiness);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_fails_here_alone_is_told_apart_from_what_fails_everywhere() {
        let ready = Readiness { ready: true, degraded: vec!["broker"], failing: vec![] };
        assert_eq!(told(ready).await, (200, r#"{"degraded":["broker"],"status":"ready"}"#.into()));
        let unready = Readiness { ready: false, degraded: vec![], failing: vec!["draining"] };
        assert_eq!(told(unready).await, (503, r#"{"failing":["draining"],"status":"unready"}"#.into()));
    }
}
