//! Filling an empty database: records in, a transaction each batch, on a connection of its own that holds the lock which
//! migrations take. So nodes that start meanwhile wait, and a second import is refused.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Transaction;
use tokio_postgres::types::Json;

use super::super::transfer::{Extent, Load, LoadError, Record, Taken, missing, not_empty};
use super::super::*;
use super::migrate;
use super::pool::{Param, Pool, sort, with_sources};
use super::rows::{get, signed, unsigned};

/// A node that wrote its row within this time runs.
const RUNS: &str =
    "SELECT name FROM nodes WHERE seen_at > clock_timestamp() - interval '15 seconds' ORDER BY name LIMIT 3";

/// The server takes a moment to notice that an import before was killed.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(100);

struct Filling {
    client: tokio_postgres::Client,
}

pub async fn load(config: &config::Database) -> Result<Box<dyn Load>, LoadError> {
    let pool = Pool::new(config).map_err(|error| LoadError::Refused(error.to_string()))?;
    let mut client = pool.connect().await?;
    let until = Instant::now() + LOCK_WAIT;
    while !migrate::try_lock(&client).await? {
        if Instant::now() < until {
            tokio::time::sleep(LOCK_RETRY).await;
            continue;
        }
        let why = "a node is starting on this database, or another import is under way";
        return Err(LoadError::Refused(why.to_owned()));
    }
    if config.migrate {
        migrate::run(&mut client).await?;
    }
    // Whatever the statistics of tables say that were empty a moment ago.
    client.batch_execute("SET enable_seqscan = off").await.map_err(unknown)?;
    let filling = Filling { client };
    nobody_runs(&filling.client.query(RUNS, &[]).await.map_err(unknown)?)?;
    Ok(Box::new(filling))
}

#[async_trait]
impl Load for Filling {
    async fn begun(&mut self) -> Result<Option<Taken>, LoadError> {
        let rows = self.client.query("SELECT lines, digest, finished FROM imports", &[]).await.map_err(unknown)?;
        if let Some(row) = rows.first() {
            let lines = unsigned(get(row, 0)?);
            return Ok(Some(Taken { lines, digest: get(row, 1)?, finished: get(row, 2)? }));
        }
        let sql = "SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM rooms)";
        let rows = self.client.query(sql, &[]).await.map_err(unknown)?;
        match rows.first().map(|row| get(row, 0)).transpose()? {
            Some(false) => Ok(None),
            _ => Err(not_empty()),
        }
    }

    async fn put(&mut self, records: &[Record], taken: &Taken) -> Result<(), LoadError> {
        let transaction = self.client.transaction().await.map_err(unknown)?;
        nobody_runs(&transaction.query(RUNS, &[]).await.map_err(unknown)?)?;
        // Records of one kind stand together, and what is named stands before.
        for run in records.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            put_run(&transaction, run).await?;
        }
        let sql = "INSERT INTO imports (id, lines, digest, finished) VALUES (1, $1, $2, $3)
            ON CONFLICT (id) DO UPDATE SET lines = $1, digest = $2, finished = $3";
        execute(&transaction, sql, &[&signed(taken.lines), &taken.digest, &taken.finished]).await?;
        transaction.commit().await.map_err(unknown)
    }

    async fn move_ids(&mut self, extent: &Extent) -> Result<(), LoadError> {
        for (table, last) in [("users", extent.last_user), ("rooms", extent.last_room)] {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), greatest(max(id), $1, 1), greatest(max(id), $1) > 0)
                 FROM {table}"
            );
            self.client.query(&sql, &[&last]).await.map_err(unknown)?;
        }
        Ok(())
    }
}

fn nobody_runs(rows: &[tokio_postgres::Row]) -> Result<(), LoadError> {
    let names = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<&str>>>()?;
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    Err(LoadError::Refused(format!("nodes run on this database ({names}): stop them, and wait for 15 seconds")))
}

