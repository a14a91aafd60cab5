-- The tables of the Postgres schema, for one process on one machine. Times are milliseconds since 1970.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    username      TEXT NOT NULL,
    username_key  TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    issuer        TEXT,
    subject       TEXT,
    role          TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    UNIQUE (issuer, subject)
) STRICT;

CREATE TABLE login_sessions (
    id           TEXT PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users,
    -- Of the one token that has not been spent.
    refresh_hash BLOB NOT NULL,
    agent        TEXT NOT NULL,
    address      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_sessions_user ON login_sessions (user_id);
CREATE INDEX login_sessions_expiry ON login_sessions (expires_at);

-- Tokens spent lately, which still get the same successor. A token names its login session: one that is neither
-- current nor here was spent longer ago, or is a forgery, and ends the session.
CREATE TABLE spent_refresh_tokens (
    login_session_id TEXT NOT NULL REFERENCES login_sessions ON DELETE CASCADE,
    hash             BLOB NOT NULL,
    successor_hash   BLOB NOT NULL,
    spent_at         INTEGER NOT NULL,
    PRIMARY KEY (login_session_id, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE revocations (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    at               INTEGER NOT NULL,
    login_session_id TEXT,
    user_id          INTEGER,
    CHECK ((login_session_id IS NULL) <> (user_id IS NULL))
) STRICT;
CREATE INDEX revocations_at ON revocations (at);

CREATE TABLE rooms (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    slug        TEXT NOT NULL,
    name        TEXT NOT NULL,
    topic       TEXT NOT NULL DEFAULT '',
    kind        TEXT NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    -- The two users of a direct room, smaller id first.
    direct_pair TEXT UNIQUE,
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    purged      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX rooms_slug ON rooms (slug) WHERE deleted_at IS NULL;
CREATE INDEX rooms_public ON rooms (id) WHERE kind = 'public' AND deleted_at IS NULL;
CREATE INDEX rooms_to_purge ON rooms (id) WHERE deleted_at IS NOT NULL AND purged = 0;

CREATE TABLE room_clocks (
    room_id    INTEGER PRIMARY KEY,
    seq        INTEGER NOT NULL DEFAULT 0,
    access     INTEGER NOT NULL DEFAULT 1,
    stamped_at INTEGER NOT NULL DEFAULT 0,
    deleted    INTEGER NOT NULL DEFAULT 0,
    epoch      TEXT NOT NULL
) STRICT;

CREATE TABLE members (
    room_id     INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('member', 'moderator', 'owner')),
    last_read   INTEGER NOT NULL,
    muted_until INTEGER,
    since       INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_user ON members (user_id, room_id);

CREATE TABLE bans (
    room_id    INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    banned_by  INTEGER,
    reason     TEXT NOT NULL DEFAULT '',
    -- NULL: for good.
    until      INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE invites (
    code_hash  BLOB PRIMARY KEY,
    room_id    INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    -- NULL: without bound.
    uses_left  INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX invites_room ON invites (room_id);

-- A message in its present state. `id` is the seq it was created at, `seq` that of its last change.
CREATE TABLE messages (
    room_id     INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    author_id   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    edited_at   INTEGER,
    reply_to    INTEGER,
    -- The last change: 0 created, 1 edited, 2 deleted, 3 reacted.
    kind        INTEGER NOT NULL DEFAULT 0,
    deleted     INTEGER NOT NULL DEFAULT 0,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 16),
    nonce       TEXT NOT NULL,
    content     TEXT NOT NULL,
    PRIMARY KEY (room_id, id),
    UNIQUE (room_id, author_id, nonce),
    UNIQUE (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    incarnation TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    broker_ok   INTEGER NOT NULL,
    draining    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
