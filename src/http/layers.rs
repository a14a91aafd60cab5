//! What every answer goes through, whatever made it: measuring, headers, other origins' pages, a bound in time, and
//! no panic beyond here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePath;

use super::{origin, problem};
use crate::config::Config;
use crate::error::Error;
use crate::telemetry::metric;

/// Nothing but this site's own files, no frames, no forms, no plug-ins: text that somebody posts cannot become code.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
const CORS_METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const CORS_HEADERS: &str = "authorization, content-type, last-event-id";
const CORS_EXPOSED: &str = "link, retry-after, www-authenticate";
/// How long a browser may remember a preflight's answer, in seconds.
const CORS_AGE_S: &str = "600";

/// Puts the layers around the routes of the main listener. Axum matches paths as they stand, so the one mechanism for
/// trailing slashes has to sit outside of the routes.
pub fn wrap(config: &Arc<Config>, routes: Router) -> Router {
    let routes = safe(routes).layer(from_fn_with_state(Arc::clone(config), around));
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

/// The same for the operators' listener, where no page and no cookie comes in.
pub fn wrap_admin(routes: Router, timeout: Duration) -> Router {
    let routes = safe(routes).layer(from_fn(move |request: Request, next: Next| async move {
        let mut response = in_time(timeout, request, next).await;
        add_headers(&mut response);
        response
    }));
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

fn safe(routes: Router) -> Router {
    routes
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(CatchPanicLayer::custom(problem::from_panic))
}

/// All of it in one layer: each one more costs every request, and every socket that comes, several allocations.
async fn around(
    State(config): State<Arc<Config>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let (started, method) = (Instant::now(), method_label(request.method()));
    let mut response = cors(&config, request, next).await;
    add_headers(&mut response);
    measure(started, method, route, &response);
    response
}

/// Covers reading the body and making the answer's head; a socket or a stream of events is its head's alone.
async fn in_time(timeout: Duration, request: Request, next: Next) -> Response {
    tokio::time::timeout(timeout, next.run(request))
        .await
        .unwrap_or_else(|_| Error::unavailable("this took too long; try again").into_response())
}

/// Cookies of other origins' pages change nothing.
async fn guard(config: &Config, request: Request, next: Next) -> Response {
    let peer = origin::Peer::of(request.extensions());
    match origin::check_cookies(&config.server, request.method(), request.headers(), peer) {
        Ok(()) => in_time(Duration::from_secs(config.server.request_timeout_s), request, next).await,
        Err(error) => error.into_response(),
    }
}

/// Answers preflights of the allowed origins and lets their pages read answers. With credentials: those origins are
/// trusted with the user's socket anyway, and `SameSite=Strict` leaves cookies to origins of the same site.
async fn cors(config: &Config, request: Request, next: Next) -> Response {
    let Some(origin) = origin::cors_origin(&config.server, request.headers()).cloned() else {
        let mut response = guard(config, request, next).await;
        if !config.server.allowed_origins.is_empty() {
            response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
        }
        return response;
    };
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { guard(config, request, next).await };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(CORS_EXPOSED));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(CORS_METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(CORS_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(CORS_AGE_S));
    }
    response
}

fn add_headers(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Labels are the route's template and never the path, so that no room and no user shows in them.
fn measure(started: Instant, method: &'static str, route: Option<MatchedPath>, response: &Response) {
    let route = route.as_ref().map_or("other", MatchedPath::as_str).to_owned();
    let status = response.status().as_u16().to_string();
    metrics::histogram!(metric::HTTP_SECONDS, "method" => method, "route" => route.clone())
        .record(started.elapsed().as_secs_f64());
    metrics::counter!(metric::HTTP_REQUESTS, "method" => method, "route" => route, "status" => status).increment(1);
}

/// A method is the client's text: only those that are known become a label.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    fn app(config: Config) -> Router {
        let routes = Router::new()
            .route("/things", get(async || "all").post(async || "made"))
            .route("/things/{thing}", post(async || "one"))
            .route("/panics", get(async || -> &'static str { panic!("the secret is 42") }))
            .route("/never", get(async || std::future::pending::<&'static str>().await))
            .fallback(async || Error::NotFound("nothing".to_owned()));
        wrap(&Arc::new(config), routes)
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.server.allowed_origins = vec!["https://app.example".into()];
        config.server.request_timeout_s = 1;
        config
    }

    async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, Response, String) {
        let mut request = Request::builder().method(method).uri(path).header("host", "a:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = app(config()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        let response = Response::from_parts(parts, Body::empty());
        (response.status().as_u16(), response, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_path_works_with_and_without_a_trailing_slash() {
        for path in ["/things", "/things/", "/things/?a=/"] {
            assert_eq!(ask("GET", path, &[]).await.2, "all", "{path}");
        }
        assert_eq!(ask("POST", "/things/7/", &[]).await.2, "one");
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem_with_the_same_headers() {
        for (method, path, status, code) in [
            ("GET", "/nothing", 404, "not_found"),
            ("DELETE", "/things", 405, "method_not_allowed"),
            ("GET", "/panics", 500, "internal"),
            ("GET", "/never", 503, "unavailable"),
        ] {
            let (told, response, body) = ask(method, path, &[]).await;
            assert_eq!(told, status, "{path}");
            assert!(body.contains(&format!("\"code\":\"{code}\"")) && !body.contains("42"), "{body}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        }
        let (_, response, _) = ask("DELETE", "/things", &[]).await;
        assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
    }

    #[tokio::test]
    async fn cookies_do_nothing_for_the_page_of_somebody_else() {
        let cookie = ("cookie", "salon_access=x");
        let (status, _, body) = ask("POST", "/things", &[cookie, ("origin", "https://evil.example")]).await;
        assert_eq!((status, body.contains("\"forbidden\"")), (403, true));
        assert_eq!(ask("POST", "/things", &[cookie, ("sec-fetch-site", "cross-site")]).await.0, 403);
        assert_eq!(ask("POST", "/things", &[cookie, ("origin", "http://a:1")]).await.0, 200);
        assert_eq!(ask("POST", "/things", &[cookie, ("origin", "https://app.example")]).await.0, 200);
    }

    #[tokio::test]
    async fn only_allowed_origins_get_cors_answers() {
        let ours = ("origin", "https://app.example");
        let asked = ("access-control-request-method", "PATCH");
        let (status, response, _) = ask("OPTIONS", "/things/7", &[ours, asked]).await;
        assert_eq!(status, 204);
        assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
        assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        let (_, response, _) = ask("GET", "/nothing", &[ours]).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
        assert_eq!(response.headers()["vary"], "origin");
        let (status, response, _) = ask("OPTIONS", "/things", &[("origin", "https://evil.example"), asked]).await;
        assert_eq!((status, response.headers().get("access-control-allow-origin")), (405, None));
    }
}
