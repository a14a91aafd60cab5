//! Registering, logging in and out, staying logged in, and one's login sessions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::cookies;
use super::fields::{Fields, OptionalFields, Segments};
use super::origin::{ClientAddress, Peer, client_address};
use crate::auth::refresh::LOGIN_SESSION_LIFETIME;
use crate::error::{Error, Result};
use crate::model::{Timestamp, User};
use crate::node::Node;
use crate::node::accounts::{LoggedIn, Visitor};
use crate::node::limits::{Requester, network};
use crate::protocol::said::{Credentials, NewPassword, Refresh};

type Cookies = AppendHeaders<[(HeaderName, HeaderValue); 2]>;

/// Who one is.
#[derive(Serialize, ToSchema)]
struct Me {
    user: User,
}

/// What a program shows from now on.
#[derive(Serialize, ToSchema)]
struct TokenPair<'a> {
    user: &'a User,
    access_token: &'a str,
    refresh_token: &'a str,
    token_type: &'static str,
    /// Seconds until the access token is worth nothing.
    expires_in: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LoginSession)]
struct LoginSessionShape {
    id: String,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    address: String,
    agent: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// Who wants to be let in, as far as the request tells.
pub struct Asking(Visitor);

/// Makes an account and logs it in, by cookies.
#[utoipa::path(post, path = "/account/register", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 201, body = Me), (status = 409, description = "the name, or one that looks like it, is taken")))]
pub async fn register(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.register(username, password, &visitor).await?;
    logged_in(&node, StatusCode::CREATED, &login)
}

/// Logs in, by cookies.
#[utoipa::path(post, path = "/account/login", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 200, body = Me), (status = 401, description = "wrong name or password, or disabled")))]
pub async fn login(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.login(username, password, &visitor).await?;
    logged_in(&node, StatusCode::OK, &login)
}

/// Logs a program in: the tokens in the body, and no cookies.
#[utoipa::path(post, path = "/account/token", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 200, body = TokenPair), (status = 401, description = "wrong name or password, or disabled")))]
pub async fn token(State(node): State<Arc<Node>>, Asking(visitor): Asking, fields: Fields) -> Result<Response> {
    let (username, password) = (fields.string("username")?, fields.string("password")?);
    let login = node.accounts.login(username, password, &visitor).await?;
    Ok(as_tokens(&login))
}

/// Spends a refresh token for a new pair.
///
/// Asks for no access token: it is for those whose one has expired. What is in the body goes before the cookie.
#[utoipa::path(post, path = "/account/refresh", tag = "accounts", request_body = Option<Refresh>, security(()),
    responses((status = 200, body = TokenPair), (status = 204, description = "by cookie: new cookies"),
        (status = 401, description = "log in anew")))]
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

/// Ends the login session.
///
/// A token of an operator's issuer has no login session here to end; who sent one just drops it.
#[utoipa::path(post, path = "/account/logout", tag = "accounts", responses((status = 204)))]
pub async fn logout(State(node): State<Arc<Node>>, caller: Caller) -> Result<Response> {
    if let Some(session) = &caller.login_session {
        node.end_login_session(caller.user.id, session).await?;
    }
    Ok((StatusCode::NO_CONTENT, clear_cookies(&node)?).into_response())
}

/// Sets another password and ends the user's other login sessions.
#[utoipa::path(post, path = "/account/password", tag = "accounts", request_body = NewPassword,
    responses((status = 204)))]
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

/// The user's login sessions, last seen first.
#[utoipa::path(get, path = "/account/sessions", tag = "accounts", responses((status = 200, body = [LoginSessionShape])))]
pub async fn sessions(State(node): State<Arc<Node>>, caller: Caller) -> Result<Response> {
    let sessions = node.accounts.login_sessions(caller.user.id).await?;
    let told = sessions.into_iter().map(|session| LoginSessionShape {
        current: caller.login_session.as_ref() == Some(&session.id),
        id: session.id,
        created_at: session.created_at,
        last_seen_at: session.seen_at,
        address: session.address,
        agent: session.agent,
    });
    Ok(Json(told.collect::<Vec<_>>()).into_response())
}

/// Ends one of the user's login sessions.
///
/// Of the one that asks it is logging out.
#[utoipa::path(delete, path = "/account/sessions/{id}", tag = "accounts", responses((status = 204)))]
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

/// Who is asking.
#[utoipa::path(get, path = "/account", tag = "accounts", responses((status = 200, body = Me)))]
pub async fn get(caller: Caller) -> Response {
    Json(Me { user: caller.user }).into_response()
}

fn logged_in(node: &Node, status: StatusCode, login: &LoggedIn) -> Result<Response> {
    Ok((status, set_cookies(node, login)?, Json(Me { user: login.user.clone() })).into_response())
}

fn as_tokens(login: &LoggedIn) -> Response {
    let body = TokenPair {
        user: &login.user,
        access_token: &login.access_token,
        refresh_token: &login.refresh_token,
        token_type: "Bearer",
        expires_in: login.expires_in,
    };
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
