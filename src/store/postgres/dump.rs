//! One snapshot of the database as records: a transaction of its own, on a connection of its own, read page by page.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::{Client, Row};

use super::super::transfer::{
    After, Dump, Extent, InviteRecord, MemberRecord, MessageRecord, PAGE_ROWS, Part, Record, RoomRecord,
    SanctionRecord, UserRecord, Walk, hex, no_such_room, pair,
};
use super::super::*;
use super::pool::{Pool, sort};
use super::rows::{change_kind, get, mentions, reactions, role, site_role, time, unsigned};
use crate::model::RoomKind;

/// Whoever takes what is read may be slow, and a page of messages is not one look-up: no bounds in time here.
const UNHURRIED: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Users who have to do with rooms.
const USERS_OF: &str = "SELECT user_id FROM members WHERE room_id = ANY ($1)
    UNION SELECT user_id FROM bans WHERE room_id = ANY ($1) UNION SELECT banned_by FROM bans WHERE room_id = ANY ($1)
    UNION SELECT user_id FROM mutes WHERE room_id = ANY ($1) UNION SELECT muted_by FROM mutes WHERE room_id = ANY ($1)
    UNION SELECT created_by FROM invites WHERE room_id = ANY ($1)
    UNION SELECT author_id FROM messages WHERE room_id = ANY ($1)
    UNION SELECT user_id FROM mentions WHERE room_id = ANY ($1)
    UNION SELECT user_id FROM reactions WHERE room_id = ANY ($1)";

struct Snapshot {
    client: Client,
    walk: Walk,
    extent: Extent,
    /// `None`: all.
    users: Option<Vec<i64>>,
}

pub async fn dump(config: &config::Database, rooms: Option<&[Slug]>) -> crate::error::Result<Box<dyn Dump>> {
    let client = Pool::new(config)?.connect().await?;
    client.batch_execute(UNHURRIED).await.map_err(|error| sort(&error).0)?;
    let ids = match rooms {
        None => None,
        Some(slugs) => Some(ids_of(&client, slugs).await?),
    };
    let users = match &ids {
        None => None,
        Some(ids) => Some(users_of(&client, ids).await?),
    };
    let extent = extent(&client, ids.as_deref(), users.as_deref()).await?;
    Ok(Box::new(Snapshot { client, walk: Walk::new(ids.as_deref()), extent, users }))
}

#[async_trait]
impl Dump for Snapshot {
    fn extent(&self) -> Extent {
        self.extent
    }

    async fn next(&mut self) -> Result<Vec<Record>> {
        while let Some((part, after, last)) = self.walk.place() {
            let rows = self.rows(part, &after, last).await?;
            let next = rows.last().map(|row| place(part, row)).transpose()?;
            self.walk.read(rows.len(), next);
            let records = self.records(part, &rows).await?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }
}

impl Snapshot {
    async fn rows(&self, part: Part, after: &After, last: i64) -> Result<Vec<Row>> {
        let limit = PAGE_ROWS as i64;
        let sql = &sql_of(part);
        match part {
            Part::Users => query(&self.client, sql, &[&after.first, &limit, &self.users]).await,
            Part::Rooms => query(&self.client, sql, &[&after.first, &last, &limit]).await,
            Part::Invites => query(&self.client, sql, &[&after.first, &after.code_hash, &last, &limit]).await,
            _ => query(&self.client, sql, &[&after.first, &after.second, &last, &limit]).await,
        }
    }

    /// Those of rooms that live.
    async fn records(&self, part: Part, rows: &[Row]) -> Result<Vec<Record>> {
        let rows: Vec<&Row> = rows
            .iter()
            .filter_map(|row| get(row, 0).map(|lives: bool| lives.then_some(row)).transpose())
            .collect::<Result<_>>()?;
        let each = |record: fn(&Row) -> Result<Record>| rows.iter().map(|row| record(row)).collect();
        match part {
            Part::Users => each(user),
            Part::Rooms => each(room),
            Part::Members => each(member),
            Part::Bans => each(|row| sanction(row).map(Record::Ban)),
            Part::Mutes => each(|row| sanction(row).map(Record::Mute)),
            Part::Invites => each(invite),
            Part::Messages => self.messages(&rows).await,
        }
    }

    async fn messages(&self, rows: &[&Row]) -> Result<Vec<Record>> {
        let ids = self.ids_of_names(rows).await?;
        let mut given = self.reactions(rows).await?;
        rows.iter()
            .map(|row| {
                let mut message = message(row)?;
                let named = mentions(row, 13)?;
                message.mentions = named.iter().filter_map(|name| ids.get(name.as_str()).copied()).collect();
                if let Some(given) = given.remove(&(message.room, message.id)) {
                    let kinds: Vec<String> = reactions(row, 14)?.0.into_iter().map(|kind| kind.emoji).collect();
                    message.set_reactions(&kinds, given);
                }
                Ok(Record::Message(Box::new(message)))
            })
            .collect()
    }

