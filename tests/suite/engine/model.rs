//! A chat server in memory: the least that the engine's clients need, and the ways in which it can lie.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, serve};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    LosesLiveFrames,
    TellsTwice,
    ForgetsAcknowledged,
    IgnoresNonces,
    StoresRefused,
    HidesOnResume,
    SkipsSeqs,
    TellsSomeOtherText,
}

pub struct Model {
    url: String,
    task: JoinHandle<()>,
}

struct World {
    lie: Option<Lie>,
    rooms: HashMap<String, Room>,
    sockets: u64,
    /// Counts what could go wrong, so that every so many does.
    chance: u64,
}

#[derive(Default)]
struct Room {
    id: usize,
    seq: u64,
    messages: BTreeMap<u64, Value>,
    listeners: HashMap<u64, UnboundedSender<Value>>,
}

type Shared = Arc<Mutex<World>>;

impl Model {
    pub async fn start(lie: Option<Lie>) -> Model {
        let world = World { lie, rooms: HashMap::new(), sockets: 0, chance: 0 };
        let router = Router::new()
            .route("/api/account/register", post(register))
            .route("/api/account/token", post(token))
            .route("/api/rooms", post(create))
            .route("/api/rooms/{room}", get(info))
            .route("/api/rooms/{room}/messages", get(history))
            .route("/ws", any(upgrade))
            .with_state(Arc::new(Mutex::new(world)));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let task = tokio::spawn(async move { serve(listener, router).await.expect("it serves") });
        Model { url, task }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn register(Json(body): Json<Value>) -> Response {
    let name = body["username"].as_str().unwrap_or("").to_owned();
    let user = json!({"user": {"id": 1, "username": name, "role": "user"}});
    (StatusCode::CREATED, [("set-cookie", format!("salon_access={name}; Path=/; HttpOnly"))], Json(user))
        .into_response()
}

async fn token(Json(body): Json<Value>) -> Json<Value> {
    Json(json!({"access_token": body["username"], "refresh_token": "none", "token_type": "Bearer", "expires_in": 900,
        "user": {"id": 1, "username": body["username"], "role": "user"}}))
}

async fn create(State(world): State<Shared>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut world = world.lock().unwrap();
    let slug = body["name"].as_str().unwrap_or("").to_owned();
    let id = world.rooms.len() + 1;
    let room = world.rooms.entry(slug.clone()).or_insert(Room { id, ..Room::default() });
    (StatusCode::CREATED, Json(room.info(&slug)))
}

async fn info(State(world): State<Shared>, Path(slug): Path<String>) -> Json<Value> {
    Json(world.lock().unwrap().rooms[&slug].info(&slug))
}

async fn history(
    State(world): State<Shared>,
    Path(slug): Path<String>,
    Query(query): Query<HashMap<String, u64>>,
) -> Json<Value> {
    let world = world.lock().unwrap();
    let page = world.rooms[&slug].messages.range(query["after"] + 1..);
    let limit = usize::try_from(query["limit"]).expect("a page's size");
    Json(page.take(limit).map(|(_, message)| message.clone()).collect())
}

async fn upgrade(State(world): State<Shared>, headers: HeaderMap, ws: WebSocketUpgrade) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let shown = [header("cookie"), header("authorization"), header("sec-websocket-protocol")];
    let found = shown.iter().zip(["salon_access=", "Bearer ", "salon.v1, bearer."]);
    let name = found.filter_map(|(shown, before)| shown.strip_prefix(before)).next().map(str::to_owned);
    let Some(name) = name else { return StatusCode::UNAUTHORIZED.into_response() };
    ws.protocols(["salon.v1"]).on_upgrade(move |socket| talk(world, name, socket))
}

async fn talk(world: Shared, user: String, mut socket: WebSocket) {
    let (out, mut queue) = unbounded_channel();
    let number = {
        let mut world = world.lock().unwrap();
        world.sockets += 1;
        world.sockets
    };
    // A closed socket is noticed by the next read.
    let limits = json!({"messages_per_s": 10, "message_burst": 20, "rooms_per_socket": 200, "content_chars": 4_000,
        "frame_bytes": 65_536});
    let _ = out.send(json!({"type": "welcome", "protocol": 1, "node": "model", "heartbeat_s": 25, "limits": limits,
        "user": {"id": 1, "username": user, "role": "user"}}));
    loop {
        tokio::select! {
            frame = queue.recv() => {
                let Some(frame) = frame else { break };
                if socket.send(Message::Text(frame.to_string().into())).await.is_err() {
                    break;
                }
            }
            incoming = socket.recv() => {
                let Some(Ok(Message::Text(text))) = incoming else { break };
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if !world.lock().unwrap().take(&user, number, &frame, &out) {
                    break;
                }
            }
        }
    }
    world.lock().unwrap().rooms.values_mut().for_each(|room| drop(room.listeners.remove(&number)));
}

impl World {
    /// Handles a frame; `false` breaks the connection.
    fn take(&mut self, user: &str, socket: u64, frame: &Value, out: &UnboundedSender<Value>) -> bool {
        self.chance += 1;
        let (lie, chance) = (self.lie, self.chance);
        let answer = |value: Value| drop(out.send(value));
        let name = frame["room"].as_str().unwrap_or("").to_owned();
        match frame["type"].as_str().unwrap_or("") {
            "join" => {
                for ask in frame["rooms"].as_array().into_iter().flatten() {
                    let slug = ask["room"].as_str().unwrap_or("").to_owned();
                    let room = self.rooms.get_mut(&slug).expect("a room of the test");
                    room.listeners.insert(socket, out.clone());
                    answer(room.joined(&slug, ask["after"].as_u64(), lie));
                }
            }
            "leave" => {
                self.rooms.get_mut(&name).expect("a room").listeners.remove(&socket);
                answer(json!({"type": "left", "room": name}));
            }
            // Certainly not done, and soon possible again.
            "send" if chance.is_multiple_of(31) => {
                let refusal = json!({"type": "error", "ref": frame["ref"], "room": name, "code": "rate_limited",
                    "detail": "slowly", "retry_after_ms": 10});
                answer(refusal);
            }
            "send" if lie == Some(Lie::StoresRefused) && chance.is_multiple_of(17) => {
                self.change(user, &name, frame);
                answer(
                    json!({"type": "error", "ref": frame["ref"], "room": name, "code": "forbidden", "detail": "no"}),
                );
            }
            _ => {
                let told = self.change(user, &name, frame);
                if chance.is_multiple_of(43) {
                    answer(json!({"type": "reconnect", "within_ms": 50, "reason": "draining"}));
                }
                if chance.is_multiple_of(41) {
                    // Done, and the client does not learn of it.
                    return false;
                }
                if chance.is_multiple_of(37) {
                    answer(json!({"type": "error", "ref": frame["ref"], "code": "unavailable", "detail": "who knows"}));
                } else {
                    answer(told);
                }
            }
        }
        true
    }

