-- Mentions, reactions and search.

-- As they are shown: usernames in the order of the text, and kinds of reactions in the order in which they were first
-- given, `[{"emoji", "count", "users"}]` with the first 20 names. Both stand on the row, so that "what changed after
-- N" stays one indexed range.
ALTER TABLE messages ADD COLUMN mentions jsonb, ADD COLUMN reactions jsonb;

-- Who is mentioned where by others, to be counted. A deletion or an edit takes its rows away.
CREATE TABLE mentions (
    room_id bigint NOT NULL,
    id      bigint NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (room_id, id, user_id)
);
CREATE INDEX mentions_user ON mentions (user_id, room_id, id);

-- Who reacted with what; `seq` is the change by which they did.
CREATE TABLE reactions (
    room_id bigint NOT NULL,
    id      bigint NOT NULL,
    emoji   text COLLATE "C" NOT NULL,
    user_id bigint NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (room_id, id, emoji, user_id),
    CONSTRAINT reactions_seq UNIQUE (room_id, id, emoji, seq)
);

-- The words of messages. Filled beside the appends, which it must not slow down, by whoever holds the room's mark; an
-- edit or a deletion takes a message's words away at once. What is found is checked against the message itself.
CREATE TABLE message_words (
    room_id    bigint NOT NULL,
    id         bigint NOT NULL,
    created_at timestamptz NOT NULL,
    words      tsvector NOT NULL,
    PRIMARY KEY (room_id, id)
);
CREATE INDEX message_words_words ON message_words USING gin (words);
CREATE INDEX message_words_newest ON message_words (created_at, room_id, id);

-- Lower case of any script, also in a database whose locale knows that of ASCII only; where the server was built without
-- ICU it is the locale's.
DO $$
DECLARE
    v_icu boolean := EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu');
BEGIN
    EXECUTE format(
        'CREATE FUNCTION salon_fold(p_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L',
        CASE WHEN v_icu THEN 'SELECT lower(p_text COLLATE "und-x-icu")' ELSE 'SELECT lower(p_text)' END);
END
$$;

-- Up to which change the words of a room were taken, and by which configuration.
CREATE TABLE word_marks (
    room_id       bigint PRIMARY KEY,
    seq           bigint NOT NULL,
    configuration text NOT NULL
);

