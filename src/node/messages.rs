//! Sending, editing, deleting, reacting: into the appender, and from there to everybody.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::Node;
use super::appender::{Committed, Done, Job, Stored, What};
use super::gate::Frame;
use super::metrics::Metrics;
use crate::broker::Channel;
use crate::error::{Error, Result};
use crate::model::{
    ChangeKind, Content, Emoji, Message, MessageId, Nonce, Reactions, RoomId, RoomRef, Seq, SiteRole, Slug, User,
};
use crate::protocol::envelope::{Envelope, Notice};
use crate::protocol::frames::encode_change;
use crate::store::{Append, Appended, Change, ChangeWhat, Changed};

/// A message that is stored, with the slug its frame says.
#[derive(Debug, Clone)]
pub struct Told {
    pub slug: Slug,
    pub message: Message,
    /// For a send: the nonce was seen before. For any other change: it was already so.
    pub unchanged: bool,
}

/// What a sender hands in.
#[derive(Debug, Clone)]
pub struct Draft {
    pub content: String,
    pub nonce: Option<String>,
    pub reply_to: Option<MessageId>,
}

impl Node {
    /// Stores a message and has it delivered; returns when it is durable.
    pub async fn send(self: &Arc<Self>, who: &User, room: &RoomRef, draft: &Draft) -> Result<Told> {
        let retry_known = self.hub.address(room).is_some();
        match self.send_once(who, room, draft).await {
            // The address may be that of a room deleted since, whose slug another one has now.
            Err(Error::NotFound(_)) if retry_known && self.address_is_stale(who, room).await => {
                self.send_once(who, room, draft).await
            }
            told => told,
        }
    }

    pub async fn edit(self: &Arc<Self>, who: &User, room: &RoomRef, id: MessageId, content: &str) -> Result<Told> {
        let content = Content::parse(content, self.config.limits.content_chars)?;
        self.change(who, room, id, ChangeWhat::Edit(content)).await
    }

    pub async fn delete(self: &Arc<Self>, who: &User, room: &RoomRef, id: MessageId) -> Result<Told> {
        self.change(who, room, id, ChangeWhat::Delete).await
    }

    /// Gives a message one's own reaction, or takes it back.
    pub async fn react(
        self: &Arc<Self>,
        who: &User,
        room: &RoomRef,
        id: MessageId,
        emoji: &str,
        wanted: bool,
    ) -> Result<Told> {
        let emoji = Emoji::parse(emoji)?;
        let what = if wanted { ChangeWhat::React(emoji) } else { ChangeWhat::Unreact(emoji) };
        self.change(who, room, id, what).await
    }

    /// Puts a send into the appender; `done` hears what became of it. The checks that need no store come first.
    pub async fn submit_send(
        self: &Arc<Self>,
        who: &User,
        room: &RoomRef,
        draft: &Draft,
        done: Box<dyn FnOnce(Result<Told>) + Send>,
    ) -> Result<()> {
        let content = Content::parse(&draft.content, self.config.limits.content_chars)?;
        let nonce = draft.nonce.as_deref().map(Nonce::parse).transpose()?.unwrap_or_else(Nonce::random);
        self.take_message_token(who)?;
        let (id, slug) = self.locate(who, room).await?;
        let append = Append {
            room: id,
            author: who.id,
            nonce,
            fingerprint: fingerprint(&content, draft.reply_to),
            content,
            reply_to: draft.reply_to,
        };
        self.appender.submit(slug, who.clone(), What::Send(append), into_told(&self.metrics, done));
        Ok(())
    }

    /// The same for an edit, a deletion or a reaction.
    pub async fn submit_change(
        self: &Arc<Self>,
        who: &User,
        room: &RoomRef,
        id: MessageId,
        what: ChangeWhat,
        done: Box<dyn FnOnce(Result<Told>) + Send>,
    ) -> Result<()> {
        self.take_message_token(who)?;
        let (room, slug) = match who.role {
            SiteRole::User => self.locate(who, room).await?,
            // The store lets an administrator delete anywhere, so whether they may know of the room is asked here.
            SiteRole::Admin => self.locate_afresh(who, room).await?,
        };
        self.put_change(slug, who, Change { room, actor: who.id, id, what }, done);
        Ok(())
    }

    /// Of a room that was found under this slug.
    pub(super) fn put_change(
        self: &Arc<Self>,
        slug: Slug,
        who: &User,
        change: Change,
        done: Box<dyn FnOnce(Result<Told>) + Send>,
    ) {
        self.appender.submit(slug, who.clone(), What::Change(change), into_told(&self.metrics, done));
    }

