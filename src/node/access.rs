//! Who may stay in a room: looked at again whenever its access version rose, by hint or by beacon.

pub mod checked;

use std::collections::HashMap;
use std::sync::Arc;

use super::Node;
use super::join::removed;
use super::room::Room;
use super::session::Session;
use crate::broker::Channel;
use crate::model::{RoomId, RoomRef, UserId};
use crate::protocol::envelope::{Envelope, Notice};
use crate::protocol::frames::{Removal, ServerFrame};
use crate::store::Standing;

/// Users asked about in one query.
const CHECK_CHUNK: usize = 1_000;

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
        self.tell_updated(room);
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
        room.lock().access.end(check, Some(version).filter(|_| !deleted && !pairs.is_empty()));
        if deleted {
            self.drop_room(room);
        }
    }

    /// Gives everybody in the room its new name and topic, each as they see the room.
    pub(super) fn tell_updated(self: &Arc<Self>, id: RoomId) {
        let Some(room) = self.hub.room(id) else { return };
        let node = self.clone();
        tokio::spawn(async move {
            let sessions = room.lock().sessions().to_vec();
            let node = &node;
            let asked = sessions.iter().map(|session| async move {
                let answer = node.enters.ask((session.user.id, RoomRef::Id(id))).await;
                (session, answer)
            });
            for (session, answer) in futures_util::future::join_all(asked).await {
                if let Ok(Ok(mut info)) = answer {
                    info.online = u32::try_from(room.lock().view.count()).unwrap_or(u32::MAX);
                    let frame = ServerFrame::RoomUpdated { room: &room.slug, info: &info }.encode();
                    session.control(frame);
                }
            }
        });
    }
}
