//! The truth of one room as the store would hold it: every change that was ever committed, and which of them is a
//! message's present state.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ChangeKind, Epoch, Message, MessageId, Reactions, RoomId, Seq, Slug, Timestamp, UserId, Username};
use crate::store::{Changes, Head};

pub struct Store {
    pub room: RoomId,
    pub slug: Slug,
    /// All changes; the change of a seq stands at `seq - 1`.
    log: Vec<Message>,
    present: BTreeMap<MessageId, Seq>,
    purged: BTreeSet<MessageId>,
    /// All up to it were removed by age.
    outdated: MessageId,
}

impl Store {
    pub fn new(room: RoomId) -> Self {
        let slug = Slug::from_stored(format!("room-{}", room.0));
        Self { room, slug, log: Vec::new(), present: BTreeMap::new(), purged: BTreeSet::new(), outdated: 0 }
    }

    pub fn head(&self) -> Seq {
        self.log.len() as Seq
    }

    /// The change that took this seq, whatever became of it since.
    pub fn change(&self, seq: Seq) -> &Message {
        &self.log[seq as usize - 1]
    }

    /// Whether nothing will ever be told of this seq again.
    pub fn is_void(&self, seq: Seq) -> bool {
        self.present.get(&self.change(seq).id) != Some(&seq)
    }

    /// Messages as they are now.
    pub fn present(&self) -> impl Iterator<Item = &Message> {
        self.present.values().map(|seq| self.change(*seq))
    }

    pub fn is_purged(&self, id: MessageId) -> bool {
        self.purged.contains(&id)
    }

    pub fn send(&mut self, length: usize) -> Message {
        let id = self.head() + 1;
        self.commit(Message {
            room: self.room,
            id,
            seq: id,
            kind: ChangeKind::Created,
            author: Username::from_stored("author".into()),
            author_id: UserId(1),
            content: format!("said at {id} {}", "x".repeat(length)),
            created_at: Timestamp(0),
            edited_at: None,
            deleted: false,
            reply_to: None,
            nonce: None,
            mentions: Vec::new(),
            reactions: Reactions::default(),
        })
    }

    pub fn edit(&mut self, which: usize) -> Option<Message> {
        let mut message = self.nth(which)?;
        message.kind = ChangeKind::Edited;
        message.content = format!("edited at {}", self.head() + 1);
        Some(self.commit(message))
    }

    pub fn delete(&mut self, which: usize) -> Option<Message> {
        let mut message = self.nth(which)?;
        message.kind = ChangeKind::Deleted;
        (message.content, message.deleted) = (String::new(), true);
        Some(self.commit(message))
    }

    /// Removes a message without a trace.
    pub fn purge(&mut self, which: usize) {
        if let Some(message) = self.nth(which) {
            self.present.remove(&message.id);
            self.purged.insert(message.id);
        }
    }

    /// Removes the oldest messages.
    pub fn age(&mut self, count: usize) {
        for _ in 0..count {
            let Some((id, _)) = self.present.pop_first() else { return };
            self.purged.insert(id);
            self.outdated = id;
        }
    }

    pub fn outdated(&self) -> MessageId {
        self.outdated
    }

    pub fn changes_after(&self, after: Seq, limit: usize) -> Changes {
        let mut changes = self.by_seq(after);
        let more = changes.len() > limit;
        changes.truncate(limit);
        Changes { head: self.head_row(), changes, more }
    }

    pub fn recent_changes(&self, limit: usize) -> Changes {
        let mut changes = self.by_seq(0);
        let more = changes.len() > limit;
        changes.drain(..changes.len().saturating_sub(limit));
        Changes { head: self.head_row(), changes, more }
    }

    /// The latest messages by id, oldest first, and whether older ones exist.
    pub fn latest(&self, limit: usize) -> (Vec<Message>, bool) {
        let cut = self.present.len().saturating_sub(limit);
        (self.present().skip(cut).cloned().collect(), cut > 0)
    }

    fn by_seq(&self, after: Seq) -> Vec<Message> {
        let mut changes: Vec<Message> = self.present().filter(|message| message.seq > after).cloned().collect();
        changes.sort_by_key(|message| message.seq);
        changes
    }

    fn head_row(&self) -> Head {
        Head { room: self.room, seq: self.head(), access: 0, epoch: Epoch("first".into()), purged: self.outdated }
    }

    fn nth(&self, which: usize) -> Option<Message> {
        let place = which.checked_rem(self.present.len())?;
        self.present().nth(place).cloned()
    }

    fn commit(&mut self, mut message: Message) -> Message {
        message.seq = self.head() + 1;
        self.present.insert(message.id, message.seq);
        self.log.push(message.clone());
        message
    }
}