-- What salon_append was, with mentions, and with all that a duplicate shows. A wished mention is an item of the batch
-- (from 1), a place in its text, and a user; of the users of one place the first one counts who is a member.
-- Outcomes: 0 stored, 1 duplicate, 2 busy, 3 no room, 4 disabled, 5 banned, 6 muted, 7 nonce reused, 8 no reply target.
CREATE FUNCTION salon_append_4(
    p_rooms bigint[], p_authors bigint[], p_nonces text[], p_contents text[], p_fingerprints bytea[],
    p_replies bigint[], p_wait boolean, p_wished_items integer[], p_wished_places integer[], p_wished_users bigint[]
) RETURNS TABLE (
    idx bigint, outcome integer, id bigint, created_at timestamptz,
    author text, seq bigint, kind smallint, edited_at timestamptz, deleted boolean, content text,
    mentions jsonb, reactions jsonb
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_locked bigint[];
    v_now timestamptz;
    v_items integer[];
    v_users bigint[];
    v_names jsonb[];
BEGIN
    IF p_wait THEN
        SELECT array_agg(l.room_id) INTO v_locked FROM (
            SELECT c.room_id FROM room_clocks c WHERE c.room_id = ANY (p_rooms)
            ORDER BY c.room_id FOR NO KEY UPDATE
        ) l;
    ELSE
        SELECT array_agg(l.room_id) INTO v_locked FROM (
            SELECT c.room_id FROM room_clocks c WHERE c.room_id = ANY (p_rooms)
            ORDER BY c.room_id FOR NO KEY UPDATE SKIP LOCKED
        ) l;
    END IF;
    v_now := date_trunc('milliseconds', clock_timestamp());

    -- A batch in which nobody is mentioned does not pay for it.
    IF p_wished_items IS NOT NULL THEN
        WITH chosen AS (
            SELECT DISTINCT ON (w.item, w.place) w.item, w.place, w.user_id
            FROM unnest(p_wished_items, p_wished_places, p_wished_users)
                WITH ORDINALITY AS w (item, place, user_id, rank)
            WHERE w.user_id = p_authors[w.item] OR EXISTS (
                SELECT FROM members m WHERE m.room_id = p_rooms[w.item] AND m.user_id = w.user_id OFFSET 0)
            ORDER BY w.item, w.place, w.rank
        ), once AS MATERIALIZED (
            SELECT c.item, c.user_id, u.username, min(c.place) AS place
            FROM chosen c JOIN users u ON u.id = c.user_id GROUP BY c.item, c.user_id, u.username
        )
        SELECT
            (SELECT array_agg(o.item ORDER BY o.item, o.place) FROM once o WHERE o.user_id <> p_authors[o.item]),
            (SELECT array_agg(o.user_id ORDER BY o.item, o.place) FROM once o WHERE o.user_id <> p_authors[o.item]),
            (SELECT array_agg(t.names ORDER BY i.n)
             FROM generate_subscripts(p_rooms, 1) AS i (n) LEFT JOIN (
                 SELECT o.item, to_jsonb(array_agg(o.username ORDER BY o.place)) AS names FROM once o GROUP BY o.item
             ) t ON t.item = i.n)
        INTO v_items, v_users, v_names;
    END IF;

    -- LATERAL with OFFSET 0 keeps every table access one index look-up per row, whatever the statistics say.
    RETURN QUERY
    WITH item AS MATERIALIZED (
        SELECT i.room, i.author, i.nonce, i.content, i.fingerprint, i.reply, i.names, i.n
        FROM unnest(p_rooms, p_authors, p_nonces, p_contents, p_fingerprints, p_replies, v_names)
            WITH ORDINALITY AS i (room, author, nonce, content, fingerprint, reply, names, n)
    ), pair AS MATERIALIZED (
        SELECT p.room, p.author, u.username, c.seq, m.user_id IS NULL AS enters,
            greatest(v_now, c.stamped_at) AS now,
            CASE
                WHEN c.deleted IS NOT FALSE THEN 3
                WHEN v_locked IS NULL OR NOT p.room = ANY (v_locked) THEN 2
                WHEN u.disabled IS NOT FALSE THEN 4
                WHEN m.user_id IS NULL AND NOT c.public THEN 3
                WHEN b.user_id IS NOT NULL THEN 5
                WHEN x.user_id IS NOT NULL THEN 6
                ELSE 0
            END AS verdict,
            c.deleted IS NOT FALSE AS gone
        FROM (SELECT DISTINCT i.room, i.author FROM item i) p
        LEFT JOIN LATERAL (
            SELECT c.seq, c.deleted, c.public, c.stamped_at FROM room_clocks c WHERE c.room_id = p.room OFFSET 0
        ) c ON true
        LEFT JOIN LATERAL (SELECT u.username, u.disabled FROM users u WHERE u.id = p.author OFFSET 0) u ON true
        LEFT JOIN LATERAL (
            SELECT m.user_id FROM members m WHERE m.room_id = p.room AND m.user_id = p.author OFFSET 0
        ) m ON true
        LEFT JOIN LATERAL (
            SELECT b.user_id FROM bans b
            WHERE b.room_id = p.room AND b.user_id = p.author AND (b.until IS NULL OR b.until > v_now) OFFSET 0
        ) b ON true
        LEFT JOIN LATERAL (
            SELECT x.user_id FROM mutes x
            WHERE x.room_id = p.room AND x.user_id = p.author AND (x.until IS NULL OR x.until > v_now) OFFSET 0
        ) x ON true
    ), judged AS MATERIALIZED (
        -- What is stored is a duplicate even for a user who may send no more: "refused" would be a lie.
        SELECT i.room, i.author, i.nonce, i.content, i.fingerprint, i.reply, i.names, i.n,
            p.username, p.seq, p.enters, p.now, o.id AS old_id,
            CASE
                WHEN p.gone OR p.verdict = 2 THEN p.verdict
                WHEN o.fingerprint = i.fingerprint THEN 1
                WHEN p.verdict <> 0 THEN p.verdict
                WHEN o.id IS NOT NULL THEN 7
                WHEN i.reply IS NOT NULL AND NOT EXISTS (
                    SELECT FROM messages t WHERE t.room_id = i.room AND t.id = i.reply OFFSET 0
                ) THEN 8
                ELSE 0
            END AS verdict
        FROM item i
        JOIN pair p ON p.room = i.room AND p.author = i.author
        LEFT JOIN LATERAL (
            SELECT o.id, o.fingerprint FROM messages o
            WHERE o.room_id = i.room AND o.author_id = i.author AND o.nonce = i.nonce OFFSET 0
        ) o ON true
    ), accepted AS MATERIALIZED (
        SELECT j.room, j.author, j.nonce, j.content, j.fingerprint, j.reply, j.names, j.n, j.now, j.seq, j.enters,
            j.seq + row_number() OVER (PARTITION BY j.room ORDER BY j.n) AS id
        FROM judged j WHERE j.verdict = 0
    ), inserted AS (
        INSERT INTO messages (room_id, id, seq, author_id, created_at, reply_to, fingerprint, nonce, content, mentions)
        SELECT a.room, a.id, a.id, a.author, a.now, a.reply, a.fingerprint, a.nonce, a.content, a.names FROM accepted a
    ), mentioned AS (
        INSERT INTO mentions (room_id, id, user_id)
        SELECT a.room, a.id, w.user_id FROM unnest(v_items, v_users) AS w (item, user_id) JOIN accepted a ON a.n = w.item
    ), entered AS (
        INSERT INTO members (room_id, user_id, role, last_read)
        SELECT DISTINCT a.room, a.author, 'member', a.seq FROM accepted a WHERE a.enters ORDER BY 1, 2
        ON CONFLICT DO NOTHING
    ), ticked AS (
        UPDATE room_clocks c SET seq = a.last, stamped_at = a.now
        FROM (SELECT a.room, max(a.id) AS last, max(a.now) AS now FROM accepted a GROUP BY a.room) a
        WHERE c.room_id = a.room
    )
    SELECT a.n, 0, a.id, a.now, NULL::text, NULL::bigint, NULL::smallint, NULL::timestamptz, NULL::boolean,
        NULL::text, a.names, NULL::jsonb
    FROM accepted a
    UNION ALL
    SELECT j.n, j.verdict, o.id, o.created_at,
        j.username, o.seq, o.kind, o.edited_at, o.deleted, o.content, o.mentions, o.reactions
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT o.id, o.created_at, o.seq, o.kind, o.edited_at, o.deleted, o.content, o.mentions, o.reactions
        FROM messages o WHERE j.verdict = 1 AND o.room_id = j.room AND o.id = j.old_id OFFSET 0
    ) o ON true
    WHERE j.verdict <> 0;
