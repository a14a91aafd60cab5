//! HTTP: who asks ([`auth`], [`origin`]), what they say ([`fields`]), what it does (one file a resource), and how it is
//! answered ([`problem`], [`layers`]). Every rule beyond the form of things is the node's.

pub mod accounts;
pub mod administration;
pub mod assets;
pub mod auth;
pub mod cookies;
pub mod documents;
pub mod events;
pub mod fields;
pub mod held;
pub mod invites;
pub mod layers;
pub mod messages;
pub mod moderation;
pub mod origin;
pub mod probes;
pub mod problem;
pub mod rooms;
pub mod search;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::node::Node;
use crate::telemetry;

/// All of the main listener, with `sockets` (the WebSocket's routes, written without a trailing slash) among it.
pub fn router(node: Arc<Node>, sockets: Router<Arc<Node>>) -> Router {
    // Only what is the same for everybody: compressed beside what a stranger wrote, a secret shows in the length.
    let files = Router::new()
        .route("/", get(assets::page))
        .route("/r/{slug}", get(assets::page))
        .route("/admin", get(assets::admin))
        .fallback(assets::file)
        .layer(CompressionLayer::new());
    let routes = files.merge(described()).merge(sockets);
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

/// What `GET /api/openapi.json` describes: everything of the main listener but the page and the sockets. A handler's own
/// `#[utoipa::path]` says its method and path, so that what is served and what is described are one list.
fn described() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::default().routes(routes!(probes::livez)).routes(routes!(probes::readyz)).nest("/api", api())
}

/// Calls of one path stand together.
fn api() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::default()
        .routes(routes!(documents::openapi_json))
        .routes(routes!(documents::asyncapi_json))
        .routes(routes!(accounts::get))
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::login))
        .routes(routes!(accounts::token))
        .routes(routes!(accounts::refresh))
        .routes(routes!(accounts::logout))
        .routes(routes!(accounts::password))
        .routes(routes!(accounts::sessions))
        .routes(routes!(accounts::end_session))
        .routes(routes!(rooms::list, rooms::create))
        .routes(routes!(rooms::get, rooms::update, rooms::delete))
        .routes(routes!(rooms::members))
        .routes(routes!(rooms::put_member, rooms::remove_member))
        .routes(routes!(moderation::bans))
        .routes(routes!(moderation::ban, moderation::unban))
        .routes(routes!(moderation::mutes))
        .routes(routes!(moderation::mute, moderation::unmute))
        .routes(routes!(invites::list, invites::create))
        .routes(routes!(invites::withdraw))
        .routes(routes!(invites::redeem))
        .routes(routes!(rooms::users))
        .routes(routes!(rooms::read))
        .routes(routes!(events::open))
        .routes(routes!(messages::list, messages::send))
        .routes(routes!(messages::edit, messages::delete))
        .routes(routes!(messages::react, messages::take_back))
        .routes(routes!(search::search))
        .routes(routes!(administration::users))
        .routes(routes!(administration::change_user))
        .routes(routes!(administration::rooms))
        .routes(routes!(administration::delete_room))
        .routes(routes!(administration::delete_message))
        .routes(routes!(administration::nodes))
}

async fn metrics() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics_text())
}
