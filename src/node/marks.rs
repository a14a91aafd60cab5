//! Read marks: gathered, written together about once a second, and told to the user's other sockets when they have
//! moved. What was not written when a process is killed is lost: at most the marks of those last seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Node;
use crate::broker::Channel;
use crate::error::{Error, Result};
use crate::model::{RoomId, RoomRef, Seq, Slug, User, UserId};
use crate::protocol::envelope::{Envelope, Notice, ReadMark};
use crate::protocol::frames::ServerFrame;
use crate::store::{Mark, Standing};

/// How long marks are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// Marks written in one statement, and told in one notice.
const CHUNK: usize = 1_000;
/// Marks waiting to be written; the database is away when there are as many, and further ones are dropped.
const WAITING_MAX: usize = 100_000;

#[derive(Default)]
pub struct Marks {
    waiting: Mutex<Waiting>,
    work: Notify,
    /// Held while marks are written: who comes meanwhile writes what has gathered by then.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    of: HashMap<UserId, HashMap<RoomId, Wish>>,
    count: usize,
}

#[derive(Clone)]
struct Wish {
    seq: Seq,
    slug: Slug,
    /// The socket that said so, which need not be told.
    by: Option<u64>,
}

impl Marks {
    /// `false`: there is no room for another one.
    fn add(&self, user: UserId, room: RoomId, wish: Wish) -> bool {
        let mut waiting = self.lock();
        let Waiting { of, count } = &mut *waiting;
        let of = of.entry(user).or_default();
        match of.get_mut(&room) {
            Some(known) if known.seq >= wish.seq => {}
            Some(known) => *known = wish,
            None if *count < WAITING_MAX => {
                of.insert(room, wish);
                *count += 1;
            }
            None => return false,
        }
        drop(waiting);
        self.work.notify_one();
        true
    }

    fn take(&self) -> Vec<(Mark, Wish)> {
        let Waiting { of, .. } = std::mem::take(&mut *self.lock());
        let marks = of.into_iter().flat_map(|(user, rooms)| {
            rooms.into_iter().map(move |(room, wish)| (Mark { user, room, seq: wish.seq }, wish))
        });
        marks.collect()
    }

