//! Entering a room, coming back to it, falling behind in it: one way, from a cursor to live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::catch_up::{Meeting, Page, Start, frames, meet, take_page};
use super::hub::CHANGES_PAGE;
use super::room::{Inner, Room};
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::{Epoch, RoomId, RoomInfo, RoomRef, Seq, Slug};
use crate::protocol::frames::{Joined, ServerFrame};
use crate::protocol::incoming::{Echo, JOIN_LIMIT_DEFAULT, JoinWish};
use crate::store::Around;

/// A resume that would take more changes than this starts anew from the latest page instead.
const RESUME_MAX: u32 = 500;
/// A room that closes or starts anew under a joiner is entered again; more than once in a row is a defect.
const REENTRIES_MAX: u32 = 5;
/// Before a socket is told again to start anew that could not be told because the store was away.
const RESET_RETRY: Duration = Duration::from_millis(250);
/// What a joiner waits at most for this node to have all that was committed before it asked.
const HEAD_WAIT: Duration = Duration::from_secs(2);
/// Before a page that the store did not give is asked for again.
const CATCH_UP_RETRY: Duration = Duration::from_millis(250);

impl Node {
    /// Enters a room as the wish says and puts `joined` into the session's queue; live frames follow it.
    pub async fn join(self: &Arc<Self>, session: &Arc<Session>, wish: &JoinWish, echo: &Echo) -> Result<()> {
        self.settle_marks(session.user.id).await;
        let mut info = self.enters.ask((session.user.id, wish.room.clone())).await??;
        self.hub.note_address(info.id, &info.slug);
        self.watch.refresh(session.user.id, info.id);
        for _ in 0..REENTRIES_MAX {
            let room = self.open_room(info.id, &info.slug).await?;
            let epoch = room.lock().epoch.clone();
            if info.epoch == epoch {
                // The beacon looks at rooms with sockets only, and this may be the first one for a while.
                room.lock().gate.memory_mut().purge(info.purged);
                self.reach(&room, info.seq).await?;
            }
            let start = self.past(&room, wish).await?;
            let mut inner = room.lock();
            // Closed, or begun anew with another clock, since its past was read.
            if inner.closed || inner.epoch != epoch {
                continue;
            }
            let rooms_max = self.config.limits.rooms_per_socket;
            if session.standing(room.id).is_none() && session.room_count() >= rooms_max {
                return Err(Error::TooLarge(format!("at most {rooms_max} rooms on one socket")));
            }
            self.enter(session, &mut inner, start, &mut info, echo.reference.as_ref());
            return Ok(());
        }
        Err(Error::unavailable("the room is being closed; try again"))
    }

    /// The socket leaves the room, also when it was not in; membership stays.
    pub async fn leave(&self, session: &Arc<Session>, room: &RoomRef, echo: &Echo) -> Result<()> {
        let (id, slug) = match self.hub.address(room) {
            Some(address) if session.standing(address.0).is_some() => address,
            // Not in it: then only the store may say that there is such a room for them.
            _ => self.locate_afresh(&session.user, room).await?,
        };
        self.take_out(session, id, String::new());
        session.answer(&ServerFrame::Left { reference: echo.reference.as_ref(), room: &slug });
        Ok(())
    }

    /// The socket is gone.
    pub fn disconnect(&self, session: &Arc<Session>) {
        if !session.mark_gone() {
            return;
        }
        for room in session.rooms() {
            self.forget_session(session, room);
        }
        self.hub.dismiss(session);
    }

    /// Gives a room that is catching up its next page, or makes it live when it has met the gate. Waits a moment when
    /// the store gives nothing now: whoever asked asks again.
    pub async fn catch_up(self: &Arc<Self>, session: &Arc<Session>, id: RoomId, after: Seq) {
        if let Err(error) = self.next_page(session, id, after).await {
            tracing::debug!(%error, "a page to catch up with could not be read yet");
            tokio::time::sleep(CATCH_UP_RETRY).await;
        }
    }

    async fn next_page(self: &Arc<Self>, session: &Arc<Session>, id: RoomId, after: Seq) -> Result<()> {
        metrics::counter!(crate::telemetry::metric::CATCH_UPS).increment(1);
        let Some(room) = self.hub.room(id).filter(|room| room.opened.initialized()) else {
            // The room is kept as long as somebody is in it: it can only have been deleted.
            self.take_out(session, id, String::new());
            return Ok(());
        };
        if meet(&room.lock(), session) != Meeting::OutOfReach {
            return Ok(());
        }
        let after = session.standing(id).map_or(after, |(seq, _)| seq);
        let page = self.store.changes_after(id, after, CHANGES_PAGE).await?.ok_or_else(Error::room_not_found)?;
        take_page(&room, session, &Page::read(after, page, &room.slug));
        Ok(())
    }

    /// Throws a session out of a room; `last` (if not empty) is the last thing it hears of it.
    pub(super) fn take_out(&self, session: &Arc<Session>, room: RoomId, last: String) -> bool {
        let last = Some(last).filter(|last| !last.is_empty());
        let Some(room) = self.hub.room(room) else { return session.leave(room, last) };
        // Under the room's lock, as entering is: who comes again meanwhile is in the room or not, never half.
        let mut inner = room.lock();
        let was_in = session.leave(room.id, last);
        if inner.remove(session) {
            self.comings.leaving(room.id, session.username());
        }
        was_in
    }

