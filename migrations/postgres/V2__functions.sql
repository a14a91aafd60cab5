-- What must lock a room's clock, look, and then act. Each statement of a VOLATILE function under READ COMMITTED has
-- its own snapshot, so what is looked at after the lock is what the holder before left behind.
-- A function whose parameters or columns change gets a new name: nodes of two versions share the database for a while.

-- Outcomes of salon_append: 0 stored, 1 duplicate, 2 busy, 3 no room, 4 disabled, 5 banned, 6 muted,
-- 7 nonce reused, 8 no reply target. The columns after created_at are given for duplicates only. Of the items of one
-- call at most one may be new for its (room, author, nonce): the caller sees to that.
CREATE FUNCTION salon_append(
    p_rooms bigint[], p_authors bigint[], p_nonces text[], p_contents text[], p_fingerprints bytea[],
    p_replies bigint[], p_wait boolean
) RETURNS TABLE (
    idx bigint, outcome integer, id bigint, created_at timestamptz,
    author text, seq bigint, kind smallint, edited_at timestamptz, deleted boolean, content text
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_locked bigint[];
    v_now timestamptz;
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

    -- LATERAL with OFFSET 0 keeps every table access one index look-up per row, whatever the statistics say.
    RETURN QUERY
    WITH item AS MATERIALIZED (
        SELECT i.room, i.author, i.nonce, i.content, i.fingerprint, i.reply, i.n
        FROM unnest(p_rooms, p_authors, p_nonces, p_contents, p_fingerprints, p_replies)
            WITH ORDINALITY AS i (room, author, nonce, content, fingerprint, reply, n)
    ), pair AS MATERIALIZED (
        SELECT p.room, p.author, u.username, c.seq, m.user_id IS NULL AS enters,
            greatest(v_now, c.stamped_at) AS now,
            CASE
                WHEN c.deleted IS NOT FALSE THEN 3
                WHEN v_locked IS NULL OR NOT p.room = ANY (v_locked) THEN 2
                WHEN u.disabled IS NOT FALSE THEN 4
                WHEN m.user_id IS NULL AND NOT c.public THEN 3
                WHEN b.user_id IS NOT NULL THEN 5
                WHEN m.muted_until > v_now THEN 6
                ELSE 0
            END AS verdict,
            c.deleted IS NOT FALSE AS gone
        FROM (SELECT DISTINCT i.room, i.author FROM item i) p
        LEFT JOIN LATERAL (
            SELECT c.seq, c.deleted, c.public, c.stamped_at FROM room_clocks c WHERE c.room_id = p.room OFFSET 0
        ) c ON true
        LEFT JOIN LATERAL (SELECT u.username, u.disabled FROM users u WHERE u.id = p.author OFFSET 0) u ON true
        LEFT JOIN LATERAL (
            SELECT m.user_id, m.muted_until FROM members m
            WHERE m.room_id = p.room AND m.user_id = p.author OFFSET 0
        ) m ON true
        LEFT JOIN LATERAL (
            SELECT b.user_id FROM bans b
            WHERE b.room_id = p.room AND b.user_id = p.author AND (b.until IS NULL OR b.until > v_now) OFFSET 0
        ) b ON true
    ), judged AS MATERIALIZED (
        -- What is stored is a duplicate even for a user who may send no more: "refused" would be a lie.
        SELECT i.room, i.author, i.nonce, i.content, i.fingerprint, i.reply, i.n,
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
        SELECT j.room, j.author, j.nonce, j.content, j.fingerprint, j.reply, j.n, j.now, j.seq, j.enters,
            j.seq + row_number() OVER (PARTITION BY j.room ORDER BY j.n) AS id
        FROM judged j WHERE j.verdict = 0
    ), inserted AS (
        INSERT INTO messages (room_id, id, seq, author_id, created_at, reply_to, fingerprint, nonce, content)
        SELECT a.room, a.id, a.id, a.author, a.now, a.reply, a.fingerprint, a.nonce, a.content FROM accepted a
    ), entered AS (
        INSERT INTO members (room_id, user_id, role, last_read)
        SELECT DISTINCT a.room, a.author, 'member', a.seq FROM accepted a WHERE a.enters ORDER BY 1, 2
        ON CONFLICT DO NOTHING
    ), ticked AS (
        UPDATE room_clocks c SET seq = a.last, stamped_at = a.now
        FROM (SELECT a.room, max(a.id) AS last, max(a.now) AS now FROM accepted a GROUP BY a.room) a
        WHERE c.room_id = a.room
    )
    SELECT a.n, 0, a.id, a.now, NULL::text, NULL::bigint, NULL::smallint, NULL::timestamptz, NULL::boolean, NULL::text
    FROM accepted a
    UNION ALL
    SELECT j.n, j.verdict, o.id, o.created_at,
        j.username, o.seq, o.kind, o.edited_at, o.deleted, o.content
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT o.id, o.created_at, o.seq, o.kind, o.edited_at, o.deleted, o.content
        FROM messages o WHERE j.verdict = 1 AND o.room_id = j.room AND o.id = j.old_id OFFSET 0
    ) o ON true
    WHERE j.verdict <> 0;
