//! What comes from the broker: changes to the gates, notices to whom they concern, disturbances to the beacon.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Node;
use super::gate::Frame;
use crate::broker::{Channel, Event};
use crate::failpoints::{self, Point};
use crate::model::{RoomId, UserId, Username};
use crate::presence::Incarnation;
use crate::protocol::envelope::{Envelope, Notice};
use crate::store::{Addition, AdditionId};

impl Node {
    pub(super) async fn dispatch(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Heard { channel, payload } => match (channel, Envelope::decode(payload)) {
                    (Channel::Room(room), Some(Envelope::Change { seq, id, text })) => {
                        failpoints::reach(Point::Hub, |wanted| failpoints::contains(&text, wanted)).await;
                        // Copied, since what is remembered would pin the broker's whole read buffer.
                        let text = Bytes::copy_from_slice(&text);
                        self.offer(room, Frame { seq, id, text });
                    }
                    (Channel::Room(room), Some(Envelope::Notice(notice))) => self.room_notice(room, notice),
                    (Channel::User(user), Some(Envelope::Notice(notice))) => self.user_notice(user, notice),
                    (Channel::Cluster, Some(Envelope::Notice(notice))) => self.cluster_notice(notice),
                    (_, _) => self.metrics.envelopes_unknown.increment(1),
                },
                Event::Disturbed(_) => {
                    self.beacon_now.notify_one();
                    self.comings.mark_stale(self.hub.rooms().iter().map(|room| room.id));
                }
            }
        }
    }

    fn room_notice(self: &Arc<Self>, id: RoomId, notice: Notice) {
        let own = &self.incarnation.0;
        match notice {
            Notice::Access { removed } => self.look_again(id, removed),
            Notice::Updated => self.look_again(id, None),
            Notice::Presence { incarnation, entered, left } if incarnation != *own => {
                if let Some(room) = self.hub.room(id) {
                    let (incarnation, mut inner) = (Incarnation(incarnation), room.lock());
                    for user in entered {
                        inner.heard_entered(&incarnation, &Username::from_stored(user));
                    }
                    for user in left {
                        inner.heard_left(&incarnation, &Username::from_stored(user));
                    }
                }
            }
            Notice::Typing { incarnation, user } if incarnation != *own => {
                if let Some(room) = self.hub.room(id) {
                    room.lock().tell_typing(&Username::from_stored(user));
                }
            }
            _ => {}
        }
    }

    fn user_notice(self: &Arc<Self>, user: UserId, notice: Notice) {
        if let Notice::RoomAdded { room, addition } = notice {
            self.tell_added(vec![Addition { id: AdditionId(addition), user, room }]);
        }
    }

    fn cluster_notice(self: &Arc<Self>, notice: Notice) {
        match notice {
            Notice::Read { incarnation, marks } if incarnation != self.incarnation.0 => self.heard_read(&marks),
            Notice::SessionEnded { session } => self.end_login_sessions(&[session].into()),
            Notice::Revoked => {
                let node = self.clone();
                tokio::spawn(async move { node.read_just_revoked().await });
            }
            Notice::Node { incarnation, database_ok } if incarnation != self.incarnation.0 => {
                self.health.heard(incarnation, database_ok);
            }
            _ => {}
        }
    }
}
