-- How long messages are kept, and imports.

-- Days after which this room's messages are removed; NULL: as the nodes are configured.
ALTER TABLE rooms ADD COLUMN retention_days integer CHECK (retention_days > 0);

-- Messages with an id up to this one were removed by age. Times in a room rise with its ids, so what is old enough is
-- always its beginning, and one number tells nodes what they must not tell from memory any more.
ALTER TABLE room_clocks ADD COLUMN purged bigint NOT NULL DEFAULT 0;

-- The one import that this database was filled by, if there was one: how many lines of the file it has taken, and their
-- SHA-256, by which the same file is known when it goes on. Nodes do not start beside one that is not finished.
CREATE TABLE imports (
    id       integer PRIMARY KEY CHECK (id = 1),
    lines    bigint NOT NULL,
    digest   bytea NOT NULL,
    finished boolean NOT NULL DEFAULT false
);

-- What salon_update_room was, with p_retention: NULL leaves it, 0 takes it away.
CREATE FUNCTION salon_update_room_7(p_room bigint, p_name text, p_topic text, p_retention integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE room_clocks c SET access = c.access + 1 WHERE c.room_id = p_room AND NOT c.deleted;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE rooms r SET name = coalesce(p_name, r.name), topic = coalesce(p_topic, r.topic),
            retention_days = CASE WHEN p_retention IS NULL THEN r.retention_days ELSE nullif(p_retention, 0) END
        WHERE r.id = p_room;
    RETURN true;
END
$$;

-- Removes up to p_limit of a room's oldest messages, of those older than p_days or than its own days, with all that
-- belongs to them. Under the clock's lock: no edit, reaction, reply or retry that comes later finds half of one. Whoever
-- takes words is waited for before that lock is held, or they would leave words of what is gone.
CREATE FUNCTION salon_purge_outdated(p_room bigint, p_days integer, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_purged bigint;
    v_before timestamptz;
    v_ids bigint[];
BEGIN
    INSERT INTO word_marks (room_id, seq, configuration) VALUES (p_room, 0, '') ON CONFLICT DO NOTHING;
    PERFORM FROM word_marks w WHERE w.room_id = p_room FOR UPDATE;
    PERFORM FROM room_clocks c WHERE c.room_id = p_room FOR NO KEY UPDATE;
    SELECT c.purged, clock_timestamp() - least(r.retention_days, p_days) * interval '1 day' INTO v_purged, v_before
        FROM room_clocks c JOIN rooms r ON r.id = c.room_id WHERE c.room_id = p_room AND NOT c.deleted;
    IF v_before IS NULL THEN RETURN 0; END IF;

    SELECT array_agg(o.id) INTO v_ids FROM (
        SELECT m.id, m.created_at FROM messages m
        WHERE m.room_id = p_room AND m.id > v_purged ORDER BY m.id LIMIT p_limit
    ) o WHERE o.created_at < v_before;
    IF v_ids IS NULL THEN RETURN 0; END IF;
    DELETE FROM mentions x WHERE x.room_id = p_room AND x.id = ANY (v_ids);
    DELETE FROM reactions x WHERE x.room_id = p_room AND x.id = ANY (v_ids);
    DELETE FROM message_words w WHERE w.room_id = p_room AND w.id = ANY (v_ids);
    DELETE FROM messages m WHERE m.room_id = p_room AND m.id = ANY (v_ids);
    UPDATE room_clocks c SET purged = (SELECT max(x.id) FROM unnest(v_ids) AS x (id)) WHERE c.room_id = p_room;
    RETURN cardinality(v_ids);
END
$$;