END
$$;

-- Edits (p_content given) or deletes (NULL) a message. Outcomes: 0 done, 1 unchanged, 3 no room, 4 disabled,
-- 5 banned, 6 muted, 9 no message, 10 not allowed, 11 gone.
CREATE FUNCTION salon_change_quietly(p_room bigint, p_actor bigint, p_id bigint, p_content text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_clock room_clocks;
    v_message messages;
    v_role text;
    v_site text;
    v_muted timestamptz;
    v_disabled boolean;
    v_kind text;
    v_now timestamptz;
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room FOR NO KEY UPDATE;
    SELECT * INTO v_clock FROM room_clocks c WHERE c.room_id = p_room;
    IF v_clock.deleted IS NOT FALSE THEN RETURN 3; END IF;
    v_now := greatest(date_trunc('milliseconds', clock_timestamp()), v_clock.stamped_at);

    SELECT u.role, u.disabled INTO v_site, v_disabled FROM users u WHERE u.id = p_actor;
    IF v_disabled IS NOT FALSE THEN RETURN 4; END IF;
    SELECT r.kind INTO v_kind FROM rooms r WHERE r.id = p_room;
    SELECT m.role, m.muted_until INTO v_role, v_muted
        FROM members m WHERE m.room_id = p_room AND m.user_id = p_actor;
    IF v_site <> 'admin' OR p_content IS NOT NULL THEN
        IF v_role IS NULL AND v_kind <> 'public' THEN RETURN 3; END IF;
        PERFORM FROM bans b
            WHERE b.room_id = p_room AND b.user_id = p_actor AND (b.until IS NULL OR b.until > v_now);
        IF FOUND THEN RETURN 5; END IF;
        IF p_content IS NOT NULL AND v_muted > v_now THEN RETURN 6; END IF;
    END IF;

    SELECT * INTO v_message FROM messages m WHERE m.room_id = p_room AND m.id = p_id;
    IF v_message.id IS NULL THEN RETURN 9; END IF;
    IF v_message.author_id <> p_actor
        AND (p_content IS NOT NULL OR NOT (v_site = 'admin' OR coalesce(v_role IN ('moderator', 'owner'), false)))
    THEN RETURN 10; END IF;
    IF v_message.deleted THEN RETURN CASE WHEN p_content IS NULL THEN 1 ELSE 11 END; END IF;
    IF v_message.content = p_content THEN RETURN 1; END IF;

    UPDATE room_clocks c SET seq = v_clock.seq + 1, stamped_at = v_now WHERE c.room_id = p_room;
    IF p_content IS NULL THEN
        UPDATE messages m SET seq = v_clock.seq + 1, kind = 2, deleted = true, content = ''
            WHERE m.room_id = p_room AND m.id = p_id;
    ELSE
        UPDATE messages m SET seq = v_clock.seq + 1, kind = 1, edited_at = v_now, content = p_content
            WHERE m.room_id = p_room AND m.id = p_id;
    END IF;
    RETURN 0;
END
$$;

-- The same, and the message as it then is.
CREATE FUNCTION salon_change(p_room bigint, p_actor bigint, p_id bigint, p_content text)
RETURNS TABLE (outcome integer, message messages) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
BEGIN
    outcome := salon_change_quietly(p_room, p_actor, p_id, p_content);
    SELECT m.* INTO message FROM messages m WHERE outcome < 2 AND m.room_id = p_room AND m.id = p_id;
    RETURN NEXT;
END
$$;

-- NULL: no such room or user, or banned; '': was no member; else the role before.
CREATE FUNCTION salon_put_member(p_room bigint, p_user bigint, p_role text) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_before text;
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room AND NOT c.deleted FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    PERFORM FROM users u WHERE u.id = p_user;
    IF NOT FOUND THEN RETURN NULL; END IF;
    PERFORM FROM bans b
        WHERE b.room_id = p_room AND b.user_id = p_user AND (b.until IS NULL OR b.until > clock_timestamp());
    IF FOUND THEN RETURN NULL; END IF;

    SELECT m.role INTO v_before FROM members m WHERE m.room_id = p_room AND m.user_id = p_user FOR UPDATE;
    INSERT INTO members AS m (room_id, user_id, role, last_read)
        SELECT p_room, p_user, p_role, c.seq FROM room_clocks c WHERE c.room_id = p_room
        ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role WHERE m.role <> excluded.role;
    IF v_before <> p_role THEN
        UPDATE room_clocks c SET access = c.access + 1 WHERE c.room_id = p_room;
    END IF;
    RETURN coalesce(v_before, '');
END
$$;

CREATE FUNCTION salon_remove_member(p_room bigint, p_user bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room AND NOT c.deleted FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    DELETE FROM members m WHERE m.room_id = p_room AND m.user_id = p_user;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE room_clocks c SET access = c.access + 1 WHERE c.room_id = p_room;
    RETURN true;
END
$$;

CREATE FUNCTION salon_delete_room(p_room bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE room_clocks c SET access = c.access + 1, deleted = true WHERE c.room_id = p_room AND NOT c.deleted;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE rooms r SET deleted_at = clock_timestamp() WHERE r.id = p_room;
    RETURN true;
END
$$;

-- Removes up to p_limit rows of deleted rooms, one table after the other; the room's own row stays, marked, so that
-- its id is never given again.
CREATE FUNCTION salon_purge(p_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_room bigint;
    v_removed bigint := 0;
    v_now bigint;
BEGIN
    LOOP
        SELECT r.id INTO v_room FROM rooms r WHERE r.deleted_at IS NOT NULL AND NOT r.purged
            ORDER BY r.id LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;

        DELETE FROM messages m WHERE m.room_id = v_room AND m.id = ANY (ARRAY(
            SELECT x.id FROM messages x WHERE x.room_id = v_room ORDER BY x.id LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        EXIT WHEN v_removed >= p_limit;

        DELETE FROM members m WHERE m.room_id = v_room AND m.user_id = ANY (ARRAY(
            SELECT x.user_id FROM members x WHERE x.room_id = v_room ORDER BY x.user_id LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        EXIT WHEN v_removed >= p_limit;

        DELETE FROM bans b WHERE b.room_id = v_room AND b.user_id = ANY (ARRAY(
            SELECT x.user_id FROM bans x WHERE x.room_id = v_room ORDER BY x.user_id LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        EXIT WHEN v_removed >= p_limit;

        DELETE FROM invites i WHERE i.code_hash = ANY (ARRAY(
            SELECT x.code_hash FROM invites x WHERE x.room_id = v_room LIMIT p_limit - v_removed));
        GET DIAGNOSTICS v_now = ROW_COUNT;
        v_removed := v_removed + v_now;
        EXIT WHEN v_removed >= p_limit;

        UPDATE rooms r SET purged = true WHERE r.id = v_room;
    END LOOP;
    RETURN v_removed;
END
$$;

-- Gives a user another password and ends their login sessions but p_keep; those it ended, or NULL: no such user. The
-- user's row is locked first, and by a statement of its own: a login session that was being begun with the password of
-- before is seen by the deletion, or finds another password.
CREATE FUNCTION salon_set_password(p_user bigint, p_hash text, p_keep text) RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_ended text[];
BEGIN
    UPDATE users u SET password_hash = p_hash WHERE u.id = p_user;
    IF NOT FOUND THEN RETURN NULL; END IF;
    WITH ended AS (
        DELETE FROM login_sessions s WHERE s.user_id = p_user AND s.id IS DISTINCT FROM p_keep RETURNING s.id
    ), told AS (
        INSERT INTO revocations (login_session_id) SELECT id FROM ended
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_ended FROM ended;
    RETURN v_ended;
END
$$;

-- Disabling ends the user's login sessions; false: no such user. In two statements for the same reason.
CREATE FUNCTION salon_set_disabled(p_user bigint, p_disabled boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE users u SET disabled = p_disabled WHERE u.id = p_user;
    IF NOT FOUND THEN RETURN false; END IF;
    IF p_disabled THEN
        DELETE FROM login_sessions s WHERE s.user_id = p_user;
        INSERT INTO revocations (user_id) VALUES (p_user);
    END IF;
    RETURN true;
END
$$;

-- Spends a refresh token. Outcomes: 0 unknown, 1 renewed, 2 spent within the grace (`successor` is what it got then),
-- 3 spent before: the login session has been ended. The row's lock comes first, so that what is read after it is what
-- whoever held it has left.
CREATE FUNCTION salon_rotate_refresh(
    p_session text, p_spent bytea, p_successor bytea, p_grace interval, p_lifetime interval, p_spent_max bigint
) RETURNS TABLE (outcome integer, successor bytea, account bigint, name text, site_role text)
LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
DECLARE
    v_session login_sessions;
    v_now timestamptz;
BEGIN
    outcome := 0;
    SELECT * INTO v_session FROM login_sessions s WHERE s.id = p_session FOR UPDATE;
    v_now := clock_timestamp();
    SELECT u.id, u.username, u.role INTO account, name, site_role
        FROM users u WHERE u.id = v_session.user_id AND v_session.expires_at > v_now AND NOT u.disabled;
    IF account IS NULL THEN RETURN NEXT; RETURN; END IF;

    IF v_session.refresh_hash = p_spent THEN
        outcome := 1;
        DELETE FROM spent_refresh_tokens t WHERE t.login_session_id = p_session
            AND (t.spent_at <= v_now - p_grace OR t.hash <> ALL (ARRAY(
                SELECT x.hash FROM spent_refresh_tokens x WHERE x.login_session_id = p_session
                ORDER BY x.spent_at DESC LIMIT p_spent_max - 1)));
        INSERT INTO spent_refresh_tokens (login_session_id, hash, successor_hash, spent_at)
            VALUES (p_session, p_spent, p_successor, v_now);
        UPDATE login_sessions s SET refresh_hash = p_successor, seen_at = v_now, expires_at = v_now + p_lifetime
            WHERE s.id = p_session;
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT t.successor_hash INTO successor FROM spent_refresh_tokens t
        WHERE t.login_session_id = p_session AND t.hash = p_spent AND t.spent_at > v_now - p_grace;
    IF FOUND THEN
        outcome := 2;
        UPDATE login_sessions s SET seen_at = v_now WHERE s.id = p_session;
    ELSE
        outcome := 3;
        DELETE FROM login_sessions s WHERE s.id = p_session;
        INSERT INTO revocations (login_session_id) VALUES (p_session);
    END IF;
    RETURN NEXT;
END
$$;

-- Removes up to p_limit rows: login sessions that have expired, with a revocation of each, then revocations older than
-- p_kept.
CREATE FUNCTION salon_purge_login_sessions(p_limit bigint, p_kept interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_expired bigint;
    v_old bigint;
BEGIN
    WITH expired AS (
        DELETE FROM login_sessions s WHERE s.id = ANY (ARRAY(
            SELECT x.id FROM login_sessions x WHERE x.expires_at < clock_timestamp()
            ORDER BY x.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
        RETURNING s.id
    )
    INSERT INTO revocations (login_session_id) SELECT id FROM expired;
    GET DIAGNOSTICS v_expired = ROW_COUNT;
    DELETE FROM revocations r WHERE r.id = ANY (ARRAY(
        SELECT x.id FROM revocations x WHERE x.at < clock_timestamp() - p_kept
        ORDER BY x.at LIMIT p_limit - v_expired FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_old = ROW_COUNT;
    RETURN v_expired + v_old;
END
$$;
