//! Rooms as such: what there are, what they are called, who may see them.
//!
//! Whoever may not know of a room is told that there is none, before anything else is looked at. An administrator of
//! the site has an owner's power in every room that they can see; private and direct rooms of others they cannot (what
//! they may do about those all the same is in [`super::administration`]).

use std::sync::Arc;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Node;
use super::members::{banned_here, power};
use crate::error::{Error, Result};
use crate::model::{
    RETENTION_DAYS_MAX, Role, RoomId, RoomInfo, RoomKind, RoomName, RoomRef, Slug, Topic, User, Username,
};
use crate::store::{Around, History, NewRoom, Page, RoomChanges, Standing, StoreError};

/// Letters and digits of a slug's tail: none that is read as another.
const TAIL_LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Lengths of the tails tried one after the other for a name whose slug is taken.
const TAIL_LENGTHS: [usize; 4] = [4, 5, 6, 6];
/// Slug of a room in whose name no letter is, before its tail.
const NAMELESS: &str = "room";

/// Whom a member's path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Oneself,
    Other(Username),
}

/// A room that the user may read, and the power they have in it (`None`: not a member).
pub(super) struct Seen {
    pub info: RoomInfo,
    power: Option<Role>,
    /// The access version by which they have it.
    pub version: u64,
}

impl Node {
    /// Rooms the user may see, their own ones first.
    pub async fn list_rooms(self: &Arc<Self>, who: &User, limit: u32, cursor: Option<&str>) -> Result<Page<RoomInfo>> {
        self.settle_marks(who.id).await;
        let mut page = self.store.rooms(who.id, limit, cursor).await?;
        self.fill_online(&mut page.items).await;
        Ok(page)
    }

