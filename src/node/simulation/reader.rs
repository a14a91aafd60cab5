//! What a reader of one socket holds of its rooms, and every promise it can check by itself or against the truth.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use serde_json::Value;

use super::store::Store;
use crate::model::{MessageId, Seq};

#[derive(Default)]
pub struct Reader {
    rooms: HashMap<usize, Held>,
    /// Answers that were put into the queue and not read yet: none may be lost or change its place.
    pub answers: VecDeque<String>,
}

/// What is held of one room; kept over a leave, for the resumption.
#[derive(Default)]
pub struct Held {
    pub joined: bool,
    /// The seq up to which all was told.
    pub seq: Seq,
    /// Up to where nothing is claimed: what was not changed since the reader first came.
    pub since: Seq,
    pub messages: BTreeMap<MessageId, Value>,
    pub online: BTreeSet<String>,
}

impl Reader {
    pub fn held(&self, room: usize) -> Option<&Held> {
        self.rooms.get(&room)
    }

    /// Takes one frame off the wire.
    pub fn read(&mut self, text: &Bytes, stores: &[&Store]) {
        let frame: Value = serde_json::from_slice(text).expect("a frame is JSON");
        let kind = frame["type"].as_str().expect("a frame has a type");
        if matches!(kind, "pong" | "joined" | "left") {
            let expected = self.answers.pop_front().expect("no answer is read that was not given");
            assert_eq!(text.as_ref(), expected.as_bytes(), "answers are read in order, none is lost");
        }
        if kind == "pong" {
            return;
        }
        let slug = frame["room"].as_str().expect("what is left concerns a room");
        let room = stores.iter().position(|store| store.slug.as_str() == slug).expect("the room exists");
        let held = self.rooms.entry(room).or_default();
        match kind {
            "joined" => held.join(&frame, stores[room]),
            "left" => held.joined = false,
            _ => {
                assert!(held.joined, "told after leaving: {frame}");
                match kind {
                    "user_join" => drop(held.online.insert(name(&frame["user"]))),
                    "user_leave" => drop(held.online.remove(&name(&frame["user"]))),
                    "user_list" => held.online = names(&frame["users"]),
                    _ => held.change(frame, stores[room]),
                }
            }
        }
    }
}

impl Held {
    fn join(&mut self, frame: &Value, store: &Store) {
        let seq = number(&frame["seq"]);
        if frame["fresh"] == true {
            self.messages.clear();
            self.since = seq;
        }
        self.joined = true;
        self.seq = seq;
        self.online = names(&frame["users"]);
        for message in frame["messages"].as_array().expect("joined has messages") {
            assert!(number(&message["seq"]) <= seq, "joined tells of what lies beyond it");
            self.put(message.clone(), store);
        }
    }

    fn change(&mut self, frame: Value, store: &Store) {
        let seq = number(&frame["seq"]);
        let from = frame.get("from").map_or(seq, number);
        assert!(seq > self.seq, "{seq} was told after {}", self.seq);
        assert_eq!(from, self.seq + 1, "{seq} came after {} and must declare what lies between", self.seq);
        assert!(from < seq || frame.get("from").is_none(), "a hole is declared where there is none: {frame}");
        for skipped in self.seq + 1..seq {
            assert!(store.is_void(skipped), "{skipped} was skipped between {} and {seq} but holds", self.seq);
        }
        self.seq = seq;
        self.put(frame, store);
    }

    fn put(&mut self, message: Value, store: &Store) {
        let (id, seq) = (number(&message["id"]), number(&message["seq"]));
        let truth = store.change(seq);
        assert_eq!((id, message["content"].as_str()), (truth.id, Some(truth.content.as_str())), "as told at {seq}");
        if self.messages.get(&id).is_none_or(|held| number(&held["seq"]) < seq) {
            self.messages.insert(id, message);
        }
    }

    /// When everything was repaired and read: what changed since the reader came is as the store has it.
    pub fn is_complete(&self, store: &Store, online: &BTreeSet<String>) {
        for message in store.present().filter(|message| message.seq > self.since) {
            let held = self.messages.get(&message.id).map(|held| number(&held["seq"]));
            assert_eq!(held, Some(message.seq), "message {} is not held as it is", message.id);
        }
        for (id, held) in self.messages.iter().filter(|(id, _)| !store.is_purged(**id)) {
            assert!(!store.is_void(number(&held["seq"])), "message {id} is held as it was");
        }
        assert_eq!(self.online, *online, "who is online");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn name(value: &Value) -> String {
    value.as_str().expect("a name").to_owned()
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().expect("names").iter().map(name).collect()
}