async fn put_run(transaction: &Transaction<'_>, run: &[Record]) -> Result<(), LoadError> {
    names_what_is_there(transaction, run).await?;
    let rows = Json(run);
    match run.first() {
        None => Ok(()),
        Some(Record::User(_)) => {
            let (mut ids, mut looks) = (Vec::new(), Vec::new());
            for record in run {
                if let Record::User(user) = record {
                    ids.push(user.id);
                    looks.push(Username::from_stored(user.username.clone()).lookalike());
                }
            }
            execute(transaction, USERS, &[&rows, &ids, &looks]).await
        }
        Some(Record::Room(_)) => execute(transaction, ROOMS, &[&rows]).await,
        Some(Record::Member(_)) => execute(transaction, MEMBERS, &[&rows]).await,
        Some(Record::Ban(_)) => execute(transaction, BANS, &[&rows]).await,
        Some(Record::Mute(_)) => execute(transaction, MUTES, &[&rows]).await,
        Some(Record::Invite(_)) => execute(transaction, INVITES, &[&rows]).await,
        Some(Record::Message(_)) => {
            execute(transaction, MESSAGES, &[&rows]).await?;
            execute(transaction, MENTIONS, &[&rows]).await?;
            execute(transaction, REACTIONS, &[&rows]).await
        }
    }
}

async fn names_what_is_there(transaction: &Transaction<'_>, run: &[Record]) -> Result<(), LoadError> {
    let users: Vec<i64> = run.iter().flat_map(Record::users).collect::<HashSet<_>>().into_iter().collect();
    let sql = "SELECT id FROM users WHERE id = ANY ($1)";
    let rows = transaction.query(sql, &[&users]).await.map_err(unknown)?;
    let users = rows.iter().map(|row| get(row, 0)).collect::<Result<HashSet<i64>>>()?;
    let rooms: Vec<i64> =
        run.iter().filter_map(Record::room).map(|(room, _)| room).collect::<HashSet<_>>().into_iter().collect();
    let sql = "SELECT room_id, seq FROM room_clocks WHERE room_id = ANY ($1)";
    let rows = transaction.query(sql, &[&rooms]).await.map_err(unknown)?;
    let rooms = rows.iter().map(|row| Ok((get(row, 0)?, unsigned(get(row, 1)?)))).collect::<Result<HashMap<_, _>>>()?;
    missing(run.iter(), &|user| users.contains(&user), &rooms)
}

/// What the database says of a value, or of two that clash, is about a record.
async fn execute(transaction: &Transaction<'_>, sql: &str, params: &[Param<'_>]) -> Result<(), LoadError> {
    match transaction.execute(sql, params).await {
        Ok(_) => Ok(()),
        Err(error) => match error.code().map(|code| &code.code()[..2]) {
            Some("22" | "23") => {
                let detail = error.as_db_error().and_then(|db| db.detail()).unwrap_or_default();
                Err(LoadError::Wrong(format!("{} {detail}", with_sources(&error)).trim_end().to_owned()))
            }
            _ => Err(unknown(error)),
        },
    }
}

fn unknown(error: tokio_postgres::Error) -> LoadError {
    LoadError::Store(sort(&error).0)
}

