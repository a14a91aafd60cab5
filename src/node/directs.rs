//! Direct rooms: one of each two users, there as soon as one of them asks for it.

use std::sync::Arc;

use super::Node;
use super::rooms::{no_such_user, tail};
use crate::error::{Error, Result};
use crate::model::{RoomInfo, RoomRef, Slug, User, Username};
use crate::store::StoreError;

/// What the slugs of direct rooms begin with; the rest is random and tells nobody who is in it.
const PREFIX: &str = "dm-";
/// Letters and digits after it: about 128 bits.
const TAIL_CHARS: usize = 26;

impl Node {
    /// The direct room with another user, and whether it was made just now.
    pub async fn direct_room(self: &Arc<Self>, who: &User, username: &str) -> Result<(RoomInfo, bool)> {
        // What cannot be a username is nobody's.
        let name = Username::parse(username).map_err(|_| no_such_user())?;
        if name.key() == who.username.key() {
            return Err(Error::invalid("username", "must be somebody else's"));
        }
        let other = self.account_named(&name).await?;
        if other.disabled {
            return Err(no_such_user());
        }
        let other = other.user.id;
        let slug = Slug::from_stored(format!("{PREFIX}{}", tail(&mut rand::rng(), TAIL_CHARS)));
        let direct = match self.store.direct_room(who.id, other, &slug).await {
            Err(StoreError::Taken(_)) => return Err(Error::unavailable("the room could not be made; try again")),
            direct => direct?,
        };
        if let Some((own, others)) = direct.made {
            self.announce_added(who.id, direct.room, own);
            self.announce_added(other, direct.room, others);
        }
        let info = self.see_room(who, &RoomRef::Id(direct.room)).await?;
        Ok((info, direct.made.is_some()))
    }
}