    fn is_waiting_for(&self, user: UserId) -> bool {
        self.lock().of.contains_key(&user)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Notes how far a user has read; written within about a second. `by` is the socket that says so.
    pub async fn note_read(self: &Arc<Self>, who: &User, room: &RoomRef, seq: Seq, by: u64) -> Result<()> {
        let here = self.hub.address(room).filter(|(id, _)| {
            self.hub.sessions_of(who.id).iter().any(|session| session.id == by && session.standing(*id).is_some())
        });
        let (id, slug) = match here {
            Some(address) => address,
            // Not in it: then only the store may say whether they may be.
            None => self.markable(who, room).await?,
        };
        if self.marks.add(who.id, id, Wish { seq, slug, by: Some(by) }) {
            return Ok(());
        }
        Err(too_many())
    }

    /// The same for a caller who waits until it is written.
    pub async fn mark_read(self: &Arc<Self>, who: &User, room: &RoomRef, seq: Seq) -> Result<()> {
        let (id, slug) = self.markable(who, room).await?;
        if !self.marks.add(who.id, id, Wish { seq, slug, by: None }) {
            return Err(too_many());
        }
        self.write_marks().await
    }

    /// Writes what a user said on this node and is waiting, before the user is shown rooms by this node.
    pub(super) async fn settle_marks(self: &Arc<Self>, user: UserId) {
        if self.marks.is_waiting_for(user) {
            // Rooms are shown all the same when it fails; the marks go on waiting.
            self.write_marks().await.ok();
        }
    }

    /// Writes all marks that wait. One writes at a time, so many callers come to few statements.
    pub(super) async fn write_marks(self: &Arc<Self>) -> Result<()> {
        // Not cancelled with its caller: what was taken must be written, or put back.
        let node = self.clone();
        let written = tokio::spawn(async move { node.write_waiting().await }).await;
        written.unwrap_or_else(|error| Err(Error::Internal(format!("read marks: {error}"))))
    }

    /// Runs beside the sockets.
    pub(super) async fn gather_marks(self: Arc<Self>) {
        loop {
            self.marks.work.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.write_marks().await {
                tracing::debug!(%error, "read marks could not be written yet");
            }
        }
    }

    /// What another node wrote.
    pub(super) fn heard_read(&self, marks: &[ReadMark]) {
        for mark in marks {
            self.tell_read(mark.user, &Slug::from_stored(mark.room.clone()), mark.seq, None);
        }
    }

    /// The room, if this user may read it now and has a mark in it.
    async fn markable(&self, who: &User, room: &RoomRef) -> Result<(RoomId, Slug)> {
        match self.find(who, room).await? {
            (id, slug, Standing::Member(_)) => Ok((id, slug)),
            _ => Err(Error::Forbidden("only members of a room have a read mark in it".to_owned())),
        }
    }

    async fn write_waiting(&self) -> Result<()> {
        let _writing = self.marks.writing.lock().await;
        let mut waiting = self.marks.take();
        while !waiting.is_empty() {
            let chunk = waiting.split_off(waiting.len().saturating_sub(CHUNK));
            let marks: Vec<Mark> = chunk.iter().map(|(mark, _)| *mark).collect();
            match self.store.move_marks(&marks).await {
                Ok(moved) => self.tell_moved(&moved, &chunk),
                Err(error) => {
                    for (mark, wish) in chunk.into_iter().chain(waiting) {
                        self.marks.add(mark.user, mark.room, wish);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn tell_moved(&self, moved: &[Mark], wishes: &[(Mark, Wish)]) {
        let wishes: HashMap<(UserId, RoomId), &Wish> =
            wishes.iter().map(|(mark, wish)| ((mark.user, mark.room), wish)).collect();
        let mut told = Vec::with_capacity(moved.len());
        for mark in moved {
            let Some(wish) = wishes.get(&(mark.user, mark.room)) else { continue };
            self.tell_read(mark.user, &wish.slug, mark.seq, wish.by);
            told.push(ReadMark { user: mark.user, room: wish.slug.as_str().to_owned(), seq: mark.seq });
        }
        if !told.is_empty() {
            // One notice for all of them: it costs the broker the same however many read.
            let notice = Notice::Read { incarnation: self.incarnation.0.clone(), marks: told };
            self.broker.publish(Channel::Cluster, Envelope::from(notice).encode());
        }
    }

    fn tell_read(&self, user: UserId, room: &Slug, seq: Seq, except: Option<u64>) {
        let address = self.hub.address(&RoomRef::Slug(room.clone()));
        self.hub.to_user(user, &ServerFrame::Read { room, seq }.encode(), |session| {
            // A stream is told of its own room only.
            let concerned =
                session.is_socket() || address.as_ref().is_some_and(|(id, _)| session.standing(*id).is_some());
            concerned && Some(session.id) != except
        });
    }
}

fn too_many() -> Error {
    Error::unavailable("too many read marks are waiting to be written; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(seq: Seq, by: u64) -> Wish {
        Wish { seq, slug: Slug::from_stored("general".into()), by: Some(by) }
    }

    #[test]
    fn the_furthest_mark_waits_and_their_number_is_bounded() {
        let marks = Marks::default();
        for (seq, by) in [(5, 1), (7, 2), (6, 3)] {
            assert!(marks.add(UserId(1), RoomId(1), wish(seq, by)));
        }
        assert!(marks.is_waiting_for(UserId(1)) && !marks.is_waiting_for(UserId(2)));
        let taken = marks.take();
        assert_eq!((taken.len(), taken[0].0.seq, taken[0].1.by), (1, 7, Some(2)));
        assert!(marks.take().is_empty() && !marks.is_waiting_for(UserId(1)));
        for room in 0..WAITING_MAX {
            assert!(marks.add(UserId(1), RoomId(room as i64), wish(1, 1)));
        }
        assert!(!marks.add(UserId(2), RoomId(0), wish(1, 1)));
        assert!(marks.add(UserId(1), RoomId(0), wish(2, 1)), "a known one moves on");
    }
}
