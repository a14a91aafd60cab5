//! Up to which access version *everybody* in a room was checked. Free of I/O.
//!
//! Who comes in was checked when they asked, which may be a while ago; and while a check of the room runs, others come
//! in whom it does not look at. Neither may hide behind a version that was reached without them.

#[cfg(test)]
mod properties;

#[derive(Debug, Default)]
pub struct Checked {
    version: u64,
    /// Checks under way, each with the lowest version at which somebody came in since it looked who is there.
    under_way: Vec<(Check, u64)>,
    next: u64,
}

/// One check under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check(u64);

impl Checked {
    /// Nobody in the room is checked at less. Another one than the store's: somebody must be looked at again.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The room begins (again) at the store's version. Who is in it already was checked by another count.
    pub fn open(&mut self, version: u64, is_empty: bool) {
        self.version = if is_empty { version } else { 0 };
        self.under_way.clear();
    }

    /// Somebody comes in who was let in by what the store knew at this version.
    pub fn enter(&mut self, version: u64) {
        self.version = self.version.min(version);
        for (_, lowest) in &mut self.under_way {
            *lowest = version.min(*lowest);
        }
    }

    /// To be called under the same lock under which the list of those to be looked at is taken.
    pub fn begin(&mut self) -> Check {
        let check = Check(self.next);
        self.next += 1;
        self.under_way.push((check, u64::MAX));
        check
    }

    /// All who were there at its beginning may stay, by what the store knew at this version, or are out. `None`: the
    /// store did not answer, so nothing is known.
    pub fn end(&mut self, check: Check, version: Option<u64>) {
        let Some(place) = self.under_way.iter().position(|(other, _)| *other == check) else { return };
        let (_, lowest) = self.under_way.swap_remove(place);
        if let Some(version) = version {
            self.version = self.version.max(version.min(lowest));
        }
    }
}
