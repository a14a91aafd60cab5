//! The web client: the files of `web/`, built into the binary. A browser keeps them and asks by `ETag` whether they
//! are still the ones.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use crate::error::Error;

const PAGE: &str = "index.html";

#[derive(Embed)]
#[folder = "web/"]
// It tells node how to read our files when it tests them; no browser asks for it.
#[exclude = "package.json"]
struct Files;

/// The page: at `/`, and at `/r/{slug}`, where it opens that room by itself.
pub async fn page(headers: HeaderMap) -> Response {
    answer(PAGE, &headers)
}

/// A file by its path, for whatever no route took.
pub async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return not_found();
    }
    answer(uri.path().trim_start_matches('/'), &headers)
}

fn answer(path: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Files::get(path) else { return not_found() };
    let etag = etag(&file);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| matches_etag(known, &etag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(file.data.into_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type(path, file.metadata.mimetype()));
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn not_found() -> Response {
    Error::NotFound("there is nothing at this address".to_owned()).into_response()
}

/// Half of the content's SHA-256 is plenty to tell two releases of one file apart.
fn etag(file: &EmbeddedFile) -> String {
    let mut etag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..16] {
        etag.push_str(&format!("{byte:02x}"));
    }
    etag.push('"');
    etag
}

fn matches_etag(known: &HeaderValue, etag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

/// All text we ship is UTF-8; a browser would have to guess otherwise. Types for TypeScript are for people to read: by
/// their ending they would be films.
fn content_type(path: &str, mime: &str) -> HeaderValue {
    let mime = if path.ends_with(".d.ts") { "text/plain" } else { mime };
    let is_text = mime.starts_with("text/") || matches!(mime, "application/json" | "image/svg+xml");
    let text = if is_text { format!("{mime}; charset=utf-8") } else { mime.to_owned() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_browser_that_has_the_page_is_not_sent_it_again() {
        let first = page(HeaderMap::new()).await;
        assert_eq!(first.status(), 200);
        assert_eq!(first.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(first.headers()["cache-control"], "no-cache");
        let etag = first.headers()["etag"].clone();
        for (known, status) in [
            (etag.to_str().unwrap().to_owned(), 304),
            (format!("\"other\", W/{}", etag.to_str().unwrap()), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            let again = page(headers).await;
            assert_eq!(again.status(), status, "{known}");
            assert_eq!(again.headers()["etag"], etag);
        }
    }

    #[tokio::test]
    async fn only_files_of_the_folder_are_there() {
        for path in ["/nothing.js", "/package.json", "/../Cargo.toml", "/..%2fCargo.toml", "/api/nothing"] {
            assert_eq!(file(Method::GET, path.parse().unwrap(), HeaderMap::new()).await.status(), 404, "{path}");
        }
        assert_eq!(file(Method::GET, "/index.html".parse().unwrap(), HeaderMap::new()).await.status(), 200);
        assert_eq!(file(Method::POST, "/index.html".parse().unwrap(), HeaderMap::new()).await.status(), 404);
    }

    #[test]
    fn text_says_its_encoding() {
        assert_eq!(content_type("app.js", "text/javascript"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("a.png", "image/png"), "image/png");
        assert_eq!(content_type("salon.d.ts", "video/mp2t"), "text/plain; charset=utf-8");
    }
}