    /// Does it and tells the room; gives the answer.
    fn change(&mut self, user: &str, slug: &str, frame: &Value) -> Value {
        let (lie, chance) = (self.lie, self.chance);
        let room = self.rooms.get_mut(slug).expect("a room of the test");
        let ack = |id: u64, seq: u64, duplicate: bool| json!({"type": "ack", "ref": frame["ref"], "room": slug, "id": id, "seq": seq, "duplicate": duplicate});
        let mut next = room.seq + 1 + u64::from(lie == Some(Lie::SkipsSeqs) && chance.is_multiple_of(19));
        let mut message = if frame["type"] == "send" {
            let same = room.messages.values().find(|m| m["nonce"] == frame["nonce"] && m["author"] == user);
            if let (Some(same), true) = (same, lie != Some(Lie::IgnoresNonces)) {
                return ack(same["id"].as_u64().unwrap_or(0), same["seq"].as_u64().unwrap_or(0), true);
            }
            json!({"type": "chat_message", "room": slug, "room_id": room.id, "id": next, "author": user, "author_id": 1,
                "content": frame["content"], "created_at": "then", "edited_at": null, "deleted": false,
                "reply_to": null, "nonce": frame["nonce"]})
        } else {
            let id = frame["id"].as_u64().unwrap_or(0);
            let Some(message) = room.messages.get(&id).cloned() else {
                return json!({"type": "error", "ref": frame["ref"], "code": "not_found", "detail": "gone"});
            };
            let (edit, gone) = (frame["type"] == "edit", message["deleted"] == true);
            if edit && gone {
                return json!({"type": "error", "ref": frame["ref"], "code": "conflict", "detail": "gone"});
            }
            if gone || (edit && message["content"] == frame["content"]) {
                return ack(id, message["seq"].as_u64().unwrap_or(0), false);
            }
            let mut message = message;
            message["type"] = json!(if edit { "message_edited" } else { "message_deleted" });
            message["content"] = if edit { frame["content"].clone() } else { json!("") };
            message["deleted"] = json!(!edit);
            message
        };
        let id = message["id"].as_u64().unwrap_or(0);
        message["seq"] = json!(next);
        if lie == Some(Lie::ForgetsAcknowledged) && frame["type"] == "send" && chance.is_multiple_of(23) {
            return ack(id, next, false);
        }
        std::mem::swap(&mut room.seq, &mut next);
        room.messages.insert(id, message.clone());
        room.tell(&message, lie, chance);
        ack(id, room.seq, false)
    }
}

impl Room {
    fn info(&self, slug: &str) -> Value {
        json!({"id": self.id, "slug": slug, "name": slug, "topic": "", "kind": "public", "epoch": "e", "seq": self.seq,
            "role": "member", "last_read": 0, "unread": 0, "mentions": 0, "online": 0})
    }

    fn joined(&self, slug: &str, after: Option<u64>, lie: Option<Lie>) -> Value {
        let seq_of = |message: &Value| message["seq"].as_u64().unwrap_or(0);
        let mut messages: Vec<Value> = self.messages.values().cloned().collect();
        let mut more = false;
        if let Some(after) = after {
            messages.retain(|message| seq_of(message) > after);
            messages.sort_by_key(seq_of);
            if lie == Some(Lie::HidesOnResume) {
                messages.truncate(messages.len().saturating_sub(1));
            }
        } else if messages.len() > 50 {
            messages.drain(..messages.len() - 50);
            more = true;
        }
        let users: HashSet<&str> = HashSet::new();
        json!({"type": "joined", "room": slug, "info": self.info(slug), "epoch": "e", "seq": self.seq,
            "messages": messages, "more": more, "reset": false, "users": users, "user_count": 0})
    }

    fn tell(&self, message: &Value, lie: Option<Lie>, chance: u64) {
        for (place, listener) in self.listeners.values().enumerate() {
            let unlucky = place == 0 && chance.is_multiple_of(29);
            let mut told = message.clone();
            if unlucky && lie == Some(Lie::TellsSomeOtherText) {
                told["content"] = json!("something else");
            }
            let times = match lie {
                Some(Lie::LosesLiveFrames) if unlucky => 0,
                Some(Lie::TellsTwice) if unlucky => 2,
                _ => 1,
            };
            for _ in 0..times {
                // A closed socket is noticed by the next read.
                let _ = listener.send(told.clone());
            }
        }
    }
}