const USERS: &str = "
    INSERT INTO users (id, username, username_key, password_hash, issuer, subject, role, disabled, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT x.id, x.username, k.look, x.password_hash, x.issuer, x.subject, x.role, coalesce(x.disabled, false), x.created_at
    FROM jsonb_to_recordset($1) AS x (
        id bigint, username text, password_hash text, issuer text, subject text, role text, disabled boolean,
        created_at timestamptz)
    JOIN unnest($2::bigint[], $3::text[]) AS k (id, look) ON k.id = x.id";

const ROOMS: &str = "
    WITH x AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1) AS x (
            id bigint, slug text, name text, topic text, kind text, pair jsonb, retention_days integer,
            created_at timestamptz, epoch text, seq bigint, purged bigint, stamped_at timestamptz)
    ), room AS (
        INSERT INTO rooms (id, slug, name, topic, kind, direct_pair, retention_days, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT id, slug, name, topic, kind, (pair ->> 0) || ':' || (pair ->> 1), retention_days, created_at FROM x
    )
    INSERT INTO room_clocks (room_id, seq, purged, public, epoch, stamped_at)
    SELECT id, seq, purged, kind = 'public', epoch, coalesce(stamped_at, '-infinity') FROM x";

const MEMBERS: &str = "
    INSERT INTO members (room_id, user_id, role, last_read, since)
    SELECT room, \"user\", role, last_read, since FROM jsonb_to_recordset($1) AS x (
        room bigint, \"user\" bigint, role text, last_read bigint, since timestamptz)";

const BANS: &str = "
    INSERT INTO bans (room_id, user_id, banned_by, reason, until, created_at)
    SELECT room, \"user\", by, reason, until, created_at FROM jsonb_to_recordset($1) AS x (
        room bigint, \"user\" bigint, by bigint, reason text, until timestamptz, created_at timestamptz)";

const MUTES: &str = "
    INSERT INTO mutes (room_id, user_id, muted_by, reason, until, created_at)
    SELECT room, \"user\", by, reason, until, created_at FROM jsonb_to_recordset($1) AS x (
        room bigint, \"user\" bigint, by bigint, reason text, until timestamptz, created_at timestamptz)";

const INVITES: &str = "
    INSERT INTO invites (code_hash, room_id, created_by, uses_left, expires_at, created_at)
    SELECT decode(code_hash, 'hex'), room, by, uses_left, expires_at, created_at FROM jsonb_to_recordset($1) AS x (
        room bigint, code_hash text, by bigint, uses_left integer, expires_at timestamptz, created_at timestamptz)";

const MESSAGES: &str = "
    INSERT INTO messages (room_id, id, seq, author_id, created_at, edited_at, reply_to, kind, deleted, fingerprint,
        nonce, content, mentions, reactions)
    SELECT x.room, x.id, x.seq, x.author, x.created_at, x.edited_at, x.reply_to,
        array_position(ARRAY['chat_message', 'message_edited', 'message_deleted', 'message_reacted'], x.kind) - 1,
        coalesce(x.deleted, false), decode(x.fingerprint, 'hex'), x.nonce, x.content,
        (SELECT jsonb_agg(u.username ORDER BY m.n)
         FROM jsonb_array_elements_text(x.mentions) WITH ORDINALITY AS m (id, n) JOIN users u ON u.id = m.id::bigint),
        (SELECT jsonb_agg(jsonb_build_object(
             'emoji', k.kind ->> 'emoji', 'count', jsonb_array_length(k.kind -> 'by'), 'users', (
                 SELECT jsonb_agg(u.username ORDER BY b.n)
                 FROM jsonb_array_elements(k.kind -> 'by') WITH ORDINALITY AS b (given, n)
                 JOIN users u ON u.id = (b.given ->> 0)::bigint WHERE b.n <= 20
             )) ORDER BY k.n)
         FROM jsonb_array_elements(x.reactions) WITH ORDINALITY AS k (kind, n))
    FROM jsonb_to_recordset($1) AS x (
        room bigint, id bigint, seq bigint, kind text, author bigint, created_at timestamptz, edited_at timestamptz,
        deleted boolean, reply_to bigint, nonce text, fingerprint text, content text, mentions jsonb, reactions jsonb)";

/// Nobody is told of being named by themselves.
const MENTIONS: &str = "
    INSERT INTO mentions (room_id, id, user_id)
    SELECT x.room, x.id, m.id::bigint
    FROM jsonb_to_recordset($1) AS x (room bigint, id bigint, author bigint, mentions jsonb)
    CROSS JOIN LATERAL jsonb_array_elements_text(x.mentions) AS m (id)
    WHERE m.id::bigint <> x.author";

const REACTIONS: &str = "
    INSERT INTO reactions (room_id, id, emoji, user_id, seq)
    SELECT x.room, x.id, k.kind ->> 'emoji', (b.given ->> 0)::bigint, (b.given ->> 1)::bigint
    FROM jsonb_to_recordset($1) AS x (room bigint, id bigint, reactions jsonb)
    CROSS JOIN LATERAL jsonb_array_elements(x.reactions) AS k (kind)
    CROSS JOIN LATERAL jsonb_array_elements(k.kind -> 'by') AS b (given)";