END
$$;

-- For nodes of the release before, which know of no mentions.
CREATE OR REPLACE FUNCTION salon_append(
    p_rooms bigint[], p_authors bigint[], p_nonces text[], p_contents text[], p_fingerprints bytea[],
    p_replies bigint[], p_wait boolean
) RETURNS TABLE (
    idx bigint, outcome integer, id bigint, created_at timestamptz,
    author text, seq bigint, kind smallint, edited_at timestamptz, deleted boolean, content text
) LANGUAGE sql VOLATILE AS $$
    SELECT a.idx, a.outcome, a.id, a.created_at, a.author, a.seq, a.kind, a.edited_at, a.deleted, a.content
    FROM salon_append_4(
        p_rooms, p_authors, p_nonces, p_contents, p_fingerprints, p_replies, p_wait, NULL, NULL, NULL) a
$$;

-- The kinds of reactions of a message after one more or one less of p_emoji by p_user, whose row in `reactions` has
-- been written; NULL: none is left. Costs the same however many reacted.
CREATE FUNCTION salon_reactions(
    p_kinds jsonb, p_room bigint, p_id bigint, p_emoji text, p_user bigint, p_more boolean
) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_place integer;
    v_kind jsonb;
    v_count bigint;
    v_users jsonb;
BEGIN
    SELECT k.n::integer - 1, k.kind INTO v_place, v_kind
        FROM jsonb_array_elements(p_kinds) WITH ORDINALITY AS k (kind, n) WHERE k.kind ->> 'emoji' = p_emoji;
    v_count := coalesce((v_kind ->> 'count')::bigint, 0) + CASE WHEN p_more THEN 1 ELSE -1 END;
    IF v_count < 1 THEN RETURN nullif(p_kinds - v_place, '[]'); END IF;

    v_users := coalesce(v_kind -> 'users', '[]');
    IF NOT p_more THEN
        SELECT jsonb_agg(f.username ORDER BY f.seq) INTO v_users FROM (
            SELECT u.username, r.seq FROM reactions r JOIN users u ON u.id = r.user_id
            WHERE r.room_id = p_room AND r.id = p_id AND r.emoji = p_emoji ORDER BY r.seq LIMIT 20
        ) f;
    ELSIF v_count <= 20 THEN
        v_users := v_users || (SELECT to_jsonb(u.username) FROM users u WHERE u.id = p_user);
    END IF;
    v_kind := jsonb_build_object('emoji', p_emoji, 'count', v_count, 'users', v_users);
    RETURN CASE WHEN v_place IS NULL THEN p_kinds || jsonb_build_array(v_kind)
        ELSE jsonb_set(p_kinds, ARRAY[v_place::text], v_kind) END;
