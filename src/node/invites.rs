//! Invitations: whoever has the code of one may enter its room, as often and as long as it holds. The store keeps the
//! code's hash only.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Node;
use crate::error::{Error, Result};
use crate::model::{RoomInfo, RoomRef, Timestamp, User};
use crate::store::{INVITES_OPEN_MAX, Invite, InviteId, Invited, NewInvite, Redeemed};

pub const INVITE_USES_MAX: u32 = 10_000;
pub const INVITE_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
pub const INVITE_LIFETIME_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const CODE_BYTES: usize = 16;
/// How often an invitation is made anew because the room changed under it.
const TRIES_MAX: u32 = 8;

/// An invitation as who made it gets it, once. It has no `Debug`: its code must not come into a log.
pub struct FreshInvite {
    pub id: InviteId,
    pub code: String,
    pub uses: Option<u32>,
    pub expires_at: Timestamp,
}

impl Node {
    /// For owners and moderators.
    pub async fn create_invite(
        &self,
        who: &User,
        room: &RoomRef,
        uses: Option<u32>,
        lifetime: Option<Duration>,
    ) -> Result<FreshInvite> {
        let code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; CODE_BYTES]>());
        let hash = hash(&code);
        for _ in 0..TRIES_MAX {
            // Looked at each time: the store compares that what was seen still holds.
            let seen = self.look_to_manage(who, room).await?;
            let new = NewInvite {
                room: seen.info.id,
                by: who.id,
                seen: Some(seen.version),
                hash: hash.clone(),
                uses,
                lifetime: lifetime.unwrap_or(INVITE_LIFETIME_DEFAULT),
            };
            match self.store.create_invite(&new).await? {
                Invited::Made { expires_at } => {
                    return Ok(FreshInvite { id: InviteId::of(&hash), code, uses, expires_at });
                }
                Invited::Overtaken => {}
                Invited::TooMany => {
                    return Err(Error::Conflict(format!(
                        "this room has {INVITES_OPEN_MAX} open invitations; withdraw one first"
                    )));
                }
                Invited::NoRoom => return Err(Error::room_not_found()),
            }
        }
        Err(Error::unavailable("too much is changing in this room; try again"))
    }

    /// The open ones, for owners and moderators.
    pub async fn list_invites(&self, who: &User, room: &RoomRef) -> Result<Vec<Invite>> {
        let seen = self.look_to_manage(who, room).await?;
        Ok(self.store.invites(seen.info.id).await?)
    }

    /// For owners and moderators, whoever made it. Who got in by it stays.
    pub async fn withdraw_invite(&self, who: &User, room: &RoomRef, id: &str) -> Result<()> {
        let seen = self.look_to_manage(who, room).await?;
        let withdrawn = match InviteId::parse(id) {
            Some(id) => self.store.withdraw_invite(seen.info.id, id).await?,
            None => false,
        };
        if withdrawn { Ok(()) } else { Err(no_such_invite()) }
    }

    /// Enters a room by an invitation's code. Whatever is wrong with the code, or between the user and the room, is told
    /// alike: it shall not tell that there is such a room.
    pub async fn redeem_invite(self: &Arc<Self>, who: &User, code: &str) -> Result<RoomInfo> {
        if !is_code(code) {
            return Err(no_such_invite());
        }
        let room = match self.store.redeem_invite(&hash(code), who.id).await? {
            Redeemed::Entered { room, addition } => {
                self.announce_added(who.id, room, addition);
                room
            }
            Redeemed::Member(room) => room,
            Redeemed::Nothing => return Err(no_such_invite()),
        };
        self.see_room(who, &RoomRef::Id(room)).await
    }
}

/// Whether this could be a code of ours; the store is not asked for anything else.
fn is_code(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == CODE_BYTES)
}

/// A slow hash would add nothing: nobody guesses 128 bits.
fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code.as_bytes()).to_vec()
}

fn no_such_invite() -> Error {
    Error::NotFound("there is no such invitation".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_a_code_is_looked_for() {
        let code = URL_SAFE_NO_PAD.encode([7; CODE_BYTES]);
        assert!(is_code(&code) && code.len() == 22);
        for other in ["", "me", &code[1..], &format!("{code}A"), "AAAAAAAAAAAAAAAAAAAA==", "привет"] {
            assert!(!is_code(other), "{other}");
        }
        let id = InviteId::of(&hash(&code));
        assert_eq!(InviteId::parse(&id.to_string()), Some(id));
        for other in ["", "x", "+234567890abcdef", "0123456789ABCDEF", "0123456789abcdef0"] {
            assert_eq!(InviteId::parse(other), None, "{other}");
        }
    }
}
