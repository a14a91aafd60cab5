-- Mentions and reactions, as in the Postgres schema. On a message both stand as JSON text, as they are shown.

ALTER TABLE messages ADD COLUMN mentions TEXT;
ALTER TABLE messages ADD COLUMN reactions TEXT;

-- Who is mentioned where by others, to be counted.
CREATE TABLE mentions (
    room_id INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    PRIMARY KEY (room_id, id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_user ON mentions (user_id, room_id, id);

-- Who reacted with what; `seq` is the change by which they did.
CREATE TABLE reactions (
    room_id INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    emoji   TEXT NOT NULL,
    user_id INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (room_id, id, emoji, user_id),
    UNIQUE (room_id, id, emoji, seq)
) STRICT, WITHOUT ROWID;
