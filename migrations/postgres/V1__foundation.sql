-- Text that names something compares by bytes: faster, and the same under every locale of the server.

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      text NOT NULL,
    username_key  text COLLATE "C" NOT NULL CONSTRAINT users_username UNIQUE,
    password_hash text,
    issuer        text COLLATE "C",
    subject       text COLLATE "C",
    role          text NOT NULL CHECK (role IN ('user', 'admin')),
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_issuer UNIQUE (issuer, subject)
);

-- One browser or program logged in by password. Ending it removes the row; `revocations` tells the nodes.
CREATE TABLE login_sessions (
    id           text COLLATE "C" PRIMARY KEY,
    user_id      bigint NOT NULL REFERENCES users,
    -- Of the one token that has not been spent.
    refresh_hash bytea NOT NULL,
    agent        text NOT NULL,
    address      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX login_sessions_user ON login_sessions (user_id);
CREATE INDEX login_sessions_expiry ON login_sessions (expires_at);

-- Tokens spent lately, which still get the same successor. A token names its login session: one that is neither
-- current nor here was spent longer ago, or is a forgery, and ends the session.
CREATE TABLE spent_refresh_tokens (
    login_session_id text COLLATE "C" NOT NULL REFERENCES login_sessions ON DELETE CASCADE,
    hash             bytea NOT NULL,
    successor_hash   bytea NOT NULL,
    spent_at         timestamptz NOT NULL,
    PRIMARY KEY (login_session_id, hash)
);

CREATE TABLE revocations (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    login_session_id text COLLATE "C",
    user_id          bigint,
    CHECK (num_nonnulls(login_session_id, user_id) = 1)
);
CREATE INDEX revocations_at ON revocations (at);

CREATE TABLE rooms (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug        text COLLATE "C" NOT NULL,
    name        text NOT NULL,
    topic       text NOT NULL DEFAULT '',
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    -- The two users of a direct room, smaller id first.
    direct_pair text COLLATE "C" CONSTRAINT rooms_direct_pair UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at  timestamptz,
    purged      boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX rooms_slug ON rooms (slug) WHERE deleted_at IS NULL;
CREATE INDEX rooms_public ON rooms (id) WHERE kind = 'public' AND deleted_at IS NULL;
CREATE INDEX rooms_to_purge ON rooms (id) WHERE deleted_at IS NOT NULL AND NOT purged;

-- The row that everything with an order waits for. Kept narrow and half empty, so that its updates stay on its page.
-- Epoch and deletion are here too, and what never changes of the kind: appends and the heads of thousands of rooms
-- need no other table of rooms.
CREATE TABLE room_clocks (
    room_id    bigint PRIMARY KEY,
    seq        bigint NOT NULL DEFAULT 0,
    access     bigint NOT NULL DEFAULT 1,
    stamped_at timestamptz NOT NULL DEFAULT '-infinity',
    public     boolean NOT NULL DEFAULT false,
    deleted    boolean NOT NULL DEFAULT false,
    epoch      text COLLATE "C" NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 200,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0
);

-- Tables keyed by room have no foreign keys: an append checks what it needs under the clock's lock, and they can be
-- partitioned or distributed by room.
CREATE TABLE members (
    room_id     bigint NOT NULL,
    user_id     bigint NOT NULL,
    role        text COLLATE "C" NOT NULL CHECK (role IN ('member', 'moderator', 'owner')),
    last_read   bigint NOT NULL,
    muted_until timestamptz,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (room_id, user_id)
) WITH (fillfactor = 80);
CREATE INDEX members_user ON members (user_id, room_id);

CREATE TABLE bans (
    room_id    bigint NOT NULL,
    user_id    bigint NOT NULL,
    banned_by  bigint,
    reason     text NOT NULL DEFAULT '',
    -- NULL: for good.
    until      timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (room_id, user_id)
);

CREATE TABLE invites (
    code_hash  bytea PRIMARY KEY,
    room_id    bigint NOT NULL,
    created_by bigint NOT NULL,
    -- NULL: without bound.
    uses_left  integer,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX invites_room ON invites (room_id);

-- A message in its present state. `id` is the seq it was created at, `seq` that of its last change.
CREATE TABLE messages (
    room_id     bigint NOT NULL,
    id          bigint NOT NULL,
    seq         bigint NOT NULL,
    author_id   bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    edited_at   timestamptz,
    reply_to    bigint,
    -- The last change: 0 created, 1 edited, 2 deleted, 3 reacted.
    kind        smallint NOT NULL DEFAULT 0,
    deleted     boolean NOT NULL DEFAULT false,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 16),
    nonce       text COLLATE "C" NOT NULL,
    content     text NOT NULL,
    PRIMARY KEY (room_id, id),
    CONSTRAINT messages_nonce UNIQUE (room_id, author_id, nonce),
    CONSTRAINT messages_seq UNIQUE (room_id, seq)
) WITH (
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.02
);
-- All three indexes begin with the room. Where rooms hold about one message each, or the statistics are of a handful
-- of rows, they cost the same to the planner, and a plan that reads a whole room to find one nonce looks as good as
-- the right one. So it is told that rooms are large, and small statistics are never taken.
ALTER TABLE messages ALTER COLUMN room_id SET (n_distinct = 10);

CREATE TABLE nodes (
    incarnation text COLLATE "C" PRIMARY KEY,
    name        text NOT NULL,
    version     text NOT NULL,
    broker_ok   boolean NOT NULL,
    draining    boolean NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
