//! The wire as it stands in `golden/*.json`: conversations, both directions, frame by frame and field by field.
//!
//! A file names its sockets and its steps. `send` is what that client says; `expect` is the next frame of that type
//! that it is told, whole; `call` is an HTTP request with the answer's `status` and `body`. What differs from run to
//! run stands as `<id>`, `<time>`, `<epoch>`, `<token>`, `<slug>`, `<sentence>`; everything else must be the same to the letter, and at
//! the end nobody may have been told anything more.

use std::collections::{BTreeMap, HashMap};

use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::node::Single;

const CONVERSATIONS: &[(&str, &str)] = &[
    ("messages", include_str!("golden/messages.json")),
    ("joining", include_str!("golden/joining.json")),
    ("errors", include_str!("golden/errors.json")),
    ("people", include_str!("golden/people.json")),
    ("shorthand", include_str!("golden/shorthand.json")),
    ("http", include_str!("golden/http.json")),
    ("reading", include_str!("golden/reading.json")),
    ("login-sessions", include_str!("golden/login-sessions.json")),
    ("moderation", include_str!("golden/moderation.json")),
];

#[derive(Deserialize)]
struct Conversation {
    /// Public rooms made before, by the first user.
    rooms: Vec<String>,
    /// Name to user and path; opened in the order of their names.
    sockets: BTreeMap<String, Door>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Door {
    user: String,
    path: String,
}

#[derive(Deserialize)]
struct Step {
    /// A socket's name, or for `call` a user's.
    who: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Send(Value),
    Expect(Value),
    Call(Call),
}

#[derive(Deserialize)]
struct Call {
    method: String,
    path: String,
    #[serde(default)]
    send: Option<Value>,
    status: u16,
    #[serde(default)]
    body: Value,
}

/// A socket and the frames that came while another type was waited for.
struct Ear {
    socket: Socket,
    heard: Vec<Value>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_is_as_it_is_written_down() {
    let single = Single::start_with(&[("SALON_NODE__NAME", "golden")]).await;
    let mut users = HashMap::new();
    for name in ["ada", "bea"] {
        users.insert(name, Account::register(&single.url(), name).await.expect("registration"));
    }
    for (name, text) in CONVERSATIONS {
        let conversation: Conversation = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        play(name, conversation, &single, &users).await;
    }
}

#[test]
fn the_conversations_can_be_read() {
    for (name, text) in CONVERSATIONS {
        let conversation: Conversation = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for step in &conversation.steps {
            let known = match &step.what {
                What::Send(_) | What::Expect(_) => conversation.sockets.contains_key(&step.who),
                What::Call(_) => ["ada", "bea"].contains(&step.who.as_str()),
            };
            assert!(known, "{name}.json knows no {}", step.who);
        }
    }
}

async fn play(name: &str, conversation: Conversation, single: &Single, users: &HashMap<&str, Account>) {
    let rooms = conversation.rooms;
    for room in &rooms {
        let made = users["ada"].http.create_room(room, "public").await.expect("a room");
        assert_eq!(made.slug, *room, "{name}: the rooms of the files must differ");
    }
    let mut ears: BTreeMap<String, Ear> = BTreeMap::new();
    for (socket, door) in &conversation.sockets {
        let opening = Opening::new(&single.url()).cookies(&users[door.user.as_str()].http).path(&door.path);
        let socket_of = opening.open().await.unwrap_or_else(|refused| panic!("{name}, {socket}: {refused:?}"));
        ears.insert(socket.clone(), Ear { socket: socket_of, heard: Vec::new() });
    }
    for (number, step) in conversation.steps.into_iter().enumerate() {
        let place = format!("{name}.json, step {number} ({})", step.who);
        match step.what {
            What::Send(frame) => ears.get_mut(&step.who).expect(&place).socket.send(frame).await.expect(&place),
            What::Expect(frame) => {
                let told = ears.get_mut(&step.who).expect(&place).next(&frame["type"], &place).await;
                assert_eq!(normal(told), frame, "{place}");
            }
            What::Call(call) => {
                let request = users[step.who.as_str()].http.call(&call.method, &call.path);
                let request = if let Some(body) = &call.send { request.json(body) } else { request };
                let answer = request.send().await.expect(&place);
                assert_eq!((answer.status, normal(answer.json())), (call.status, call.body), "{place}");
            }
        }
    }
    for (socket, mut ear) in ears {
        ear.heard.extend(ear.socket.drained().await.expect("alive"));
        // The conversation before may still be news to who has just come.
        let is_of_before = |frame: &Value| {
            frame["type"] == "unread" && !frame["room"].as_str().is_some_and(|room| rooms.iter().any(|own| own == room))
        };
        ear.heard.retain(|frame| !is_of_before(frame));
        assert!(ear.heard.is_empty(), "{name}.json, {socket}: told more than is written down: {:#?}", ear.heard);
    }
}

impl Ear {
    async fn next(&mut self, kind: &Value, place: &str) -> Value {
        if let Some(found) = self.heard.iter().position(|frame| frame["type"] == *kind) {
            return self.heard.remove(found);
        }
        let patience = salon::engine::socket::PATIENCE;
        let told = self.socket.expect_where(&kind.to_string(), patience, |frame| frame["type"] == *kind).await;
        self.heard.append(&mut self.socket.passed);
        told.unwrap_or_else(|error| panic!("{place}: {error}"))
    }
}

/// What differs from run to run replaced by what it is.
fn normal(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = normal(item.take())),
        Value::Object(fields) => {
            // The id of a message is the same every time; that of a user, a room or a login session is not.
            let named = ["username", "slug", "agent"].iter().any(|field| fields.contains_key(*field));
            let opaque = fields.get("kind").is_some_and(|kind| kind == "direct");
            for (key, field) in fields.iter_mut() {
                let changing = match key.as_str() {
                    "room_id" | "author_id" | "user_id" => "<id>",
                    "slug" if opaque => "<slug>",
                    "id" if named => "<id>",
                    "created_at" | "edited_at" | "expires_at" | "joined_at" | "last_seen_at" => "<time>",
                    "access_token" | "refresh_token" => "<token>",
                    "epoch" => "<epoch>",
                    "detail" | "title" => "<sentence>",
                    "limits" => "<limits>",
                    _ => "",
                };
                *field = match field.take() {
                    Value::Null => Value::Null,
                    told if changing.is_empty() => normal(told),
                    _ => json!(changing),
                };
            }
        }
        _ => {}
    }
    value
}