    /// Messages show names; what they mean are users.
    async fn ids_of_names(&self, rows: &[&Row]) -> Result<HashMap<String, i64>> {
        let mut looks = Vec::new();
        for row in rows {
            looks.extend(mentions(row, 13)?.iter().map(Username::lookalike));
        }
        if looks.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT username, id FROM users WHERE username_key = ANY ($1)";
        query(&self.client, sql, &[&looks]).await?.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    async fn reactions(&self, rows: &[&Row]) -> Result<HashMap<(i64, Seq), HashMap<String, Vec<(i64, Seq)>>>> {
        let (mut rooms, mut ids) = (Vec::new(), Vec::new());
        for row in rows {
            if !reactions(row, 14)?.is_empty() {
                rooms.push(get::<i64>(row, 1)?);
                ids.push(get::<i64>(row, 2)?);
            }
        }
        let mut given: HashMap<_, HashMap<_, Vec<_>>> = HashMap::new();
        if rooms.is_empty() {
            return Ok(given);
        }
        let sql = "SELECT x.room_id, x.id, x.emoji, x.user_id, x.seq
            FROM unnest($1::bigint[], $2::bigint[]) AS k (room_id, id)
            JOIN reactions x ON x.room_id = k.room_id AND x.id = k.id ORDER BY x.room_id, x.id, x.seq";
        for row in query(&self.client, sql, &[&rooms, &ids]).await? {
            let message = given.entry((get(&row, 0)?, unsigned(get(&row, 1)?))).or_default();
            message.entry(get(&row, 2)?).or_default().push((get(&row, 3)?, unsigned(get(&row, 4)?)));
        }
        Ok(given)
    }
}

async fn query(client: &Client, sql: &str, params: &[super::pool::Param<'_>]) -> Result<Vec<Row>> {
    client.query(sql, params).await.map_err(|error| sort(&error).0)
}

async fn ids_of(client: &Client, slugs: &[Slug]) -> crate::error::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for slug in slugs {
        let sql = "SELECT id FROM rooms WHERE slug = $1 AND deleted_at IS NULL";
        let rows = query(client, sql, &[&slug.as_str()]).await?;
        ids.push(get(rows.first().ok_or_else(|| no_such_room(slug))?, 0)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

async fn users_of(client: &Client, rooms: &[i64]) -> Result<Vec<i64>> {
    let rows = query(client, USERS_OF, &[&rooms]).await?;
    Ok(rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<Option<i64>>>>()?.into_iter().flatten().collect())
}

async fn extent(client: &Client, rooms: Option<&[i64]>, users: Option<&[i64]>) -> Result<Extent> {
    let of = |table: &str| {
        format!(
            "(SELECT count(*) FROM {table} x JOIN rooms r ON r.id = x.room_id
              WHERE r.deleted_at IS NULL AND ($1::bigint[] IS NULL OR r.id = ANY ($1)))"
        )
    };
    let tables = ["members", "bans", "mutes", "invites", "messages"].map(of).join(" + ");
    // A sequence is of no snapshot: it is at what was given last in this one, or beyond.
    let sql = format!(
        "SELECT (SELECT count(*) FROM users WHERE $2::bigint[] IS NULL OR id = ANY ($2))
             + (SELECT count(*) FROM rooms WHERE deleted_at IS NULL AND ($1::bigint[] IS NULL OR id = ANY ($1)))
             + {tables},
             coalesce(pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass), 0),
             coalesce(pg_sequence_last_value(pg_get_serial_sequence('rooms', 'id')::regclass), 0)"
    );
    let rows = query(client, &sql, &[&rooms, &users]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("a count gave no row".to_owned()))?;
    Ok(Extent { records: unsigned(get(row, 0)?), last_user: get(row, 1)?, last_room: get(row, 2)? })
}

/// The first column says whether the row's room lives; then come the key, which goes on behind `$1` and `$2` and to the
/// room `$3`, and the rest.
fn sql_of(part: Part) -> String {
    let keyed = |table: &str, key: &str, columns: &str| {
        format!(
            "SELECT r.id IS NOT NULL, x.room_id, x.{key}, {columns}
             FROM (
                 SELECT * FROM {table} WHERE (room_id, {key}) > ($1, $2) AND room_id <= $3
                 ORDER BY room_id, {key} LIMIT $4
             ) x
             LEFT JOIN rooms r ON r.id = x.room_id AND r.deleted_at IS NULL
             ORDER BY x.room_id, x.{key}"
        )
    };
    match part {
        Part::Users => "SELECT true, id, username, role, disabled, created_at, password_hash, issuer, subject
             FROM users WHERE id > $1 AND ($3::bigint[] IS NULL OR id = ANY ($3)) ORDER BY id LIMIT $2"
            .to_owned(),
        Part::Rooms => {
            "SELECT r.deleted_at IS NULL, r.id, r.slug, r.name, r.topic, r.kind, r.direct_pair, r.created_at,
                 r.retention_days, c.epoch, c.seq, c.purged, CASE WHEN isfinite(c.stamped_at) THEN c.stamped_at END
             FROM rooms r JOIN room_clocks c ON c.room_id = r.id
             WHERE r.id > $1 AND r.id <= $2 ORDER BY r.id LIMIT $3"
                .to_owned()
        }
        Part::Members => keyed("members", "user_id", "x.role, x.last_read, x.since"),
        Part::Bans => keyed("bans", "user_id", "x.banned_by, x.reason, x.until, x.created_at"),
        Part::Mutes => keyed("mutes", "user_id", "x.muted_by, x.reason, x.until, x.created_at"),
        Part::Invites => keyed("invites", "code_hash", "x.created_by, x.uses_left, x.expires_at, x.created_at"),
        Part::Messages => keyed(
            "messages",
            "id",
            "x.seq, x.kind, x.author_id, x.created_at, x.edited_at, x.deleted, x.reply_to, x.nonce,
             encode(x.fingerprint, 'hex'), x.content, x.mentions, x.reactions",
        ),
    }
}

fn place(part: Part, row: &Row) -> Result<After> {
    let mut after = After { first: get(row, 1)?, second: 0, code_hash: Vec::new() };
    match part {
        Part::Users | Part::Rooms => {}
        Part::Invites => after.code_hash = get(row, 2)?,
        _ => after.second = get(row, 2)?,
    }
    Ok(after)
}

fn user(row: &Row) -> Result<Record> {
    Ok(Record::User(UserRecord {
        id: get(row, 1)?,
        username: get(row, 2)?,
        role: site_role(get(row, 3)?)?,
        disabled: get(row, 4)?,
        created_at: time(row, 5)?,
        password_hash: get(row, 6)?,
        issuer: get(row, 7)?,
        subject: get(row, 8)?,
    }))
}

fn room(row: &Row) -> Result<Record> {
    let kind: &str = get(row, 5)?;
    Ok(Record::Room(RoomRecord {
        id: get(row, 1)?,
        slug: get(row, 2)?,
        name: get(row, 3)?,
        topic: get(row, 4)?,
        kind: RoomKind::from_word(kind).ok_or_else(|| StoreError::Internal(format!("rooms.kind holds {kind}")))?,
        pair: pair(get(row, 6)?)?,
        created_at: time(row, 7)?,
        retention_days: get::<Option<i32>>(row, 8)?.and_then(|days| u32::try_from(days).ok()),
        epoch: get(row, 9)?,
        seq: unsigned(get(row, 10)?),
        purged: unsigned(get(row, 11)?),
        stamped_at: time_or_none(row, 12)?,
    }))
}

fn member(row: &Row) -> Result<Record> {
    Ok(Record::Member(MemberRecord {
        room: get(row, 1)?,
        user: get(row, 2)?,
        role: role(get(row, 3)?)?,
        last_read: unsigned(get(row, 4)?),
        since: time(row, 5)?,
    }))
}

fn sanction(row: &Row) -> Result<SanctionRecord> {
    Ok(SanctionRecord {
        room: get(row, 1)?,
        user: get(row, 2)?,
        by: get(row, 3)?,
        reason: get(row, 4)?,
        until: time_or_none(row, 5)?,
        created_at: time(row, 6)?,
    })
}

fn invite(row: &Row) -> Result<Record> {
    Ok(Record::Invite(InviteRecord {
        room: get(row, 1)?,
        code_hash: hex(get(row, 2)?),
        by: get(row, 3)?,
        uses_left: get::<Option<i32>>(row, 4)?.and_then(|uses| u32::try_from(uses).ok()),
        expires_at: time_or_none(row, 5)?,
        created_at: time(row, 6)?,
    }))
}

fn message(row: &Row) -> Result<MessageRecord> {
    Ok(MessageRecord {
        room: get(row, 1)?,
        id: unsigned(get(row, 2)?),
        seq: unsigned(get(row, 3)?),
        kind: change_kind(get(row, 4)?)?,
        author: get(row, 5)?,
        created_at: time(row, 6)?,
        edited_at: time_or_none(row, 7)?,
        deleted: get(row, 8)?,
        reply_to: get::<Option<i64>>(row, 9)?.map(unsigned),
        nonce: get(row, 10)?,
        fingerprint: get(row, 11)?,
        content: get(row, 12)?,
        mentions: Vec::new(),
        reactions: Vec::new(),
    })
}

fn time_or_none(row: &Row, at: usize) -> Result<Option<Timestamp>> {
    Ok(get::<Option<std::time::SystemTime>>(row, at)?.map(Timestamp::from))
}
