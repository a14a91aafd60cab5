//! HTTP: who asks ([`auth`], [`origin`]), what they say ([`fields`]), what it does (one file a resource), and how it is
//! answered ([`problem`], [`layers`]). Every rule beyond the form of things is the node's.

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod cookies;
pub mod events;
pub mod fields;
pub mod held;
pub mod layers;
pub mod messages;
pub mod origin;
pub mod probes;
pub mod problem;
pub mod rooms;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::{delete, get, post, put};

use crate::node::Node;
use crate::telemetry;

/// All of the main listener, with `sockets` (the WebSocket's routes, written without a trailing slash) among it.
pub fn router(node: Arc<Node>, sockets: Router<Arc<Node>>) -> Router {
    let routes = Router::new()
        .route("/", get(assets::page))
        .route("/r/{slug}", get(assets::page))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .nest("/api", api())
        .merge(sockets)
        .fallback(assets::file);
    let config = Arc::clone(&node.config);
    layers::wrap(&config, routes.with_state(node))
}

/// All of the operators' listener.
pub fn admin_router(node: Arc<Node>) -> Router {
    let timeout = Duration::from_secs(node.config.server.request_timeout_s);
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .fallback(async || crate::error::Error::NotFound("there is nothing at this address".to_owned()));
    layers::wrap_admin(routes.with_state(node), timeout)
}

fn api() -> Router<Arc<Node>> {
    Router::new()
        .route("/account", get(accounts::get))
        .route("/account/register", post(accounts::register))
        .route("/account/login", post(accounts::login))
        .route("/account/token", post(accounts::token))
        .route("/account/refresh", post(accounts::refresh))
        .route("/account/logout", post(accounts::logout))
        .route("/account/password", post(accounts::password))
        .route("/account/sessions", get(accounts::sessions))
        .route("/account/sessions/{id}", delete(accounts::end_session))
        .route("/rooms", get(rooms::list).post(rooms::create))
        .route("/rooms/{room}", get(rooms::get).patch(rooms::update).delete(rooms::delete))
        .route("/rooms/{room}/members", get(rooms::members))
        .route("/rooms/{room}/members/{username}", put(rooms::put_member).delete(rooms::remove_member))
        .route("/rooms/{room}/users", get(rooms::users))
        .route("/rooms/{room}/events", get(events::open))
        .route("/rooms/{room}/messages", get(messages::list).post(messages::send))
        .route("/rooms/{room}/messages/{id}", axum::routing::patch(messages::edit).delete(messages::delete))
}

async fn metrics() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics_text())
}
