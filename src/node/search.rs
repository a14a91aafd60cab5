//! Search: the words of messages are taken beside the appends, about a second behind them, at most a tenth of the time;
//! what is found is what the user may read at that moment.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, Semaphore};

use super::Node;
use crate::error::{Error, Result};
use crate::model::search::Query;
use crate::model::{RoomId, RoomRef, User};
use crate::store::{Before, Found, Page, Search, StoreError};

/// Changes whose words are taken in one statement.
const CHUNK: u32 = 500;
/// Rooms given to one statement.
const ROOMS_CHUNK: usize = 100;
/// Taking words may take at most this share of the time.
const SHARE: u32 = 10;
/// How long rooms are gathered in which something changed …
const GATHER: Duration = Duration::from_secs(1);
/// … and how often it is looked for rooms that nobody remembers: of nodes that died, of a configuration before.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Rooms remembered; of further ones the sweep knows.
const ROOMS_MAX: usize = 10_000;
/// Searches at once on one node, so that they leave the database to the chat; further ones wait this long.
const AT_ONCE: usize = 4;
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What is shown of a long text, in characters, and how many of them before the first word that was found.
const EXCERPT_CHARS: usize = 200;
const LEAD_CHARS: usize = 60;

pub struct Words {
    rooms: Mutex<HashSet<RoomId>>,
    work: Notify,
    searches: Semaphore,
}

/// A part of an excerpt; the parts together are the text as it stands in the message.
#[derive(utoipa::ToSchema, Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub text: String,
    /// Whether it is a word that was searched for.
    pub r#match: bool,
}

impl Default for Words {
    fn default() -> Self {
        Self { rooms: Mutex::default(), work: Notify::new(), searches: Semaphore::new(AT_ONCE) }
    }
}

impl Words {
    /// Something changed there.
    pub fn note(&self, room: RoomId) {
        let mut rooms = self.lock();
        let is_first = rooms.is_empty();
        if rooms.len() < ROOMS_MAX {
            rooms.insert(room);
        }
        drop(rooms);
        if is_first {
            self.work.notify_one();
        }
    }

    fn take(&self, max: usize) -> Vec<RoomId> {
        let mut rooms = self.lock();
        let taken: Vec<RoomId> = rooms.iter().take(max).copied().collect();
        for room in &taken {
            rooms.remove(room);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RoomId>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// A page of messages by their words, newest first, each with the excerpt to show.
    pub async fn search(
        &self,
        who: &User,
        query: &str,
        room: Option<&RoomRef>,
        before: Option<Before>,
        limit: u32,
    ) -> Result<Page<(Found, Vec<Piece>)>> {
        let query = Query::parse(query)?;
        let room = match room {
            Some(room) => Some(self.find(who, room).await?.0),
            None => None,
        };
        let Some(query) = query else { return Ok(Page { items: Vec::new(), next: None }) };
        let turn = tokio::time::timeout(WAIT_MAX, self.words.searches.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Error::unavailable("too many are searching; try again")) };
        // Whoever searches for what was just said through this node finds it.
        let rooms = self.words.take(ROOMS_CHUNK);
        if !rooms.is_empty() {
            self.take_words(&rooms, 1).await.ok();
        }
        let search = Search { user: who.id, query, room, before, limit };
        let Page { items, next } = self.store.search(&search).await?;
        let shown = items.into_iter().map(|found| {
            let pieces = excerpt(&found.message.content, &found.words);
            (found, pieces)
        });
        Ok(Page { items: shown.collect(), next })
    }

    /// Runs beside the sockets.
    pub(super) async fn gather_words(self: Arc<Self>) {
        let mut swept = None::<Instant>;
        loop {
            tokio::time::timeout(SWEEP_INTERVAL, self.words.work.notified()).await.ok();
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.catch_up_words(&mut swept).await {
                tracing::debug!(%error, "words could not be taken yet");
            }
        }
    }

    async fn catch_up_words(&self, swept: &mut Option<Instant>) -> Result<(), StoreError> {
        loop {
            let mut rooms = self.words.take(ROOMS_CHUNK);
            if rooms.is_empty() && swept.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL) {
                rooms = self.store.unworded(ROOMS_CHUNK as u32).await?;
                if rooms.is_empty() {
                    *swept = Some(Instant::now());
                }
            }
            if rooms.is_empty() {
                return Ok(());
            }
            self.take_words(&rooms, SHARE).await?;
        }
    }

    /// One statement's worth, and a rest in proportion; what is left of the rooms comes later.
    async fn take_words(&self, rooms: &[RoomId], share: u32) -> Result<(), StoreError> {
        let started = Instant::now();
        let taken = self.store.take_words(rooms, CHUNK).await;
        // There is more, or nobody knows.
        if !matches!(taken, Ok(taken) if taken < CHUNK) {
            rooms.iter().for_each(|room| self.words.note(*room));
        }
        tokio::time::sleep(started.elapsed() * (share - 1)).await;
        taken.map(|_| ())
    }
}

/// What to show of a text in which these words (in lower case) were found: around the first of them.
pub fn excerpt(text: &str, words: &HashSet<String>) -> Vec<Piece> {
    let mut hits = Vec::new();
    let mut from = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_alphanumeric(), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                if words.contains(&text[start..at].to_lowercase()) {
                    hits.push(start..at);
                }
                from = None;
            }
            _ => {}
        }
    }
    let first = hits.first().map_or(0, |hit| hit.start);
    let begin = text[..first].char_indices().rev().nth(LEAD_CHARS - 1).map_or(0, |(at, _)| at);
    let end = text[begin..].char_indices().nth(EXCERPT_CHARS).map_or(text.len(), |(at, _)| begin + at);
    let mut pieces = Vec::new();
    let mut piece = |text: &str, is_match| {
        if !text.is_empty() {
            pieces.push(Piece { text: text.to_owned(), r#match: is_match });
        }
    };
    let mut at = begin;
    for hit in hits.into_iter().filter(|hit| hit.start >= begin && hit.start < end) {
        piece(&text[at..hit.start], false);
        at = hit.end.min(end);
        piece(&text[hit.start..at], true);
    }
    piece(&text[at..end], false);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, words: &[&str]) -> String {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let pieces = excerpt(text, &words);
        pieces
            .iter()
            .map(|piece| if piece.r#match { format!("[{}]", piece.text) } else { piece.text.clone() })
            .collect()
    }

    #[test]
    fn words_are_told_apart_from_the_rest_whatever_the_text_is() {
        assert_eq!(shown("Red, redder <b>RED</b>", &["red"]), "[Red], redder <b>[RED]</b>");
        assert_eq!(shown("привет, МИР", &["мир", "red"]), "привет, [МИР]");
        assert_eq!(shown("", &["red"]), "");
        assert_eq!(shown("nothing", &["red"]), "nothing");
    }

    #[test]
    fn of_a_long_text_the_part_around_the_first_word_is_shown() {
        let text = format!("{}needle {}", "é".repeat(299) + " ", "ü".repeat(500));
        let pieces = excerpt(&text, &["needle".to_owned()].into());
        let chars: usize = pieces.iter().map(|piece| piece.text.chars().count()).sum();
        assert_eq!((chars, pieces[0].text.chars().count(), pieces[1].text.as_str()), (200, 60, "needle"));
        let long_word = "x".repeat(400);
        let pieces = excerpt(&long_word, &[long_word.clone()].into());
        assert_eq!((pieces.len(), pieces[0].text.len(), pieces[0].r#match), (1, 200, true));
    }
}
