//! What an attacker would try, against real processes; what is proved in unit tests already is tried here once a door.
//!
//! | what must not work | tests |
//! | --- | --- |
//! | a token that nobody we trust signed, for us, now | `tokens::*` (in full: `auth/attacks.rs`) |
//! | a token in a URL | `tokens::no_token_is_taken_from_a_url` |
//! | another site's page opening a socket with our cookies | `origins::only_pages_of_ours_open_sockets` |
//! | another site's page changing something with our cookies | `origins::cookies_change_nothing_for_pages_of_others` |
//! | finding out who has an account | `enumeration::a_wrong_name_and_a_wrong_password_*` |
//! | finding out which private rooms there are | `enumeration::a_private_room_of_others_is_as_absent_*` |
//! | text that becomes SQL, a pattern or a channel | `injection::*` |
//! | reading or writing without being a member, or after it | `doors::*` |
//! | an answer without its protecting headers | `headers::*`, `outage::*` |
//! | pages of others reading answers; metrics in public | `headers::only_listed_origins_*`, `headers::each_listener_*` |
//! | secrets, tokens, passwords or messages in a log | `secrets::no_secret_is_in_a_log_*` |
//! | secrets in what the command line prints | `secrets::no_command_prints_a_secret` |
//! | SQL, a driver's words or a panic's in an answer | `outage::*`, `fuzz::*` |
//! | passing for another address or host | `proxies::*` |
//! | making a task panic | `fuzz::*` |

mod doors;
mod enumeration;
mod fuzz;
mod headers;
mod injection;
mod origins;
mod outage;
mod proxies;
mod secrets;
mod tokens;

use salon::engine::http::{Account, Answer, Http, authority};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::docs;
use crate::support::node::PATIENCE;

/// A route with everything in it that a caller fills in.
struct Route {
    method: String,
    path: String,
    body: Value,
}

/// What stands for the variable parts of a path.
#[derive(Clone, Copy)]
struct Filling<'a> {
    room: &'a str,
    username: &'a str,
    /// Of a message, a login session, or whatever else is numbered or named there.
    id: &'a str,
}

/// Every route of the main listener, from the program's own table.
fn routes(filling: Filling<'_>) -> Vec<Route> {
    let mut all = Vec::new();
    for call in docs::routes().into_iter().filter(|call| call != "GET /metrics") {
        let (method, template) = call.split_once(' ').expect("a method and a path");
        let filled = template.split('/').map(|part| match part {
            "{room}" | "{slug}" => filling.room,
            "{username}" => filling.username,
            "{emoji}" => "%F0%9F%91%8D",
            part if part.starts_with('{') => filling.id,
            part => part,
        });
        let path = filled.collect::<Vec<_>>().join("/");
        all.push(Route { method: method.to_owned(), path, body: body_of(template, method) });
    }
    assert!(all.len() >= 30, "the table of routes was not found");
    all
}

/// A body that the route takes; `Null` where it takes none.
fn body_of(template: &str, method: &str) -> Value {
    match (method, template.rsplit('/').next().unwrap_or_default()) {
        ("POST", "register" | "login" | "token") => json!({"username": "somebody", "password": "a wrong password"}),
        ("POST", "password") => json!({"current": "a wrong password", "new": "another long password"}),
        ("POST", "rooms") => json!({"name": "a room"}),
        ("POST", "messages") => json!({"content": "a message"}),
        ("PATCH", "{room}") => json!({"name": "another name"}),
        ("PATCH", "{id}") => json!({"content": "another message"}),
        ("PATCH", "{username}") => json!({"disabled": true}),
        ("PUT", "{username}") => json!({"role": "member"}),
        ("PUT", "read") => json!({"seq": 1}),
        ("POST", "invites") => json!({"uses": 1}),
        _ => Value::Null,
    }
}

impl Route {
    fn changes_state(&self) -> bool {
        self.method != "GET"
    }

    /// A socket or a stream of events: its answer does not end.
    fn is_socket(&self) -> bool {
        self.path.starts_with("/ws") || self.path.ends_with("/events")
    }

    async fn ask(&self, http: &Http) -> Answer {
        self.ask_with(http, &[]).await
    }

    async fn ask_with(&self, http: &Http, headers: &[(&str, &str)]) -> Answer {
        let mut call = http.call(&self.method, &self.path).timeout(PATIENCE);
        if !self.body.is_null() {
            call = call.json(&self.body);
        }
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call.send().await.unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }
}

/// Asks for an upgrade as a browser does and gives the answer whole, also where it is a refusal.
async fn upgrade(http: &Http, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut call = http.call("GET", path);
    let usual = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in usual.iter().chain(headers) {
        call = call.header(name, value);
    }
    call.send().await.unwrap_or_else(|error| panic!("{path} {headers:?}: {error}"))
}

/// Sends bytes from the given address of this machine, and gives all that comes back until the server closes.
async fn raw_from(from: [u8; 4], base: &str, bytes: &[u8]) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address of this machine");
    let mut stream = socket.connect(authority(base).parse().expect("an address")).await.expect("a connection");
    // A server may have refused and closed before all was sent.
    let _ = stream.write_all(bytes).await;
    let mut told = Vec::new();
    // A reset after the answer, because not all was read, takes nothing away from it.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut told)).await.expect("an end in time");
    String::from_utf8_lossy(&told).into_owned()
}

async fn socket_at(url: &str, account: &Account) -> Socket {
    Opening::new(url).cookies(&account.http).welcomed().await.expect("a socket")
}

/// Every frame that names a room, for this one.
fn frames_for(room: &Value) -> Vec<Value> {
    vec![
        json!({"type": "join", "room": room}),
        json!({"type": "join", "room": room, "after": 0}),
        json!({"type": "leave", "room": room}),
        json!({"type": "send", "room": room, "content": "hello", "nonce": "n"}),
        json!({"type": "edit", "room": room, "id": 1, "content": "changed"}),
        json!({"type": "delete", "room": room, "id": 1}),
        json!({"type": "typing", "room": room}),
        json!({"type": "read", "room": room, "seq": 1}),
    ]
}
