-- How long messages are kept, and imports, as in the Postgres schema.

-- Days after which this room's messages are removed; NULL: as the node is configured.
ALTER TABLE rooms ADD COLUMN retention_days INTEGER CHECK (retention_days > 0);

-- Messages with an id up to this one were removed by age.
ALTER TABLE room_clocks ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;

-- The one import that this database was filled by: how many lines of the file it has taken, and their SHA-256.
CREATE TABLE imports (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    lines    INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0
) STRICT;
