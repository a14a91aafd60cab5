//! One socket of the simulated node: its session, who reads it, and what its reader and its writer wait for.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;

use super::reader::Reader;
use super::store::Store;
use super::world::Place;
use super::{Sizes, Wish};
use crate::model::{Seq, SiteRole, User, UserId, Username};
use crate::node::catch_up::{Meeting, Page, Start, meet, take_page};
use crate::node::queue::Budget;
use crate::node::session::{Kind, Proof, Session, Work};
use crate::presence::Incarnation;

pub struct Socket {
    pub session: Arc<Session>,
    pub reader: Reader,
    join: Option<Join>,
    catching_up: Option<CatchUp>,
}

struct Join {
    room: usize,
    start: Start,
    fresh: bool,
}

enum CatchUp {
    Asked { room: usize, after: Seq },
    Read { room: usize, page: Page },
}

impl Socket {
    pub fn new(id: usize, sizes: &Sizes, budget: &Budget) -> Self {
        let username = Username::from_stored(format!("reader-{id}"));
        let user = User { id: UserId(id as i64), username, role: SiteRole::User };
        let proof = Proof { login_session: None, issued_at: None, expires_at: None };
        let (from, budget) = (Ipv4Addr::LOCALHOST.into(), budget.clone());
        let session = Session::new(id as u64, Kind::Socket, user, from, proof, sizes.queue_bytes, budget);
        Self { session, reader: Reader::default(), join: None, catching_up: None }
    }

    pub fn page_under_way(&self) -> Option<Seq> {
        match &self.catching_up {
            Some(CatchUp::Read { page, .. }) => Some(page.after),
            _ => None,
        }
    }

    pub fn answer(&mut self, text: String) {
        self.reader.answers.push_back(text.clone());
        self.session.control(text);
    }

    /// Reads what `joined` will tell; before it is entered, anything may happen.
    pub fn join(&mut self, room: usize, wish: Wish, rooms: &mut [Place], sizes: &Sizes) {
        // Who waits for a `joined` does not know yet from where to resume.
        let waits = self.reader.answers.iter().any(|answer| answer.contains("joined"));
        if self.enter(rooms) || waits || !rooms[room].is_open() {
            return;
        }
        let known = self.reader.held(room).map_or(0, |held| held.seq);
        let (after, limit) = match wish {
            Wish::Fresh { limit } => (None, limit),
            Wish::Resume { limit, back } => (Some(known.saturating_sub(back)), limit),
            Wish::Beyond { limit } => (Some(rooms[room].store.head() + 1), limit),
        };
        // Who never was in the room holds nothing that it could resume.
        let after = after.filter(|_| self.reader.held(room).is_some());
        let start = rooms[room].past(after, limit, sizes);
        let fresh = after.is_none() || start.reset;
        match after {
            Some(after) if !fresh => {
                rooms[room].is_all_after(after, start.seq, start.frames.iter().map(|frame| frame.seq));
            }
            _ => rooms[room].is_latest(&start, limit),
        }
        self.join = Some(Join { room, start, fresh });
    }

    pub fn enter(&mut self, rooms: &[Place]) -> bool {
        let Some(Join { room, start, fresh }) = self.join.take() else { return false };
        let place = &rooms[room];
        let mut inner = place.room.lock();
        inner.add(&self.session, &Incarnation("here".into()));
        let texts = start.frames.iter().map(|frame| std::str::from_utf8(&frame.text).expect("frames are text"));
        let messages = texts.collect::<Vec<_>>().join(",");
        let users: Vec<_> = inner.listed().0.iter().map(|user| format!("{:?}", user.as_str())).collect();
        let joined = format!(
            r#"{{"type":"joined","room":"{}","seq":{},"fresh":{fresh},"users":[{}],"messages":[{messages}]}}"#,
            place.store.slug.as_str(),
            start.seq,
            users.join(","),
        );
        self.reader.answers.push_back(joined.clone());
        self.session.enter(place.room.id, start.seq, joined);
        meet(&inner, &self.session);
        true
    }

    pub fn leave(&mut self, room: usize, rooms: &mut [Place]) {
        if !self.enter(rooms) {
            self.take_out(room, rooms);
        }
    }

    pub fn take_out(&mut self, room: usize, rooms: &[Place]) {
        let place = &rooms[room];
        let left = format!(r#"{{"type":"left","room":"{}"}}"#, place.store.slug.as_str());
        let mut inner = place.room.lock();
        if self.session.leave(place.room.id, Some(left.clone())) {
            self.reader.answers.push_back(left);
        }
        if inner.remove(&self.session) {
            inner.leave_for_good(self.session.username(), &Incarnation("here".into()));
        }
    }

    /// The writer's next step; `false`: it has nothing to do.
    pub fn write(&mut self, bytes: usize, rooms: &mut [Place], sizes: &Sizes) -> bool {
        match self.catching_up.take() {
            Some(step) => self.catch_up(step, rooms, sizes),
            None => match self.session.work(bytes) {
                None => return false,
                Some(Work::Close(_)) => unreachable!("nobody closes"),
                Some(Work::CatchUp { room, after }) => {
                    let room = room.0 as usize - 1;
                    if meet(&rooms[room].room.lock(), &self.session) == Meeting::OutOfReach {
                        let after = self.session.standing(rooms[room].room.id).map_or(after, |(seq, _)| seq);
                        self.catching_up = Some(CatchUp::Asked { room, after });
                    }
                }
                Some(Work::Write(frames)) => self.read(&frames, rooms),
            },
        }
        true
    }

    fn catch_up(&mut self, step: CatchUp, rooms: &[Place], sizes: &Sizes) {
        match step {
            CatchUp::Asked { room, after } => {
                let store = &rooms[room].store;
                let page = Page::read(after, store.changes_after(after, sizes.page), &store.slug);
                self.catching_up = Some(CatchUp::Read { room, page });
            }
            CatchUp::Read { room, page } => {
                take_page(&rooms[room].room, &self.session, &page);
            }
        }
    }

    fn read(&mut self, frames: &[Bytes], rooms: &[Place]) {
        let stores: Vec<&Store> = rooms.iter().map(|place| &place.store).collect();
        for text in frames {
            self.reader.read(text, &stores);
        }
    }
}