END
$$;

-- What salon_change_quietly was, with reactions and mentions. p_what: 0 gives it the content p_text, 1 deletes it, 2
-- reacts with the emoji p_text, 3 takes that back. Outcomes: 0 done, 1 unchanged, 3 no room, 4 disabled, 5 banned,
-- 6 muted, 9 no message, 10 not allowed, 11 gone, 12 too many kinds of reactions.
CREATE FUNCTION salon_change_quietly_4(
    p_room bigint, p_actor bigint, p_id bigint, p_what integer, p_text text,
    p_wished_places integer[], p_wished_users bigint[]
) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_clock room_clocks;
    v_message messages;
    v_role text;
    v_site text;
    v_disabled boolean;
    v_kind text;
    v_now timestamptz;
    v_seq bigint;
    v_users bigint[];
    v_names jsonb;
    v_has boolean;
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room FOR NO KEY UPDATE;
    SELECT * INTO v_clock FROM room_clocks c WHERE c.room_id = p_room;
    IF v_clock.deleted IS NOT FALSE THEN RETURN 3; END IF;
    v_now := greatest(date_trunc('milliseconds', clock_timestamp()), v_clock.stamped_at);
    v_seq := v_clock.seq + 1;

    SELECT u.role, u.disabled INTO v_site, v_disabled FROM users u WHERE u.id = p_actor;
    IF v_disabled IS NOT FALSE THEN RETURN 4; END IF;
    SELECT r.kind INTO v_kind FROM rooms r WHERE r.id = p_room;
    SELECT m.role INTO v_role FROM members m WHERE m.room_id = p_room AND m.user_id = p_actor;
    IF v_site <> 'admin' OR p_what <> 1 THEN
        IF v_role IS NULL AND v_kind <> 'public' THEN RETURN 3; END IF;
        PERFORM FROM bans b
            WHERE b.room_id = p_room AND b.user_id = p_actor AND (b.until IS NULL OR b.until > v_now);
        IF FOUND THEN RETURN 5; END IF;
        PERFORM FROM mutes x
            WHERE x.room_id = p_room AND x.user_id = p_actor AND (x.until IS NULL OR x.until > v_now);
        IF FOUND AND p_what <> 1 THEN RETURN 6; END IF;
    END IF;

    SELECT * INTO v_message FROM messages m WHERE m.room_id = p_room AND m.id = p_id;
    IF v_message.id IS NULL THEN RETURN 9; END IF;
    IF p_what < 2 AND v_message.author_id <> p_actor
        AND (p_what = 0 OR NOT (v_site = 'admin' OR coalesce(v_role IN ('moderator', 'owner'), false)))
    THEN RETURN 10; END IF;
    IF v_message.deleted THEN RETURN CASE WHEN p_what IN (1, 3) THEN 1 ELSE 11 END; END IF;

    IF p_what = 0 THEN
        IF v_message.content = p_text THEN RETURN 1; END IF;
        WITH chosen AS (
            SELECT DISTINCT ON (w.place) w.place, w.user_id
            FROM unnest(p_wished_places, p_wished_users) WITH ORDINALITY AS w (place, user_id, rank)
            WHERE w.user_id = p_actor
                OR EXISTS (SELECT FROM members m WHERE m.room_id = p_room AND m.user_id = w.user_id)
            ORDER BY w.place, w.rank
        ), once AS (
            SELECT c.user_id, u.username, min(c.place) AS place
            FROM chosen c JOIN users u ON u.id = c.user_id GROUP BY c.user_id, u.username
        )
        SELECT array_agg(o.user_id), to_jsonb(array_agg(o.username ORDER BY o.place)) INTO v_users, v_names FROM once o;
        DELETE FROM mentions x WHERE x.room_id = p_room AND x.id = p_id;
        DELETE FROM message_words w WHERE w.room_id = p_room AND w.id = p_id;
        INSERT INTO mentions (room_id, id, user_id)
            SELECT p_room, p_id, w.id FROM unnest(v_users) AS w (id) WHERE w.id <> p_actor;
        UPDATE messages m SET seq = v_seq, kind = 1, edited_at = v_now, content = p_text, mentions = v_names
            WHERE m.room_id = p_room AND m.id = p_id;
    ELSIF p_what = 1 THEN
        DELETE FROM mentions x WHERE x.room_id = p_room AND x.id = p_id;
        DELETE FROM reactions r WHERE r.room_id = p_room AND r.id = p_id;
        DELETE FROM message_words w WHERE w.room_id = p_room AND w.id = p_id;
        UPDATE messages m
            SET seq = v_seq, kind = 2, deleted = true, content = '', mentions = NULL, reactions = NULL
            WHERE m.room_id = p_room AND m.id = p_id;
    ELSE
        PERFORM FROM reactions r
            WHERE r.room_id = p_room AND r.id = p_id AND r.emoji = p_text AND r.user_id = p_actor;
        v_has := FOUND;
        IF v_has = (p_what = 2) THEN RETURN 1; END IF;
        v_message.reactions := coalesce(v_message.reactions, '[]');
        IF p_what = 3 THEN
            DELETE FROM reactions r
                WHERE r.room_id = p_room AND r.id = p_id AND r.emoji = p_text AND r.user_id = p_actor;
        ELSE
            IF jsonb_array_length(v_message.reactions) >= 20
                AND NOT v_message.reactions @> jsonb_build_array(jsonb_build_object('emoji', p_text))
            THEN RETURN 12; END IF;
            INSERT INTO reactions (room_id, id, emoji, user_id, seq) VALUES (p_room, p_id, p_text, p_actor, v_seq);
        END IF;
        UPDATE messages m SET seq = v_seq, kind = 3,
                reactions = salon_reactions(v_message.reactions, p_room, p_id, p_text, p_actor, p_what = 2)
            WHERE m.room_id = p_room AND m.id = p_id;
    END IF;
    UPDATE room_clocks c SET seq = v_seq, stamped_at = v_now WHERE c.room_id = p_room;
    RETURN 0;
