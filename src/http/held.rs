//! Taking up a session: counted, looked at once more when it can be found, and taken out of the node however it ends.

use std::sync::Arc;

use super::auth::{By, Caller};
use super::origin::ClientAddress;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use crate::node::{Node, Proof, Session};
use crate::protocol::frames::ServerFrame;

/// A session the node knows. It is taken out when the connection ends, or never comes to stand.
pub struct Held {
    pub node: Arc<Node>,
    pub session: Arc<Session>,
}

impl Held {
    /// `first` is what a socket is told before all else; an event stream has none. Refused when this node, the user or the address has too many, when the node is
    /// going, and when the log-in was withdrawn meanwhile.
    pub fn take_up(
        node: Arc<Node>,
        caller: Caller,
        from: ClientAddress,
        first: Option<&ServerFrame<'_>>,
    ) -> Result<Self> {
        let (user, issued_at) = (caller.user.id, caller.issued_at.map(Timestamp::seconds));
        let proof = Proof {
            login_session: caller.login_session.clone(),
            issued_at,
            expires_at: (caller.by == By::Bearer).then(|| caller.expires_at.seconds()),
        };
        let session = node.hub.admit(caller.user, from.0, proof, first, &node.config)?;
        let held = Self { node, session };
        // Looked at again now that it would be found: what began or was withdrawn since the first look missed it.
        if held.node.refuses_sockets() {
            return Err(going());
        }
        if held.node.is_revoked(user, caller.login_session.as_deref(), issued_at) {
            return Err(Error::login_ended());
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.node.disconnect(&self.session);
    }
}

pub fn going() -> Error {
    Error::unavailable("this node is going; try another")
}