    /// Tells the others in the room that somebody types; at most once in 3 s a user, and not in large rooms.
    pub async fn typing(&self, who: &User, room: &RoomRef) -> Result<()> {
        let here = self.hub.address(room).and_then(|(id, _)| self.hub.room(id)).filter(|room| {
            let inner = room.lock();
            inner.sessions().iter().any(|session| session.user.id == who.id)
        });
        let Some(room) = here else {
            self.locate_afresh(who, room).await?;
            return Err(Error::NotFound("nobody of yours has joined this room".into()));
        };
        let mut inner = room.lock();
        if inner.may_type(&who.username) {
            inner.tell_typing(&who.username);
            let notice =
                Notice::Typing { incarnation: self.incarnation.0.clone(), user: who.username.as_str().to_owned() };
            self.broker.publish(Channel::Room(room.id), Envelope::from(notice).encode());
        }
        Ok(())
    }

    async fn send_once(self: &Arc<Self>, who: &User, room: &RoomRef, draft: &Draft) -> Result<Told> {
        let (told, hear) = oneshot::channel();
        self.submit_send(who, room, draft, Box::new(move |outcome| drop(told.send(outcome)))).await?;
        hear.await.map_err(|_| Error::unavailable("the node is going; send it again"))?
    }

    async fn change(self: &Arc<Self>, who: &User, room: &RoomRef, id: MessageId, what: ChangeWhat) -> Result<Told> {
        let (told, hear) = oneshot::channel();
        self.submit_change(who, room, id, what, Box::new(move |outcome| drop(told.send(outcome)))).await?;
        hear.await.map_err(|_| Error::unavailable("the node is going; send it again"))?
    }

    /// Whether what this node remembers of a room's address is no longer what the store says; it is forgotten then.
    async fn address_is_stale(&self, who: &User, room: &RoomRef) -> bool {
        let Some((known, _)) = self.hub.address(room) else { return true };
        match self.store.room(who.id, room).await {
            Ok(Some(info)) if info.id != known => {
                self.hub.forget_address(known);
                true
            }
            _ => false,
        }
    }

    pub(super) fn take_message_token(&self, who: &User) -> Result<()> {
        self.message_rate.take(who.id).map_err(|retry_after| Error::RateLimited {
            what: format!("at most {} messages a second", self.config.limits.messages_per_s),
            retry_after,
        })
    }

    fn deliver(self: &Arc<Self>, room: RoomId, seq: Seq, id: MessageId, text: String) {
        let text = Bytes::from(text);
        // Our own sockets first: they need no broker, and its echo is then known.
        self.offer(room, Frame { seq, id, text: text.clone() });
        self.broker.publish(Channel::Room(room), Envelope::Change { seq, id, text }.encode());
    }
}

/// The appender's way back: what was committed is encoded once and sent on its way, whoever still waits for it.
pub(super) struct Delivering(pub Arc<Node>);

impl Committed for Delivering {
    /// Also what was stored before: the answer to it, or the node that stored it, may have been lost before anybody was
    /// told. To gates that know it, it is an echo.
    fn committed(&self, job: &Job, stored: &Stored) {
        let message = told(job, stored).message;
        self.0.words.note(message.room);
        self.0.deliver(message.room, message.seq, message.id, encode_change(&message, &job.slug));
    }
}

fn into_told(metrics: &Arc<Metrics>, done: Box<dyn FnOnce(Result<Told>) + Send>) -> Done {
    let metrics = metrics.clone();
    Box::new(move |job, outcome| {
        let outcome = outcome.map(|stored| told(job, stored));
        let counter = match &outcome {
            Ok(told) if told.unchanged => &metrics.messages_unchanged,
            Ok(_) => &metrics.messages_stored,
            Err(Error::Unavailable(_) | Error::Internal(_)) => &metrics.messages_unknown,
            Err(_) => &metrics.messages_refused,
        };
        counter.increment(1);
        done(outcome);
    })
}

fn told(job: &Job, stored: &Stored) -> Told {
    let (message, unchanged) = match (&job.what, stored) {
        (What::Send(append), Stored::Append(Appended::Stored { id, created_at, mentions })) => (
            Message {
                room: append.room,
                id: *id,
                seq: *id,
                kind: ChangeKind::Created,
                author: job.by.username.clone(),
                author_id: job.by.id,
                content: append.content.as_str().to_owned(),
                created_at: *created_at,
                edited_at: None,
                deleted: false,
                reply_to: append.reply_to,
                nonce: Some(append.nonce.as_str().to_owned()),
                mentions: mentions.clone(),
                reactions: Reactions::default(),
            },
            false,
        ),
        (_, Stored::Append(Appended::Duplicate(message)) | Stored::Change(Changed::Unchanged(message))) => {
            ((**message).clone(), true)
        }
        (_, Stored::Change(Changed::Done(message))) => ((**message).clone(), false),
        (_, stored) => unreachable!("refused and busy jobs are not told this way: {stored:?}"),
    };
    Told { slug: job.slug.clone(), message, unchanged }
}

/// Tells a repeated send from another one under the same nonce.
fn fingerprint(content: &Content, reply_to: Option<MessageId>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(reply_to.unwrap_or(0).to_be_bytes());
    hash.update(content.as_str());
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.finalize()[..16]);
    fingerprint
}
