//! Who may stay in a room, and what it is called: looked at again whenever its access version rose, by hint or by
//! beacon.

pub mod checked;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::join::removed;
use super::room::Room;
use super::session::Session;
use crate::broker::Channel;
use crate::model::{RoomId, RoomInfo, UserId};
use crate::protocol::envelope::{Envelope, Notice};
use crate::protocol::frames::{Removal, ServerFrame};
use crate::store::Standing;

/// Users asked about in one query.
const CHECK_CHUNK: usize = 1_000;
/// Before people are told again of a new name who could not be because the store was away.
const RETRY: Duration = Duration::from_millis(250);

impl Node {
    /// To be called after anything that raised a room's access version: every node with the room looks again who
    /// may stay; `removed` says whom it threw out and why, so that they are told.
    pub fn announce_access(self: &Arc<Self>, room: RoomId, removed: Option<(UserId, Removal)>) {
        self.broker.publish(Channel::Room(room), Envelope::from(Notice::Access { removed }).encode());
        self.look_again(room, removed);
    }

    /// To be called after name or topic changed.
    pub fn announce_updated(self: &Arc<Self>, room: RoomId) {
        self.broker.publish(Channel::Room(room), Envelope::from(Notice::Updated).encode());
        self.look_again(room, None);
    }

    pub(super) fn look_again(self: &Arc<Self>, room: RoomId, removed: Option<(UserId, Removal)>) {
        if let Some(room) = self.hub.room(room) {
            let node = self.clone();
            tokio::spawn(async move { node.recheck_access(&room, removed).await });
        }
    }

    /// Asks the store about everybody in the room and takes out who may not stay. When the store does not answer
    /// the room's version stays behind, and the next beacon comes here again.
    pub(super) async fn recheck_access(self: &Arc<Self>, room: &Arc<Room>, hint: Option<(UserId, Removal)>) {
        let mut sessions: HashMap<UserId, Vec<Arc<Session>>> = HashMap::new();
        let check = {
            let mut inner = room.lock();
            for session in inner.sessions() {
                sessions.entry(session.user.id).or_default().push(session.clone());
            }
            inner.access.begin()
        };
        let mut version = u64::MAX;
        let mut deleted = false;
        let pairs: Vec<(UserId, RoomId)> = sessions.keys().map(|user| (*user, room.id)).collect();
        for chunk in pairs.chunks(CHECK_CHUNK) {
            let Ok(found) = self.store.access(chunk).await else { return room.lock().access.end(check, None) };
            for ((user, _), access) in chunk.iter().zip(found) {
                version = version.min(access.version);
                let reason = match access.standing {
                    Standing::Member(_) => continue,
                    Standing::RoomDeleted => Removal::RoomDeleted,
                    Standing::Banned => Removal::Banned,
                    Standing::Guest | Standing::Stranger => match hint {
                        Some((hinted, reason)) if hinted == *user => reason,
                        _ => Removal::Kicked,
                    },
                };
                deleted |= reason == Removal::RoomDeleted;
                for session in sessions.get(user).into_iter().flatten() {
                    self.take_out(session, room.id, removed(&room.slug, reason));
                }
            }
        }
        // Before the version counts as looked at: name and topic are part of what it stands for.
        if !deleted {
            self.tell_if_renamed(room).await;
        }
        room.lock().access.end(check, Some(version).filter(|_| !deleted && !pairs.is_empty()));
        if deleted {
            self.drop_room(room);
        }
    }

    /// Gives everybody in the room its name and topic, each as they see the room, when they are other than was told.
    async fn tell_if_renamed(&self, room: &Arc<Room>) {
        let Some(one) = room.lock().sessions().first().map(|session| session.user.id) else { return };
        let Ok(found) = self.store.rooms_seen(&[(one, room.id)]).await else { return };
        let Some(info) = found.into_iter().flatten().next() else { return };
        let sessions = {
            let mut inner = room.lock();
            if !inner.take_title(&info) {
                return;
            }
            inner.sessions().to_vec()
        };
        for chunk in sessions.chunks(CHECK_CHUNK) {
            let pairs: Vec<(UserId, RoomId)> = chunk.iter().map(|session| (session.user.id, room.id)).collect();
            // It is taken for told from here on.
            let found = loop {
                match self.store.rooms_seen(&pairs).await {
                    Ok(found) => break found,
                    Err(_) if room.lock().closed => return,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            };
            let online = u32::try_from(room.lock().view.count()).unwrap_or(u32::MAX);
            for (session, info) in chunk.iter().zip(found) {
                if let Some(info) = info.map(|info| RoomInfo { online, ..info }) {
                    session.unasked(ServerFrame::RoomUpdated { room: &room.slug, info: &info }.encode());
                }
            }
        }
    }
}
