//! Who is asking: the bearer token, or the access cookie, or (for a socket that can set neither) a subprotocol. Never
//! the URL, which ends up in logs.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::cookies;
use crate::error::{Error, Result};
use crate::model::{Timestamp, User};
use crate::node::Node;
use crate::node::limits::Requester;

/// The subprotocol the server selects, beside which a token may stand.
pub const SUBPROTOCOL: &str = "salon.v1";
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Somebody whose proof was accepted just now. Taking one as an argument is what makes a call need a log-in.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: User,
    /// The login session; `None` for users of the operator's own issuers.
    pub login_session: Option<String>,
    /// `None`: the issuer did not say.
    pub issued_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub by: By,
}

/// How the proof came: a socket opened by cookie lives as long as its login session, one opened by token as long as
/// the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Cookie,
    Bearer,
}

/// Who a request is from. What was said on purpose goes before the cookie that comes along by itself, and is never
/// mended by it: a wrong token is a wrong token. Counts as a request of this user.
pub async fn authenticate(node: &Node, headers: &HeaderMap) -> Result<Caller> {
    let (token, by) = find(headers, cookies::access_name(&node.config.server))?;
    let caller = identify(node, token, by).await?;
    node.count_request(Requester::User(caller.user.id))?;
    Ok(caller)
}

/// Whom a token belongs to, if it holds now: signature and time, the account, and that it was not withdrawn. Also for
/// the `auth` frame.
pub async fn identify(node: &Node, token: &str, by: By) -> Result<Caller> {
    let identity = node.accounts.verify(token)?;
    let login_session = identity.login_session().map(str::to_owned);
    let (issued_at, expires_at) = (identity.issued_at(), identity.expires_at());
    let user = node.accounts.resolve(identity).await?;
    if node.is_revoked(user.id, login_session.as_deref(), issued_at.map(|at| at.0.div_euclid(1_000))) {
        return Err(Error::login_ended());
    }
    Ok(Caller { user, login_session, issued_at, expires_at, by })
}

fn find<'a>(headers: &'a HeaderMap, cookie: &str) -> Result<(&'a str, By)> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        return bearer(authorization.to_str().unwrap_or_default())
            .map(|token| (token, By::Bearer))
            .ok_or_else(|| Error::Unauthenticated("the Authorization header must be `Bearer` and a token".to_owned()));
    }
    if let Some(token) = subprotocols(headers).find_map(|protocol| protocol.strip_prefix(BEARER_SUBPROTOCOL)) {
        return Ok((token, By::Bearer));
    }
    match cookies::find(headers, cookie) {
        Some(token) => Ok((token, By::Cookie)),
        None => Err(Error::Unauthenticated("log in first".to_owned())),
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// What the request offers as subprotocols.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

impl FromRequestParts<Arc<Node>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self> {
        authenticate(node, &parts.headers).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &[(&'static str, &str)]) -> Result<(String, By)> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        find(&headers, "salon_access").map(|(token, by)| (token.to_owned(), by))
    }

    #[test]
    fn what_was_said_on_purpose_goes_before_the_cookie() {
        let cookie = ("cookie", "salon_access=c");
        let protocol = ("sec-websocket-protocol", "salon.v1, bearer.p");
        assert_eq!(found(&[cookie]).unwrap(), ("c".into(), By::Cookie));
        assert_eq!(found(&[cookie, protocol]).unwrap(), ("p".into(), By::Bearer));
        assert_eq!(found(&[cookie, protocol, ("authorization", "bearer  h")]).unwrap(), ("h".into(), By::Bearer));
    }

    #[test]
    fn a_broken_proof_is_not_mended_by_a_cookie() {
        let cookie = ("cookie", "salon_access=c");
        for wrong in ["Basic abc", "Bearer", "Bearer ", "token"] {
            assert_eq!(found(&[cookie, ("authorization", wrong)]).unwrap_err().code(), "unauthenticated", "{wrong}");
        }
        assert_eq!(found(&[]).unwrap_err().code(), "unauthenticated");
        assert_eq!(found(&[("cookie", "salon_access=")]).unwrap_err().code(), "unauthenticated");
    }
}
