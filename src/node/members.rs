//! Members of a room and what they may do in it: who may act on whom, and every change of it.
//!
//! Moderators act on plain members and on who is none, owners on everybody else in the room, administrators of the site on
//! everybody, nobody on themselves. What a decision was based on is compared again under the room's lock.

use std::sync::Arc;

use super::Node;
use super::rooms::{Seen, Who, no_such_user};
use crate::error::{Error, Result};
use crate::model::{Role, RoomRef, SiteRole, Slug, Timestamp, User, UserId, Username};
use crate::protocol::frames::Removal;
use crate::store::{Access, Account, Act, Member, Moderated, Moderation, Page, SanctionKind, Sanctioned, Standing};

/// How often a decision is made anew because the room changed under it.
const DECISIONS_MAX: u32 = 8;

impl Node {
    pub async fn list_members(
        &self,
        who: &User,
        room: &RoomRef,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<(Slug, Page<Member>)> {
        let seen = self.look(who, room).await?;
        let page = self.store.members(seen.info.id, limit, cursor).await?;
        Ok((seen.info.slug, page))
    }

    /// Adds somebody (owners and moderators) or changes a role (owners); for oneself: enters a public room. What
    /// already is stays as it is. Nobody changes their own role.
    pub async fn put_member(
        self: &Arc<Self>,
        who: &User,
        room: &RoomRef,
        target: &Who,
        role: Option<Role>,
    ) -> Result<()> {
        let Who::Other(name) = target else { return self.enter_room(who, room, role).await };
        let seen = self.look_to_manage(who, room).await?;
        let target = self.account_named(name).await?;
        if target.disabled {
            return Err(no_such_user());
        }
        let (user, room) = (target.user.id, seen.info.id);
        match self.moderate(who, &seen, user, &Act::Add(role)).await? {
            Moderated::Done(Some(addition)) => self.announce_added(user, room, addition),
            Moderated::Done(None) => self.announce_access(room, None),
            _ => {}
        }
        Ok(())
    }

    /// Removes somebody; for oneself: leaves, unless the room would lose its last owner.
    pub async fn remove_member(self: &Arc<Self>, who: &User, room: &RoomRef, target: &Who) -> Result<()> {
        let Who::Other(name) = target else { return self.leave_room(who, room).await };
        let seen = self.look_to_manage(who, room).await?;
        let user = self.account_named(name).await?.user.id;
        match self.moderate(who, &seen, user, &Act::Remove).await? {
            Moderated::Unchanged => Err(Error::NotFound("there is no such member".to_owned())),
            _ => {
                self.announce_access(seen.info.id, Some((user, Removal::Kicked)));
                Ok(())
            }
        }
    }

    /// Bans or mutes somebody, member or not, or changes the terms of it ([`Act::Ban`], [`Act::Mute`]); or ends it
    /// ([`Act::Unban`], [`Act::Unmute`]).
    pub async fn sanction(self: &Arc<Self>, who: &User, room: &RoomRef, target: &Who, act: Act) -> Result<()> {
        if let Act::Ban(sanction) | Act::Mute(sanction) = &act
            && sanction.until.is_some_and(|until| until <= Timestamp::now())
        {
            return Err(Error::invalid("until", "must lie in the future"));
        }
        let seen = self.look_to_manage(who, room).await?;
        let Who::Other(name) = target else { return Err(not_on_oneself()) };
        let user = self.account_named(name).await?.user.id;
        match self.moderate(who, &seen, user, &act).await? {
            Moderated::Unchanged if matches!(act, Act::Unban) => {
                return Err(Error::NotFound("this user is not banned from this room".to_owned()));
            }
            Moderated::Unchanged => return Err(Error::NotFound("this user is not muted in this room".to_owned())),
            _ => {}
        }
        let removed = matches!(act, Act::Ban(_)).then_some((user, Removal::Banned));
        self.announce_access(seen.info.id, removed);
        Ok(())
    }

    /// The bans or mutes in force; for owners and moderators.
    pub async fn list_sanctioned(
        &self,
        who: &User,
        room: &RoomRef,
        kind: SanctionKind,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<(Slug, Page<Sanctioned>)> {
        let seen = self.look_to_manage(who, room).await?;
        let page = self.store.sanctioned(kind, seen.info.id, limit, cursor).await?;
        Ok((seen.info.slug, page))
    }

    /// The room, for one who may manage who is in it.
    pub(super) async fn look_to_manage(&self, who: &User, room: &RoomRef) -> Result<Seen> {
        let seen = self.look(who, room).await?;
        seen.refuse_direct()?;
        seen.demand(Role::Moderator)?;
        Ok(seen)
    }

    /// Decides and does: done is only what was allowed when it was done.
    async fn moderate(&self, who: &User, seen: &Seen, user: UserId, act: &Act) -> Result<Moderated> {
        if user == who.id {
            return Err(not_on_oneself());
        }
        let room = seen.info.id;
        for _ in 0..DECISIONS_MAX {
            let access = self.store.access(&[(who.id, room), (user, room)]).await?;
            let [own, theirs] = access.as_slice() else {
                return Err(Error::Internal("the store told no access".to_owned()));
            };
            decide(own, theirs, act)?;
            let moderation = Moderation { room, user, by: who.id, seen: Some(own.version), act: act.clone() };
            match self.store.moderate(&moderation).await? {
                Moderated::Overtaken => {}
                outcome => return settled(outcome),
            }
        }
        Err(Error::unavailable("too much is changing in this room; try again"))
    }

    async fn leave_room(self: &Arc<Self>, who: &User, room: &RoomRef) -> Result<()> {
        let seen = self.look(who, room).await?;
        seen.refuse_direct()?;
        let room = seen.info.id;
        let leave = Moderation { room, user: who.id, by: who.id, seen: None, act: Act::Remove };
        if let Moderated::Done(_) = settled(self.store.moderate(&leave).await?)? {
            self.announce_access(room, Some((who.id, Removal::Left)));
        }
        Ok(())
    }

    async fn enter_room(&self, who: &User, room: &RoomRef, role: Option<Role>) -> Result<()> {
        let outcome = self.store.enter(&[(who.id, room.clone())]).await?.into_iter().next();
        let info = outcome.ok_or_else(|| Error::Internal("the store gave no answer to an entry".to_owned()))??;
        self.watch.refresh(who.id, info.id);
        match role {
            Some(role) if info.role != Some(role) => {
                Err(Error::Forbidden("your own role is for another owner to change".to_owned()))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn account_named(&self, name: &Username) -> Result<Account> {
        self.store.account_by_name(name).await?.ok_or_else(no_such_user)
    }
}

/// Whether somebody who stands so may do that to another who stands so.
fn decide(own: &Access, theirs: &Access, act: &Act) -> Result<()> {
    let power = match own.standing {
        Standing::Member(role) => power(own.site_role, Some(role)),
        Standing::Guest => power(own.site_role, None),
        Standing::Banned => return Err(banned_here()),
        Standing::Stranger | Standing::RoomDeleted => return Err(Error::room_not_found()),
    };
    if power < Some(Role::Moderator) {
        return Err(Error::Forbidden("only an owner or a moderator of this room may do that".to_owned()));
    }
    let role = match theirs.standing {
        Standing::Member(role) => Some(role),
        _ => None,
    };
    // To ask for what is already so is no act.
    if let Act::Add(wanted) = act
        && role.is_some()
        && wanted.is_none_or(|wanted| Some(wanted) == role)
    {
        return Ok(());
    }
    if own.site_role == Some(SiteRole::Admin) {
        return Ok(());
    }
    if theirs.site_role == Some(SiteRole::Admin) && !matches!(act, Act::Add(_)) {
        return Err(Error::Forbidden(
            "an administrator of the site is for another one to remove or silence".to_owned(),
        ));
    }
    if power == Some(Role::Owner) {
        return Ok(());
    }
    if role > Some(Role::Member) {
        return Err(Error::Forbidden("this member is for an owner of the room to act on".to_owned()));
    }
    match act {
        Act::Add(Some(wanted)) if *wanted > Role::Member => {
            Err(Error::Forbidden("only an owner of this room may give that role".to_owned()))
        }
        _ => Ok(()),
    }
}

/// An outcome that is none but done or already so is an error.
fn settled(outcome: Moderated) -> Result<Moderated> {
    match outcome {
        Moderated::Done(_) | Moderated::Unchanged => Ok(outcome),
        Moderated::Overtaken => Err(Error::unavailable("the room changed meanwhile; try again")),
        Moderated::LastOwner => Err(Error::Conflict(
            "this is the room's last owner; make somebody else an owner first, or delete the room".to_owned(),
        )),
        Moderated::Banned => {
            Err(Error::Conflict("this user cannot be a member of this room; they are banned from it".to_owned()))
        }
        Moderated::NoRoom => Err(Error::room_not_found()),
        Moderated::NoUser => Err(no_such_user()),
    }
}

/// What a role amounts to: an administrator of the site has an owner's power. By the store: what a token says of that may
/// be over.
pub(super) fn power(site_role: Option<SiteRole>, role: Option<Role>) -> Option<Role> {
    if site_role == Some(SiteRole::Admin) { Some(Role::Owner) } else { role }
}

pub(super) fn banned_here() -> Error {
    Error::Forbidden("you are banned from this room".to_owned())
}

fn not_on_oneself() -> Error {
    Error::Forbidden("nobody does that to themselves".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Sanction;

    fn access(standing: Standing, site_role: SiteRole) -> Access {
        Access { version: 1, standing, muted: false, site_role: Some(site_role) }
    }

    fn allowed(by: (Standing, SiteRole), on: (Standing, SiteRole), act: &Act) -> bool {
        decide(&access(by.0, by.1), &access(on.0, on.1), act).is_ok()
    }

    #[test]
    fn who_may_act_on_whom() {
        use Role::{Member, Moderator, Owner};
        use SiteRole::{Admin, User};
        let standings =
            [Standing::Guest, Standing::Member(Member), Standing::Member(Moderator), Standing::Member(Owner)];
        let acts = [Act::Remove, Act::Ban(Sanction::default()), Act::Unban, Act::Mute(Sanction::default())];
        for act in &acts {
            for on in standings {
                let may = |by, site| allowed((by, site), (on, User), act);
                assert!(!may(Standing::Guest, User) && !may(Standing::Member(Member), User), "{act:?} {on:?}");
                let is_plain = matches!(on, Standing::Guest | Standing::Member(Member));
                assert_eq!(may(Standing::Member(Moderator), User), is_plain, "{act:?} {on:?}");
                assert!(may(Standing::Member(Owner), User) && may(Standing::Guest, Admin), "{act:?} {on:?}");
                // An administrator of the site is out of reach for all but another one.
                let may = |by, site| allowed((by, site), (on, Admin), act);
                assert!(!may(Standing::Member(Owner), User) && may(Standing::Guest, Admin), "{act:?} {on:?}");
            }
            for by in [Standing::Banned, Standing::Stranger, Standing::RoomDeleted] {
                assert!(!allowed((by, User), (Standing::Guest, User), act), "{act:?} by {by:?}");
            }
        }
    }

    #[test]
    fn roles_are_given_by_owners() {
        use Role::{Member, Moderator, Owner};
        let user = SiteRole::User;
        let gives = |by, on, role| allowed((Standing::Member(by), user), (on, user), &Act::Add(role));
        assert!(gives(Moderator, Standing::Guest, None) && gives(Moderator, Standing::Guest, Some(Member)));
        assert!(!gives(Moderator, Standing::Guest, Some(Moderator)));
        assert!(!gives(Moderator, Standing::Member(Moderator), Some(Member)), "nor taken by their like");
        assert!(!gives(Member, Standing::Guest, None));
        assert!(gives(Moderator, Standing::Member(Owner), None), "what is already so needs no power over them");
        assert!(gives(Moderator, Standing::Member(Owner), Some(Owner)));
        assert!(gives(Owner, Standing::Member(Owner), Some(Member)) && gives(Owner, Standing::Guest, Some(Owner)));
    }
}
