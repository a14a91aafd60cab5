//! Pages and their cursors, the same for both backends.

use super::Page;
use crate::model::{RoomId, RoomInfo};

impl<T> Page<T> {
    /// A page of `limit` out of items of which one more was asked for than fits; `cursor` names the last one given.
    pub(super) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// A cursor that is the id which the next page lies below: newest first. What is no cursor of ours starts from the
/// beginning.
pub(super) fn below(cursor: Option<&str>) -> i64 {
    cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(i64::MAX)
}

impl Page<RoomId> {
    /// Of a page of rooms that were looked at, those for which something was found.
    pub(super) fn among(looked: &[(i64, bool)], limit: u32) -> Self {
        let more = looked.len() >= limit as usize;
        let next = looked.last().filter(|_| more).map(|(room, _)| room.to_string());
        Self { items: looked.iter().filter(|(_, found)| *found).map(|(room, _)| RoomId(*room)).collect(), next }
    }
}

/// Where a listing of rooms goes on: among the user's own, or among the open ones after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoomsCursor {
    Own(i64),
    Open(i64),
}

impl RoomsCursor {
    /// What is no cursor of ours starts from the beginning.
    pub fn parse(text: Option<&str>) -> Self {
        let parsed = text.and_then(|text| {
            let (part, id) = text.split_once('-')?;
            let id = id.parse().ok()?;
            match part {
                "own" => Some(Self::Own(id)),
                "open" => Some(Self::Open(id)),
                _ => None,
            }
        });
        parsed.unwrap_or(Self::Own(0))
    }

    pub fn after(room: &RoomInfo) -> String {
        match room.role {
            Some(_) => format!("own-{}", room.id.0),
            None => format!("open-{}", room.id.0),
        }
    }

    /// The ids after which own and open rooms are listed.
    pub fn bounds(self) -> (i64, i64) {
        match self {
            Self::Own(id) => (id, 0),
            Self::Open(id) => (i64::MAX, id),
        }
    }
}
