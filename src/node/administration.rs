//! What administrators of the site see and do beyond what they are in any room: accounts, all rooms, the nodes.
//!
//! Whether somebody is one is asked of the store each time: a role that was taken away is worth nothing from then on,
//! whatever their token says still.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::beacon::PEER_WINDOW;
use super::rooms::{Who, direct_stays, no_such_user};
use super::{Node, Told};
use crate::broker::Channel;
use crate::error::{Error, Result};
use crate::model::{MessageId, NamePart, RoomKind, RoomRef, SiteRole, User, UserId};
use crate::protocol::envelope::{Envelope, Notice};
use crate::store::{
    AccountChanges, Administered, Change, ChangeWhat, ListedNode, ListedRoom, ListedUser, Page, StoreError,
};

/// Nodes that were not heard of for longer than this are not shown any more; those that left with a word go at once.
const NODES_SHOWN_FOR: Duration = Duration::from_secs(10 * 60);
/// How far back it is read what was revoked when that was just told of.
const JUST_NOW: Duration = Duration::from_secs(10);

/// How a node fares, by its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Up,
    Draining,
    /// It was not heard of for so long that its peers count it out.
    Gone,
}

impl NodeState {
    pub fn of(node: &ListedNode) -> Self {
        match node {
            _ if u128::from(node.silent_ms) >= PEER_WINDOW.as_millis() => Self::Gone,
            _ if node.beat.draining => Self::Draining,
            _ => Self::Up,
        }
    }
}

impl Node {
    /// [`Error::Forbidden`] for everybody else.
    pub async fn demand_administrator(&self, who: &User) -> Result<()> {
        match self.store.account_by_id(who.id).await? {
            Some(account) if account.user.role == SiteRole::Admin && !account.disabled => Ok(()),
            _ => Err(administrators_only()),
        }
    }

    pub async fn list_users(&self, part: &str, limit: u32, cursor: Option<&str>) -> Result<Page<ListedUser>> {
        Ok(self.store.list_users(&NamePart::parse(part)?, limit, cursor).await?)
    }

    /// Disables, enables, or gives another role. Who is disabled is logged out everywhere, within the bounds of an ended
    /// login session.
    pub async fn administer(self: &Arc<Self>, by: &User, whom: &Who, changes: AccountChanges) -> Result<ListedUser> {
        let user = match whom {
            Who::Oneself => by.id,
            Who::Other(name) => self.account_named(name).await?.user.id,
        };
        match self.store.administer(by.id, user, changes).await? {
            Administered::Done => self.tell_administered(user, changes).await,
            Administered::Unchanged => {}
            Administered::NoUser => return Err(no_such_user()),
            Administered::NotAllowed => return Err(administrators_only()),
            Administered::Oneself => {
                return Err(Error::Conflict("nobody disables or demotes themselves; ask another administrator".into()));
            }
        }
        self.store.listed_user(user).await?.ok_or_else(no_such_user)
    }

    pub async fn list_all_rooms(&self, part: &str, limit: u32, cursor: Option<&str>) -> Result<Page<ListedRoom>> {
        Ok(self.store.list_rooms(&NamePart::parse(part)?, limit, cursor).await?)
    }

    /// Any room but a direct one, which is two people's as long as they are.
    pub async fn delete_any_room(self: &Arc<Self>, room: &RoomRef) -> Result<()> {
        let (room, _, kind) = self.store.locate_room(room).await?.ok_or_else(Error::room_not_found)?;
        if kind == RoomKind::Direct {
            return Err(direct_stays());
        }
        if !self.store.delete_room(room).await? {
            return Err(Error::room_not_found());
        }
        self.announce_access(room, None);
        Ok(())
    }

    /// Any message of any room, direct ones too.
    pub async fn delete_any_message(self: &Arc<Self>, who: &User, room: &RoomRef, id: MessageId) -> Result<Told> {
        self.take_message_token(who)?;
        let (room, slug, _) = self.store.locate_room(room).await?.ok_or_else(Error::room_not_found)?;
        let (told, hear) = oneshot::channel();
        let change = Change { room, actor: who.id, id, what: ChangeWhat::Delete };
        self.put_change(slug, who, change, Box::new(move |outcome| drop(told.send(outcome))));
        hear.await.map_err(|_| Error::unavailable("the node is going; send it again"))?
    }

    /// Live nodes, and those that went without a word a short while ago.
    pub async fn list_nodes(&self) -> Result<Vec<(NodeState, ListedNode)>> {
        let nodes = self.store.list_nodes(NODES_SHOWN_FOR).await?;
        Ok(nodes.into_iter().map(|node| (NodeState::of(&node), node)).collect())
    }

    /// Has every node read what was revoked; what the hint loses the beacons find.
    async fn tell_administered(self: &Arc<Self>, user: UserId, changes: AccountChanges) {
        self.accounts.forget(user);
        if changes.disabled == Some(true) {
            self.broker.publish(Channel::Cluster, Envelope::from(Notice::Revoked).encode());
            self.read_just_revoked().await;
        }
    }

    /// To be called when somebody's log-ins were ended by what no other notice tells.
    pub(super) async fn read_just_revoked(self: &Arc<Self>) {
        if let Err(error @ StoreError::Internal(_)) = self.read_revocations(JUST_NOW).await {
            tracing::warn!(%error, "what was just revoked could not be read; the beacon reads it");
        }
    }
}

fn administrators_only() -> Error {
    Error::Forbidden("this is for administrators of the site".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::store::NodeBeat;

    #[test]
    fn a_node_is_gone_when_it_was_silent_for_long_whatever_it_said_last() {
        let state = |silent_ms, draining| {
            let beat = NodeBeat {
                incarnation: "i".into(),
                name: "n".into(),
                version: "1".into(),
                broker_ok: true,
                draining,
                sockets: None,
            };
            let (started_at, seen_at) = (Timestamp(0), Timestamp(0));
            NodeState::of(&ListedNode { beat, started_at, seen_at, silent_ms })
        };
        assert_eq!((state(3_000, false), state(14_999, true)), (NodeState::Up, NodeState::Draining));
        assert_eq!((state(15_000, false), state(60_000, true)), (NodeState::Gone, NodeState::Gone));
    }
}
