//! Login sessions going on and ending: done in the store first, then told to every node, whose sockets and access tokens
//! of them end.

use super::Node;
use super::accounts::{LoggedIn, Refreshed, Visitor};
use crate::auth::refresh::is_login_session_id;
use crate::broker::Channel;
use crate::error::{Error, Result};
use crate::model::{User, UserId};
use crate::protocol::envelope::{Envelope, Notice};

/// Login sessions told of by notices when many end at once; the beacons read of the others a little later.
const NOTICES_MAX: usize = 200;

impl Node {
    /// Ends a login session everywhere. `false`: this user has no such login session, and nothing was done.
    pub async fn end_login_session(&self, user: UserId, session: &str) -> Result<bool> {
        // The store is not asked for what it could not even hold.
        let ended = is_login_session_id(session) && self.store.end_login_session(user, session).await?;
        if ended {
            self.tell_ended(vec![session.to_owned()]);
        }
        Ok(ended)
    }

    /// Spends a refresh token; one that was spent longer ago than the grace ends its login session everywhere.
    pub async fn refresh(&self, token: &str) -> Result<LoggedIn> {
        match self.accounts.refresh(token).await? {
            Refreshed::LoggedIn(login) => Ok(login),
            Refreshed::Ended { user, session } => {
                tracing::warn!(user = user.0, "a refresh token was used again; its login session was ended");
                self.tell_ended(vec![session]);
                Err(Error::Unauthenticated("this login was renewed elsewhere and has ended; log in again".to_owned()))
            }
        }
    }

    /// Sets a user's own password; all of their login sessions but `session`, which asks, end everywhere.
    pub async fn change_password(
        &self,
        user: &User,
        session: &str,
        (current, new): (&str, &str),
        visitor: &Visitor,
    ) -> Result<()> {
        let ended = self.accounts.change_password((user, session), current, new, visitor).await?;
        self.tell_ended(ended);
        Ok(())
    }

    fn tell_ended(&self, ended: Vec<String>) {
        for session in ended.iter().take(NOTICES_MAX) {
            let notice = Notice::SessionEnded { session: session.clone() };
            self.broker.publish(Channel::Cluster, Envelope::from(notice).encode());
        }
        self.end_login_sessions(&ended.into_iter().collect());
    }
}
