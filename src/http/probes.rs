//! Whether the process runs and whether people should be sent here, for load balancers and orchestrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::node::{Node, Readiness};

#[derive(Serialize, ToSchema)]
struct Alive {
    status: &'static str,
}

/// What fails everywhere does not make a node unready.
#[derive(Serialize, ToSchema)]
struct Ready<'a> {
    degraded: &'a [&'static str],
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Unready<'a> {
    failing: &'a [&'static str],
    status: &'static str,
}

/// Whether the process runs.
///
/// Touches nothing: a process that cannot reach its database is no better for being killed.
#[utoipa::path(get, path = "/livez", tag = "probes", security(()), responses((status = 200, body = Alive)))]
pub async fn livez() -> Response {
    Json(Alive { status: "alive" }).into_response()
}

/// Whether people should be sent here.
#[utoipa::path(get, path = "/readyz", tag = "probes", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Unready)))]
pub async fn readyz(State(node): State<Arc<Node>>) -> Response {
    answer(&node.readiness())
}

fn answer(readiness: &Readiness) -> Response {
    if readiness.ready {
        Json(Ready { status: "ready", degraded: &readiness.degraded }).into_response()
    } else {
        let body = Json(Unready { status: "unready", failing: &readiness.failing });
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
