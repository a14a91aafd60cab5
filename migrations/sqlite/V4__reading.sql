-- Mentions, reactions and search, as in the Postgres schema. On a message both stand as JSON text, as they are shown.

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

-- The words of messages, filled beside the appends; an edit or a deletion takes a message's words away at once. Of the
-- text itself nothing is kept here. Row ids are times (milliseconds, then 20 bits that tell those of one apart), so
-- that what is newest comes first by itself.
CREATE TABLE worded_messages (
    rowid   INTEGER PRIMARY KEY,
    room_id INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    UNIQUE (room_id, id)
) STRICT;
CREATE VIRTUAL TABLE message_words USING fts5 (
    content, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0'
);

-- Up to which change the words of a room were taken.
CREATE TABLE word_marks (
    room_id INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL
) STRICT;
