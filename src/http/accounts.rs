//! Registering, logging in and out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::json;

use super::auth::Caller;
use super::cookies;
use super::fields::Fields;
use super::origin::{ClientAddress, Peer, client_address};
use crate::auth::refresh::LOGIN_SESSION_LIFETIME;
use crate::error::Result;
use crate::node::Node;
use crate::node::accounts::{LoggedIn, Visitor};

/// Who wants to be let in, as far as the request tells.
pub struct Asking(Visitor);

pub async fn register(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.register(username, password, &visitor).await?;
    logged_in(&node, StatusCode::CREATED, &login)
}

pub async fn login(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.login(username, password, &visitor).await?;
    logged_in(&node, StatusCode::OK, &login)
}

/// For programs: the tokens in the body, and no cookies.
pub async fn token(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.login(username, password, &visitor).await?;
    let body = json!({
        "user": login.user,
        "access_token": login.access_token,
        "refresh_token": login.refresh_token,
        "token_type": "Bearer",
        "expires_in": login.expires_in,
    });
    Ok(Json(body).into_response())
}

/// A token of an operator's issuer has no login session here to end; who sent one just drops it.
pub async fn logout(State(node): State<Arc<Node>>, caller: Caller) -> Result<Response> {
    if let Some(session) = &caller.login_session {
        node.logout(caller.user.id, session).await?;
    }
    let cleared = cookies::cleared(&node.config.server)?.map(|cookie| (header::SET_COOKIE, cookie));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(cleared)).into_response())
}

pub async fn get(caller: Caller) -> Response {
    Json(json!({"user": caller.user})).into_response()
}

fn logged_in(node: &Node, status: StatusCode, login: &LoggedIn) -> Result<Response> {
    let server = &node.config.server;
    let set = [
        cookies::access(server, &login.access_token, Duration::from_secs(login.expires_in))?,
        cookies::refresh(server, &login.refresh_token, LOGIN_SESSION_LIFETIME)?,
    ];
    let set = AppendHeaders(set.map(|cookie| (header::SET_COOKIE, cookie)));
    Ok((status, set, Json(json!({"user": login.user}))).into_response())
}

impl FromRequestParts<Arc<Node>> for Asking {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Infallible> {
        let peer = Peer::of(&parts.extensions);
        let ClientAddress(address) = client_address(&node.config.server, &parts.headers, peer);
        let agent = parts.headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        Ok(Self(Visitor { address, agent: agent.unwrap_or_default().into_owned() }))
    }
}
