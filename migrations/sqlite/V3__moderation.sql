-- Beside the memberships, so that leaving and coming back ends no mute.
CREATE TABLE mutes (
    room_id    INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    muted_by   INTEGER,
    reason     TEXT NOT NULL DEFAULT '',
    -- NULL: for good.
    until      INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
INSERT INTO mutes (room_id, user_id, until, created_at)
    SELECT room_id, user_id, muted_until, since FROM members WHERE muted_until IS NOT NULL;
ALTER TABLE members DROP COLUMN muted_until;

CREATE INDEX bans_until ON bans (until) WHERE until IS NOT NULL;
CREATE INDEX mutes_until ON mutes (until) WHERE until IS NOT NULL;
CREATE INDEX invites_expiry ON invites (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX members_owners ON members (room_id) WHERE role = 'owner';

-- A room became somebody's by what another did, or by an invitation. Only ever appended; nodes read what is recent.
CREATE TABLE room_additions (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    room_id INTEGER NOT NULL
) STRICT;
CREATE INDEX room_additions_at ON room_additions (at, id);
