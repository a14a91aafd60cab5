//! Who may be mentioned in texts, found before the room is locked; who is a member is looked at under the lock.

use std::collections::HashMap;

use super::super::*;
use super::pool::Pool;
use super::rows::{get, unsigned};

/// Users that texts may mention, as the functions in `migrations/postgres` take them: for each an item (from 1), its
/// place in the text, and the user. Of one place the first one counts who is a member.
#[derive(Default)]
pub struct Wished {
    pub items: Vec<i32>,
    pub places: Vec<i32>,
    pub users: Vec<i64>,
}

/// `None`, and nothing asked, when no text has a name in it.
pub async fn wished<'a>(pool: &Pool, texts: impl Iterator<Item = &'a str>) -> Result<Option<Wished>> {
    let mut names = Vec::new();
    for (item, text) in (1..).zip(texts) {
        for (place, alternatives) in (1..).zip(mentioned(text)) {
            names.extend(alternatives.into_iter().map(|name| (item, place, name)));
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let mut looks: Vec<String> = names.iter().map(|(_, _, name)| name.lookalike()).collect();
    looks.sort_unstable();
    looks.dedup();
    let rows = pool.query("SELECT id, username FROM users WHERE username_key = ANY ($1)", &[&looks]).await?;
    let mut users: HashMap<String, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        // Found by its look, but it must be the name itself.
        users.insert(Username::from_stored(get(row, 1)?).key(), get(row, 0)?);
    }
    let mut wished = Wished::default();
    for (item, place, name) in names {
        if let Some(user) = users.get(&name.key()) {
            wished.items.push(item);
            wished.places.push(place);
            wished.users.push(*user);
        }
    }
    Ok((!wished.users.is_empty()).then_some(wished))
}

/// What is kept beside the messages of deleted rooms.
pub async fn purge(pool: &Pool, limit: u32) -> Result<u32> {
    let row = pool.first("SELECT salon_purge_reading($1)", &[&i64::from(limit)]).await?;
    let removed = row.map_or(Ok(0), |row| get::<i64>(&row, 0))?;
    Ok(u32::try_from(unsigned(removed)).unwrap_or(limit).min(limit))
}
