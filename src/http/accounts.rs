//! Registering, logging in and out, staying logged in, and one's login sessions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::json;

use super::auth::Caller;
use super::cookies;
use super::fields::{Fields, OptionalFields, Segments};
use super::origin::{ClientAddress, Peer, client_address};
use crate::auth::refresh::LOGIN_SESSION_LIFETIME;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::node::accounts::{LoggedIn, Visitor};
use crate::node::limits::{Requester, network};

type Cookies = AppendHeaders<[(HeaderName, HeaderValue); 2]>;

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
    Ok(as_tokens(&login))
}

/// Asks for no access token: it is for those whose one has expired. What is in the body goes before the cookie.
pub async fn refresh(
    State(node): State<Arc<Node>>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    OptionalFields(fields): OptionalFields,
) -> Result<Response> {
    node.count_request(Requester::Network(network(visitor.address)))?;
    if let Some(token) = fields.optional_string("refresh_token")? {
        return Ok(as_tokens(&node.refresh(token).await?));
    }
    let refreshed = match cookies::find(&headers, cookies::refresh_name(&node.config.server)) {
        Some(token) => node.refresh(token).await,
        None => Err(Error::Unauthenticated("log in first".to_owned())),
    };
    match refreshed {
        Ok(login) => Ok((StatusCode::NO_CONTENT, set_cookies(&node, &login)?).into_response()),
        Err(error @ Error::Unauthenticated(_)) => Ok((clear_cookies(&node)?, error).into_response()),
        Err(error) => Err(error),
    }
}

/// A token of an operator's issuer has no login session here to end; who sent one just drops it.
pub async fn logout(State(node): State<Arc<Node>>, caller: Caller) -> Result<Response> {
    if let Some(session) = &caller.login_session {
        node.end_login_session(caller.user.id, session).await?;
    }
    Ok((StatusCode::NO_CONTENT, clear_cookies(&node)?).into_response())
}

pub async fn password(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Asking(visitor): Asking,
    fields: Fields,
) -> Result<StatusCode> {
    let Some(session) = &caller.login_session else {
        return Err(Error::Forbidden("this account has no password here".to_owned()));
    };
    let (current, new) = (fields.string("current")?, fields.string("new")?);
    node.change_password(&caller.user, session, (current, new), &visitor).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn sessions(State(node): State<Arc<Node>>, caller: Caller) -> Result<Response> {
    let sessions = node.accounts.login_sessions(caller.user.id).await?;
    let told = sessions.into_iter().map(|session| {
        json!({
            "id": session.id,
            "created_at": session.created_at,
            "last_seen_at": session.seen_at,
            "address": session.address,
            "agent": session.agent,
            "current": caller.login_session.as_ref() == Some(&session.id),
        })
    });
    Ok(Json(told.collect::<Vec<_>>()).into_response())
}

/// Of the login session that asks it is logging out.
pub async fn end_session(
    State(node): State<Arc<Node>>,
    Segments(session): Segments<String>,
    caller: Caller,
) -> Result<Response> {
    if caller.login_session.as_ref() == Some(&session) {
        return logout(State(node), caller).await;
    }
    if !node.end_login_session(caller.user.id, &session).await? {
        return Err(Error::NotFound("there is no such login session".to_owned()));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn get(caller: Caller) -> Response {
    Json(json!({"user": caller.user})).into_response()
}

fn logged_in(node: &Node, status: StatusCode, login: &LoggedIn) -> Result<Response> {
    Ok((status, set_cookies(node, login)?, Json(json!({"user": login.user}))).into_response())
}

fn as_tokens(login: &LoggedIn) -> Response {
    let body = json!({
        "user": login.user,
        "access_token": login.access_token,
        "refresh_token": login.refresh_token,
        "token_type": "Bearer",
        "expires_in": login.expires_in,
    });
    Json(body).into_response()
}

fn set_cookies(node: &Node, login: &LoggedIn) -> Result<Cookies> {
    let server = &node.config.server;
    let set = [
        cookies::access(server, &login.access_token, Duration::from_secs(login.expires_in))?,
        cookies::refresh(server, &login.refresh_token, LOGIN_SESSION_LIFETIME)?,
    ];
    Ok(AppendHeaders(set.map(|cookie| (header::SET_COOKIE, cookie))))
}

fn clear_cookies(node: &Node) -> Result<Cookies> {
    Ok(AppendHeaders(cookies::cleared(&node.config.server)?.map(|cookie| (header::SET_COOKIE, cookie))))
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