    /// Every socket in the room starts anew, told so by a `joined` nobody asked for. Goes on until each was told, left,
    /// or the room began anew once more.
    pub(super) async fn reset_sessions(self: &Arc<Self>, room: &Arc<Room>) {
        let (epoch, mut untold) = {
            let inner = room.lock();
            (inner.epoch.clone(), inner.sessions().to_vec())
        };
        loop {
            let mut still_untold = Vec::new();
            for session in untold {
                if let Err(Error::Unavailable(_) | Error::Internal(_)) = self.reset(room, &session, &epoch).await {
                    still_untold.push(session);
                }
            }
            if still_untold.is_empty() {
                return;
            }
            untold = still_untold;
            tokio::time::sleep(RESET_RETRY).await;
        }
    }

    async fn reset(self: &Arc<Self>, room: &Arc<Room>, session: &Arc<Session>, epoch: &Epoch) -> Result<()> {
        let wish = JoinWish { room: RoomRef::Id(room.id), after: None, epoch: None, limit: JOIN_LIMIT_DEFAULT };
        // Who may not enter any more is seen to where access is checked.
        let mut info = self.enters.ask((session.user.id, wish.room.clone())).await??;
        let start = Start { reset: true, ..self.past(room, &wish).await? };
        let mut inner = room.lock();
        if inner.epoch == *epoch && session.standing(room.id).is_some() {
            self.enter(session, &mut inner, start, &mut info, None);
        }
        Ok(())
    }

    fn forget_session(&self, session: &Session, room: RoomId) {
        if let Some(room) = self.hub.room(room)
            && room.lock().remove(session)
        {
            self.comings.leaving(room.id, session.username());
        }
    }

    /// Who comes from another node has perhaps seen what our hints have not told yet, and the store said so when it let
    /// them in. It comes within the broker's lag, or is read once for all who wait.
    async fn reach(self: &Arc<Self>, room: &Arc<Room>, head: Seq) -> Result<()> {
        let (reached, repair) = {
            let mut inner = room.lock();
            let reached = inner.reaches(head);
            (reached, inner.needs_repair(Instant::now()))
        };
        if repair {
            self.spawn_repair(room);
        }
        let Some(reached) = reached else { return Ok(()) };
        match tokio::time::timeout(HEAD_WAIT, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable("the latest messages cannot be read; try again")),
        }
    }

    /// What to tell a joiner, from memory where it reaches back far enough.
    async fn past(self: &Arc<Self>, room: &Arc<Room>, wish: &JoinWish) -> Result<Start> {
        let (position, epoch) = {
            let inner = room.lock();
            (inner.gate.position(), inner.epoch.clone())
        };
        let after = match wish.after {
            None => return self.latest(room, wish.limit, false).await,
            Some(_) if wish.epoch.as_ref().is_some_and(|known| *known != epoch) => {
                return self.latest(room, wish.limit, true).await;
            }
            Some(after) => after,
        };
        if after > position {
            // Another node may have told it what our hints have not yet: the store knows.
            self.repair(room, "resume").await?;
            if after > room.lock().gate.position() {
                return self.latest(room, wish.limit, true).await;
            }
        }
        let remembered = Page::remembered(&room.lock().gate, after, RESUME_MAX);
        let page = match remembered {
            Some(page) => page,
            None => {
                let page = self.store.changes_after(room.id, after, RESUME_MAX).await?;
                Page::read(after, page.ok_or_else(Error::room_not_found)?, &room.slug)
            }
        };
        if page.more {
            return self.latest(room, wish.limit, true).await;
        }
        Ok(Start::resumed(page, self.config.limits.queue_bytes))
    }

    async fn latest(&self, room: &Room, limit: u32, reset: bool) -> Result<Start> {
        let bytes_max = self.config.limits.queue_bytes;
        if let Some(start) = Start::remembered(&room.lock().gate, limit, reset, bytes_max) {
            return Ok(start);
        }
        let (head, page) =
            self.store.history(room.id, Around::Latest, limit).await?.ok_or_else(Error::room_not_found)?;
        Ok(Start::latest(head.seq, frames(page.messages, &room.slug), page.older, reset, bytes_max))
    }

    /// Puts the session into the room: its `joined`, then what came meanwhile, then live, under one lock.
    fn enter(
        &self,
        session: &Arc<Session>,
        inner: &mut Inner,
        start: Start,
        info: &mut RoomInfo,
        reference: Option<&serde_json::Value>,
    ) {
        if session.is_gone() {
            return;
        }
        // By another life of the clock, versions are another count.
        inner.access.enter(if info.epoch == inner.epoch { info.access } else { 0 });
        if inner.add(session, &self.incarnation) {
            self.comings.entered(inner.id, session.username());
        }
        if info.epoch == inner.epoch {
            inner.agree_on_title(info);
        }
        let (users, user_count) = inner.listed();
        info.seq = start.seq;
        info.epoch = inner.epoch.clone();
        info.online = u32::try_from(user_count).unwrap_or(u32::MAX);
        let joined = Joined::new(reference, info, &inner.epoch, start.seq, start.more, start.reset, &users, user_count)
            .encode(start.frames.iter().map(|frame| std::str::from_utf8(&frame.text).unwrap_or("null")));
        session.enter(inner.id, start.seq, joined);
        meet(inner, session);
        // A socket that went while this ran has been taken out of the rooms it was in then, not of this one.
        if session.is_gone() && inner.remove(session) {
            self.comings.leaving(inner.id, session.username());
        }
    }
}

/// The slug, for the rooms a session is told of by id.
pub(super) fn removed(slug: &Slug, reason: crate::protocol::frames::Removal) -> String {
    ServerFrame::Removed { room: slug, reason }.encode()
}
