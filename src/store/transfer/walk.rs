//! Which rows an export reads next, the same for both backends.

/// Rows read at once.
pub(in crate::store) const PAGE_ROWS: usize = 500;

/// Which rows are read next: part by part, and in each of them range by range of rooms.
pub(in crate::store) struct Walk {
    /// First and last room.
    ranges: Vec<(i64, i64)>,
    part: usize,
    range: usize,
    after: Option<After>,
}

/// The last row read: its room (or user), and what comes next in the table's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct After {
    pub first: i64,
    pub second: i64,
    /// Of an invitation.
    pub code_hash: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Part {
    Users,
    Rooms,
    Members,
    Bans,
    Mutes,
    Invites,
    Messages,
}

const PARTS: [Part; 7] =
    [Part::Users, Part::Rooms, Part::Members, Part::Bans, Part::Mutes, Part::Invites, Part::Messages];

impl Walk {
    /// Through all rooms, or through these.
    pub fn new(rooms: Option<&[i64]>) -> Self {
        let ranges = match rooms {
            None => vec![(1, i64::MAX)],
            Some(rooms) => rooms.iter().map(|room| (*room, *room)).collect(),
        };
        Self { ranges, part: 0, range: 0, after: None }
    }

    /// What to read: rows behind `After`, up to the room; `None`: that was all.
    pub fn place(&self) -> Option<(Part, After, i64)> {
        let part = *PARTS.get(self.part)?;
        let (first, last) = if part == Part::Users { (1, i64::MAX) } else { *self.ranges.get(self.range)? };
        let start = || After { first: first - 1, second: i64::MAX, code_hash: vec![u8::MAX; 64] };
        Some((part, self.after.clone().unwrap_or_else(start), last))
    }

    /// So many rows were read, the last of which was this one.
    pub fn read(&mut self, rows: usize, last: Option<After>) {
        self.after = last;
        if rows >= PAGE_ROWS {
            return;
        }
        self.after = None;
        self.range += 1;
        if PARTS.get(self.part) == Some(&Part::Users) || self.range >= self.ranges.len() {
            (self.part, self.range) = (self.part + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(walk: &mut Walk, rows: usize) -> Option<(Part, i64, i64)> {
        let (part, after, last) = walk.place()?;
        walk.read(rows, Some(After { first: after.first + 1, second: 7, code_hash: Vec::new() }));
        Some((part, after.first, last))
    }

    #[test]
    fn every_part_of_every_range_is_walked_through_to_its_end() {
        let mut walk = Walk::new(Some(&[4, 9]));
        assert_eq!(read(&mut walk, PAGE_ROWS), Some((Part::Users, 0, i64::MAX)));
        assert_eq!(read(&mut walk, 1), Some((Part::Users, 1, i64::MAX)));
        for part in &PARTS[1..6] {
            assert_eq!(read(&mut walk, 1), Some((*part, 3, 4)));
            assert_eq!(read(&mut walk, 0), Some((*part, 8, 9)));
        }
        assert_eq!(read(&mut walk, PAGE_ROWS), Some((Part::Messages, 3, 4)));
        assert_eq!(read(&mut walk, 3), Some((Part::Messages, 4, 4)));
        assert_eq!(read(&mut walk, 3), Some((Part::Messages, 8, 9)));
        assert_eq!(read(&mut walk, 0), None);
    }
}