END
$$;

-- The same, and the message as it then is.
CREATE FUNCTION salon_change_4(
    p_room bigint, p_actor bigint, p_id bigint, p_what integer, p_text text,
    p_wished_places integer[], p_wished_users bigint[]
) RETURNS TABLE (outcome integer, message messages) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
BEGIN
    outcome := salon_change_quietly_4(p_room, p_actor, p_id, p_what, p_text, p_wished_places, p_wished_users);
    SELECT m.* INTO message FROM messages m WHERE outcome < 2 AND m.room_id = p_room AND m.id = p_id;
    RETURN NEXT;
END
$$;

-- For nodes of the release before: what they edit mentions nobody.
CREATE OR REPLACE FUNCTION salon_change_quietly(p_room bigint, p_actor bigint, p_id bigint, p_content text)
RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT salon_change_quietly_4(
        p_room, p_actor, p_id, CASE WHEN p_content IS NULL THEN 1 ELSE 0 END, p_content, NULL, NULL)
$$;

-- Removes up to p_limit rows of deleted rooms from the tables of this file; to be called before salon_purge, which
-- marks a room as done.
CREATE FUNCTION salon_purge_reading(p_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_room bigint;
    v_removed bigint := 0;
    v_now bigint;
BEGIN
    FOR v_room IN SELECT r.id FROM rooms r WHERE r.deleted_at IS NOT NULL AND NOT r.purged ORDER BY r.id LOOP
        DELETE FROM mentions x WHERE x.ctid = ANY (ARRAY(
            SELECT y.ctid FROM mentions y WHERE y.room_id = v_room LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        DELETE FROM reactions x WHERE x.ctid = ANY (ARRAY(
            SELECT y.ctid FROM reactions y WHERE y.room_id = v_room LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        DELETE FROM message_words x WHERE x.room_id = v_room AND x.id = ANY (ARRAY(
            SELECT y.id FROM message_words y WHERE y.room_id = v_room LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        EXIT WHEN v_removed >= p_limit;
        DELETE FROM word_marks x WHERE x.room_id = v_room;
    END LOOP;
    RETURN v_removed;
END
$$;

-- Takes the words of what changed in these rooms, p_limit changes at most; how many it was. A room that another node
-- is at is left to it. The text is cut where its words could pass what a tsvector holds.
CREATE FUNCTION salon_take_words(p_rooms bigint[], p_configuration text, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_room bigint;
    v_mark word_marks;
    v_done bigint := 0;
    v_count bigint;
    v_to bigint;
BEGIN
    FOREACH v_room IN ARRAY p_rooms LOOP
        EXIT WHEN v_done >= p_limit;
        INSERT INTO word_marks (room_id, seq, configuration) VALUES (v_room, 0, p_configuration) ON CONFLICT DO NOTHING;
        SELECT * INTO v_mark FROM word_marks w WHERE w.room_id = v_room FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF v_mark.configuration <> p_configuration THEN v_mark.seq := 0; END IF;
        WITH changed AS MATERIALIZED (
            SELECT m.id, m.seq, m.created_at, m.deleted, m.content FROM messages m
            WHERE m.room_id = v_room AND m.seq > v_mark.seq ORDER BY m.seq LIMIT p_limit - v_done
        ), put AS (
            INSERT INTO message_words AS w (room_id, id, created_at, words)
            SELECT v_room, c.id, c.created_at, to_tsvector(p_configuration::regconfig, salon_fold(left(c.content, 50000)))
            FROM changed c WHERE NOT c.deleted
            ON CONFLICT (room_id, id) DO UPDATE SET words = excluded.words WHERE w.words <> excluded.words
        ), taken AS (
            DELETE FROM message_words w WHERE w.room_id = v_room AND w.id IN (SELECT c.id FROM changed c WHERE c.deleted)
        )
        -- Where all was read, the mark is the head: the last change may be of a message that is gone.
        SELECT count(*), CASE WHEN count(*) < p_limit - v_done
                THEN (SELECT c.seq FROM room_clocks c WHERE c.room_id = v_room AND NOT c.deleted) ELSE max(c.seq) END
            INTO v_count, v_to FROM changed c;
        v_done := v_done + v_count;
        UPDATE word_marks w SET seq = coalesce(v_to, v_mark.seq), configuration = p_configuration
            WHERE w.room_id = v_room;
    END LOOP;
    RETURN v_done;
END
$$;

-- What p_user may read now and has the words of p_query, newest first and before the place that is given; `tokens` are
-- the words of each text that p_any has. Dynamic, so that it is planned for these very words: rare ones are looked up,
-- and of common ones the newest messages are gone through.
CREATE FUNCTION salon_search(
    p_user bigint, p_room bigint, p_configuration text, p_query text, p_any text,
    p_at timestamptz, p_at_room bigint, p_at_id bigint, p_limit bigint
) RETURNS TABLE (message messages, username text, slug text, tokens text[]) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT f.message, f.username, f.slug, ARRAY(
             SELECT DISTINCT t.token FROM ts_parse(''default'', salon_fold((f.message).content)) t
             WHERE to_tsvector($3::regconfig, t.token) @@ websearch_to_tsquery($3::regconfig, $5))
         FROM (
             SELECT m AS message, u.username, r.slug
             FROM message_words w
             JOIN messages m ON m.room_id = w.room_id AND m.id = w.id AND NOT m.deleted
             JOIN rooms r ON r.id = w.room_id AND r.deleted_at IS NULL
             JOIN users u ON u.id = m.author_id
             WHERE w.words @@ websearch_to_tsquery($3::regconfig, $4)
                 AND to_tsvector($3::regconfig, salon_fold(left(m.content, 50000))) @@ websearch_to_tsquery($3::regconfig, $4)
                 AND (r.kind = ''public'' OR EXISTS (
                     SELECT FROM members k WHERE k.room_id = w.room_id AND k.user_id = $1))
                 AND NOT EXISTS (
                     SELECT FROM bans b WHERE b.room_id = w.room_id AND b.user_id = $1
                         AND (b.until IS NULL OR b.until > clock_timestamp()))
                 AND (w.created_at, w.room_id, w.id) < ($6, $7, $8)'
        || CASE WHEN p_room IS NULL THEN '' ELSE ' AND w.room_id = $2' END
        || ' ORDER BY w.created_at DESC, w.room_id DESC, w.id DESC LIMIT $9) f'
        USING p_user, p_room, p_configuration, p_query, p_any, p_at, p_at_room, p_at_id, p_limit;
END
$$;