    /// Makes a public or private room (direct ones: [`Node::direct_room`]) with its creator as owner. Its slug comes from the name; a taken one, or one of
    /// a name without any letter, gets a short random tail.
    pub async fn create_room(&self, who: &User, name: &str, topic: &str, kind: RoomKind) -> Result<RoomInfo> {
        if kind == RoomKind::Direct {
            return Err(Error::Internal("direct rooms are made in another way".to_owned()));
        }
        let (name, topic) = (RoomName::parse(name)?, Topic::parse(topic)?);
        for slug in slugs(&name) {
            let new = NewRoom { slug, name: name.clone(), topic: topic.clone(), kind, owner: who.id };
            match self.store.create_room(new).await {
                Ok(info) => return Ok(info),
                Err(StoreError::Taken("slug")) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict("no free address was found for a room of this name".to_owned()))
    }

    /// The room at the address a person typed; made there as public, with the name as typed, when it is absent and
    /// `rooms.auto_create` allows. A private room of others is as absent as before.
    pub async fn see_or_create_room(self: &Arc<Self>, who: &User, typed: &str) -> Result<RoomInfo> {
        let slug = Slug::from_text(typed).ok_or_else(Error::room_not_found)?;
        let at = RoomRef::Slug(slug.clone());
        match self.see_room(who, &at).await {
            Err(Error::NotFound(_)) if self.config.rooms.auto_create => {}
            seen => return seen,
        }
        let name = RoomName::parse(typed)?;
        let new = NewRoom { slug, name, topic: Topic::default(), kind: RoomKind::Public, owner: who.id };
        match self.store.create_room(new).await {
            Ok(info) => Ok(info),
            // Made by somebody else in the meantime, or there all along and not theirs to see.
            Err(StoreError::Taken(_)) => self.see_room(who, &at).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The room as this user sees it; also for who is banned from a public one, and so learns why the rest is closed.
    pub async fn see_room(self: &Arc<Self>, who: &User, room: &RoomRef) -> Result<RoomInfo> {
        self.settle_marks(who.id).await;
        let mut info = self.store.room(who.id, room).await?.ok_or_else(Error::room_not_found)?;
        self.fill_online(std::slice::from_mut(&mut info)).await;
        Ok(info)
    }

    /// For owners and moderators; `retention_days` (0: as is set for all rooms) for owners. Nothing given changes nothing.
    pub async fn update_room(
        self: &Arc<Self>,
        who: &User,
        room: &RoomRef,
        name: Option<&str>,
        topic: Option<&str>,
        retention_days: Option<u64>,
    ) -> Result<RoomInfo> {
        let seen = self.look(who, room).await?;
        seen.refuse_direct()?;
        // What is removed is gone for everybody and for good.
        seen.demand(if retention_days.is_some() { Role::Owner } else { Role::Moderator })?;
        let changes = RoomChanges {
            name: name.map(RoomName::parse).transpose()?,
            topic: topic.map(Topic::parse).transpose()?,
            retention_days: retention_days.map(|days| self.retention_days(days)).transpose()?,
        };
        if changes.name.is_some() || changes.topic.is_some() || changes.retention_days.is_some() {
            self.store.update_room(seen.info.id, changes).await?.ok_or_else(Error::room_not_found)?;
            self.announce_updated(seen.info.id);
        }
        self.see_room(who, &RoomRef::Id(seen.info.id)).await
    }

    /// For owners. The sockets in it are told, on every node.
    pub async fn delete_room(self: &Arc<Self>, who: &User, room: &RoomRef) -> Result<()> {
        let seen = self.look(who, room).await?;
        seen.refuse_direct()?;
        seen.demand(Role::Owner)?;
        if !self.store.delete_room(seen.info.id).await? {
            return Err(Error::room_not_found());
        }
        self.announce_access(seen.info.id, None);
        Ok(())
    }

    /// The first `limit` names of who is online, and how many there are.
    pub async fn list_online(&self, who: &User, room: &RoomRef, limit: usize) -> Result<(Vec<Username>, usize)> {
        let seen = self.look(who, room).await?;
        self.online(seen.info.id, limit).await
    }

    /// A page of messages, oldest first, with the slug they are shown under.
    pub async fn history(&self, who: &User, room: &RoomRef, around: Around, limit: u32) -> Result<(Slug, History)> {
        let seen = self.look(who, room).await?;
        let page = self.store.history(seen.info.id, around, limit).await?;
        let (_, history) = page.ok_or_else(Error::room_not_found)?;
        Ok((seen.info.slug, history))
    }

    /// The room and what this user is in it, if they may read it now.
    pub async fn find(&self, who: &User, room: &RoomRef) -> Result<(RoomId, Slug, Standing)> {
        let seen = self.look(who, room).await?;
        let standing = seen.info.role.map_or(Standing::Guest, Standing::Member);
        Ok((seen.info.id, seen.info.slug, standing))
    }

    /// The room, if this user may read it now. A ban is asked for by itself: the room's row does not tell.
    pub(super) async fn look(&self, who: &User, room: &RoomRef) -> Result<Seen> {
        let info = self.store.room(who.id, room).await?.ok_or_else(Error::room_not_found)?;
        let access = self.store.access(&[(who.id, info.id)]).await?;
        let access = access.first().ok_or_else(|| Error::Internal("the store told no access".to_owned()))?;
        let role = match access.standing {
            Standing::Member(role) => Some(role),
            Standing::Guest => None,
            Standing::Banned => return Err(banned_here()),
            Standing::Stranger | Standing::RoomDeleted => return Err(Error::room_not_found()),
        };
        Ok(Seen { info, power: power(access.site_role, role), version: access.version })
    }

    fn retention_days(&self, days: u64) -> Result<u32> {
        let most = self.config.retention.days().unwrap_or(RETENTION_DAYS_MAX);
        match u32::try_from(days) {
            Ok(days) if days <= most => Ok(days),
            _ => Err(Error::invalid("retention_days", format!("must be an integer from 0 to {most}"))),
        }
    }

    /// Counts of who is online are a courtesy: a room is shown without them when nobody knows.
    pub(super) async fn fill_online(&self, rooms: &mut [RoomInfo]) {
        let ids: Vec<_> = rooms.iter().map(|room| room.id).collect();
        if let Ok(counts) = self.online_counts(&ids).await {
            for (room, count) in rooms.iter_mut().zip(counts) {
                room.online = count;
            }
        }
    }
}

impl Who {
    /// From a path: `me` (which nobody can be called) or one's own name is oneself. What cannot be a username is
    /// somebody who does not exist.
    pub fn parse(caller: &User, text: &str) -> Result<Self> {
        if text == "me" {
            return Ok(Self::Oneself);
        }
        let name = Username::parse(text).map_err(|_| no_such_user())?;
        Ok(if name.key() == caller.username.key() { Self::Oneself } else { Self::Other(name) })
    }
}

impl Seen {
    pub fn demand(&self, role: Role) -> Result<()> {
        if self.power >= Some(role) {
            return Ok(());
        }
        let who = if role == Role::Owner { "an owner" } else { "an owner or a moderator" };
        Err(Error::Forbidden(format!("only {who} of this room may do that")))
    }

    /// A direct room is two people's: it has no other members, no roles and no end.
    pub fn refuse_direct(&self) -> Result<()> {
        if self.info.kind == RoomKind::Direct {
            return Err(direct_stays());
        }
        Ok(())
    }
}

pub(super) fn direct_stays() -> Error {
    Error::Forbidden("a direct room stays as it is".to_owned())
}

pub(super) fn no_such_user() -> Error {
    Error::NotFound("there is no such user".to_owned())
}

/// The slugs to try for a room of this name, one after the other.
fn slugs(name: &RoomName) -> impl Iterator<Item = Slug> {
    let plain = Slug::from_text(name.as_str());
    let base = plain.clone().unwrap_or_else(|| Slug::from_stored(NAMELESS.to_owned()));
    plain.into_iter().chain(TAIL_LENGTHS.into_iter().map(move |length| base.with_tail(&tail(&mut rand::rng(), length))))
}

/// Random letters and digits.
pub(super) fn tail(random: &mut impl Rng, length: usize) -> String {
    (0..length).map(|_| char::from(*TAIL_LETTERS.choose(random).unwrap_or(&b'x'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Epoch, SiteRole, UserId};

    fn alice() -> User {
        User { id: UserId(7), username: Username::from_stored("alice".into()), role: SiteRole::User }
    }

    fn seen(kind: RoomKind, power: Option<Role>) -> Seen {
        let info = RoomInfo {
            id: RoomId(1),
            slug: Slug::parse("a").unwrap(),
            name: RoomName::parse("A").unwrap(),
            topic: Topic::default(),
            kind,
            epoch: Epoch("e".into()),
            seq: 0,
            role: power,
            last_read: 0,
            unread: 0,
            mentions: 0,
            online: 0,
            retention_days: None,
            access: 1,
            purged: 0,
        };
        Seen { info, power, version: 1 }
    }

    #[test]
    fn a_taken_slug_gets_a_tail_and_stays_a_slug() {
        for (name, plain, base) in [("Hello, World!", Some("hello-world"), "hello-world-"), ("123 !", None, "room-")] {
            let tried: Vec<Slug> = slugs(&RoomName::parse(name).unwrap()).collect();
            let tails = if let Some(plain) = plain {
                assert_eq!(tried[0].as_str(), plain);
                &tried[1..]
            } else {
                &tried[..]
            };
            assert_eq!(tails.len(), TAIL_LENGTHS.len());
            for slug in tails {
                let tail = slug.as_str().strip_prefix(base).unwrap();
                assert!((4..=6).contains(&tail.len()), "{slug}");
                assert!(Slug::parse(slug.as_str()).is_ok(), "{slug}");
            }
        }
    }

    #[test]
    fn power_goes_by_role_and_administrators_have_an_owners() {
        for (role, moderates, owns) in [
            (None, false, false),
            (Some(Role::Member), false, false),
            (Some(Role::Moderator), true, false),
            (Some(Role::Owner), true, true),
        ] {
            let seen = seen(RoomKind::Public, power(Some(SiteRole::User), role));
            assert_eq!((seen.demand(Role::Moderator).is_ok(), seen.demand(Role::Owner).is_ok()), (moderates, owns));
        }
        assert_eq!(power(Some(SiteRole::Admin), None), Some(Role::Owner));
    }

    #[test]
    fn a_direct_room_is_not_managed() {
        assert_eq!(seen(RoomKind::Direct, Some(Role::Owner)).refuse_direct().unwrap_err().code(), "forbidden");
        assert!(seen(RoomKind::Private, None).refuse_direct().is_ok());
    }

    #[test]
    fn me_and_ones_own_name_are_oneself() {
        let alice = alice();
        assert_eq!(Who::parse(&alice, "me").unwrap(), Who::Oneself);
        assert_eq!(Who::parse(&alice, "ALICE").unwrap(), Who::Oneself);
        assert!(matches!(Who::parse(&alice, "bob").unwrap(), Who::Other(name) if name.as_str() == "bob"));
        assert_eq!(Who::parse(&alice, "b b").unwrap_err().code(), "not_found");
    }
}
