-- Bans, mutes, roles, invitations and direct rooms, each done under the lock of the room's clock, so that what is
-- answered is in force for every append that comes after it.

-- Beside the memberships, so that leaving and coming back ends no mute. `members.muted_until`, salon_put_member and
-- salon_remove_member are of use to nodes of the release before only, which may run for a while, and go with a later one.
CREATE TABLE mutes (
    room_id    bigint NOT NULL,
    user_id    bigint NOT NULL,
    muted_by   bigint,
    reason     text NOT NULL DEFAULT '',
    -- NULL: for good.
    until      timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (room_id, user_id)
);
INSERT INTO mutes (room_id, user_id, until)
    SELECT room_id, user_id, muted_until FROM members WHERE muted_until > clock_timestamp();

CREATE INDEX bans_until ON bans (until) WHERE until IS NOT NULL;
CREATE INDEX mutes_until ON mutes (until) WHERE until IS NOT NULL;
CREATE INDEX invites_expiry ON invites (expires_at) WHERE expires_at IS NOT NULL;
-- Whether somebody is the last owner is asked under the clock's lock, in rooms of any size.
CREATE INDEX members_owners ON members (room_id) WHERE role = 'owner';

-- A room became somebody's by what another did, or by an invitation. Only ever appended; nodes read what is recent, so
-- that a lost hint is made good at a cost that does not grow with their sockets.
CREATE TABLE room_additions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id bigint NOT NULL,
    room_id bigint NOT NULL
);
CREATE INDEX room_additions_at ON room_additions (at, id);

-- Changes what somebody may do in a room. Acts: add (p_role NULL: as a member, and a member stays what they are),
-- remove, ban, unban, mute, unmute. With p_seen nothing is done unless it is still the room's access version: then
-- whatever the caller judged by is still so. Outcomes: 0 done (with the id of the addition, where a room became
-- somebody's), 1 it was so already, 2 no user, 3 no room, 4 overtaken, 5 banned, 6 the last owner.
CREATE FUNCTION salon_moderate(
    p_room bigint, p_user bigint, p_by bigint, p_seen bigint, p_act text, p_role text, p_reason text,
    p_until timestamptz
) RETURNS TABLE (outcome integer, addition bigint) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
DECLARE
    v_clock room_clocks;
    v_role text;
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room FOR NO KEY UPDATE;
    SELECT * INTO v_clock FROM room_clocks c WHERE c.room_id = p_room;
    IF v_clock.deleted IS NOT FALSE THEN outcome := 3; RETURN NEXT; RETURN; END IF;
    IF v_clock.access <> p_seen THEN outcome := 4; RETURN NEXT; RETURN; END IF;
    PERFORM FROM users u WHERE u.id = p_user;
    IF NOT FOUND THEN outcome := 2; RETURN NEXT; RETURN; END IF;

    SELECT m.role INTO v_role FROM members m WHERE m.room_id = p_room AND m.user_id = p_user;
    IF v_role = 'owner' AND (p_act IN ('remove', 'ban') OR (p_act = 'add' AND p_role <> 'owner')) THEN
        PERFORM FROM members m WHERE m.room_id = p_room AND m.role = 'owner' AND m.user_id <> p_user;
        IF NOT FOUND THEN outcome := 6; RETURN NEXT; RETURN; END IF;
    END IF;

    outcome := 0;
    CASE p_act
    WHEN 'add' THEN
        PERFORM FROM bans b
            WHERE b.room_id = p_room AND b.user_id = p_user AND (b.until IS NULL OR b.until > clock_timestamp());
        IF FOUND THEN outcome := 5; RETURN NEXT; RETURN; END IF;
        -- Entering a public room waits for no clock, so they may have become a member since.
        INSERT INTO members (room_id, user_id, role, last_read)
            VALUES (p_room, p_user, coalesce(p_role, 'member'), v_clock.seq) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            INSERT INTO room_additions (user_id, room_id) VALUES (p_user, p_room) RETURNING id INTO addition;
            RETURN NEXT;
            RETURN;
        END IF;
        UPDATE members m SET role = p_role WHERE m.room_id = p_room AND m.user_id = p_user AND m.role <> p_role;
    WHEN 'remove' THEN
        DELETE FROM members m WHERE m.room_id = p_room AND m.user_id = p_user;
    WHEN 'ban' THEN
        DELETE FROM members m WHERE m.room_id = p_room AND m.user_id = p_user;
        INSERT INTO bans (room_id, user_id, banned_by, reason, until)
            VALUES (p_room, p_user, p_by, p_reason, p_until)
            ON CONFLICT (room_id, user_id) DO UPDATE SET banned_by = excluded.banned_by, reason = excluded.reason,
                until = excluded.until, created_at = excluded.created_at;
    WHEN 'unban' THEN
        DELETE FROM bans b WHERE b.room_id = p_room AND b.user_id = p_user;
    WHEN 'mute' THEN
        INSERT INTO mutes (room_id, user_id, muted_by, reason, until)
            VALUES (p_room, p_user, p_by, p_reason, p_until)
            ON CONFLICT (room_id, user_id) DO UPDATE SET muted_by = excluded.muted_by, reason = excluded.reason,
                until = excluded.until, created_at = excluded.created_at;
    WHEN 'unmute' THEN
        DELETE FROM mutes x WHERE x.room_id = p_room AND x.user_id = p_user;
    END CASE;
    IF NOT FOUND THEN outcome := 1; RETURN NEXT; RETURN; END IF;

    -- Who may not invite any more leaves no door open behind them.
    IF p_act IN ('remove', 'ban') OR (p_act = 'add' AND p_role = 'member') THEN
        DELETE FROM invites i WHERE i.room_id = p_room AND i.created_by = p_user;
    END IF;
    UPDATE room_clocks c SET access = c.access + 1 WHERE c.room_id = p_room;
    RETURN NEXT;
END
$$;

-- Name and topic are part of what the access version stands for: nodes that missed the hint look again by it.
CREATE FUNCTION salon_update_room(p_room bigint, p_name text, p_topic text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE room_clocks c SET access = c.access + 1 WHERE c.room_id = p_room AND NOT c.deleted;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE rooms r SET name = coalesce(p_name, r.name), topic = coalesce(p_topic, r.topic) WHERE r.id = p_room;
    RETURN true;
END
$$;

-- Outcomes: 0 made, 3 no room, 4 overtaken (as in salon_moderate), 7 too many are open.
CREATE FUNCTION salon_create_invite(
    p_room bigint, p_by bigint, p_seen bigint, p_hash bytea, p_uses integer, p_lifetime interval, p_open_max bigint
) RETURNS TABLE (outcome integer, expiry timestamptz) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
DECLARE
    v_clock room_clocks;
    v_open bigint;
BEGIN
    PERFORM FROM room_clocks c WHERE c.room_id = p_room FOR NO KEY UPDATE;
    SELECT * INTO v_clock FROM room_clocks c WHERE c.room_id = p_room;
    IF v_clock.deleted IS NOT FALSE THEN outcome := 3; RETURN NEXT; RETURN; END IF;
    IF v_clock.access <> p_seen THEN outcome := 4; RETURN NEXT; RETURN; END IF;
    SELECT count(*) INTO v_open FROM invites i
        WHERE i.room_id = p_room AND coalesce(i.uses_left > 0, true) AND i.expires_at > clock_timestamp();
    IF v_open >= p_open_max THEN outcome := 7; RETURN NEXT; RETURN; END IF;
    outcome := 0;
    INSERT INTO invites (code_hash, room_id, created_by, uses_left, expires_at)
        VALUES (p_hash, p_room, p_by, p_uses, date_trunc('milliseconds', clock_timestamp() + p_lifetime))
        RETURNING expires_at INTO expiry;
    RETURN NEXT;
END
$$;

-- Outcomes: 0 became a member, 1 was one already (no use is spent), 3 nothing that this user may know of.
CREATE FUNCTION salon_redeem(p_hash bytea, p_user bigint)
RETURNS TABLE (outcome integer, room bigint, addition bigint) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
DECLARE
    v_clock room_clocks;
    v_invite invites;
BEGIN
    outcome := 3;
    SELECT i.room_id INTO room FROM invites i WHERE i.code_hash = p_hash;
    IF NOT FOUND THEN RETURN NEXT; RETURN; END IF;
    PERFORM FROM room_clocks c WHERE c.room_id = room FOR NO KEY UPDATE;
    SELECT * INTO v_clock FROM room_clocks c WHERE c.room_id = room;
    -- Read again under the lock: others have spent uses, or it was withdrawn.
    SELECT i.* INTO v_invite FROM invites i JOIN users u ON u.id = i.created_by AND NOT u.disabled
        WHERE i.code_hash = p_hash AND i.expires_at > clock_timestamp();
    IF NOT FOUND OR v_clock.deleted IS NOT FALSE THEN RETURN NEXT; RETURN; END IF;
    PERFORM FROM bans b
        WHERE b.room_id = room AND b.user_id = p_user AND (b.until IS NULL OR b.until > clock_timestamp());
    IF FOUND THEN RETURN NEXT; RETURN; END IF;
    PERFORM FROM users u WHERE u.id = p_user AND NOT u.disabled;
    IF NOT FOUND THEN RETURN NEXT; RETURN; END IF;

    PERFORM FROM members m WHERE m.room_id = room AND m.user_id = p_user;
    IF FOUND THEN outcome := 1; RETURN NEXT; RETURN; END IF;
    IF v_invite.uses_left = 0 THEN RETURN NEXT; RETURN; END IF;
    INSERT INTO members (room_id, user_id, role, last_read) VALUES (room, p_user, 'member', v_clock.seq)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN outcome := 1; RETURN NEXT; RETURN; END IF;
    UPDATE invites i SET uses_left = i.uses_left - 1 WHERE i.code_hash = p_hash;
    INSERT INTO room_additions (user_id, room_id) VALUES (p_user, room) RETURNING id INTO addition;
    outcome := 0;
    RETURN NEXT;
END
$$;

-- The one direct room of two users; the ids of the two additions where it was made just now. Of two who ask at once
-- the second waits at the unique pair for the first, and its next statement sees what that made.
CREATE FUNCTION salon_direct_room(p_first bigint, p_second bigint, p_slug text, p_epoch text)
RETURNS TABLE (room bigint, first_addition bigint, second_addition bigint) LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
DECLARE
    v_pair text := least(p_first, p_second) || ':' || greatest(p_first, p_second);
BEGIN
    -- One that an operator deleted does not stand in the way of another.
    UPDATE rooms r SET direct_pair = NULL WHERE r.direct_pair = v_pair AND r.deleted_at IS NOT NULL;
    INSERT INTO rooms (slug, name, kind, direct_pair) VALUES (p_slug, 'direct', 'direct', v_pair)
        ON CONFLICT (direct_pair) DO NOTHING RETURNING id INTO room;
    IF NOT FOUND THEN
        SELECT r.id INTO room FROM rooms r WHERE r.direct_pair = v_pair;
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO room_clocks (room_id, epoch) VALUES (room, p_epoch);
    INSERT INTO members (room_id, user_id, role, last_read)
        VALUES (room, p_first, 'member', 0), (room, p_second, 'member', 0);
    INSERT INTO room_additions (user_id, room_id) VALUES (p_first, room) RETURNING id INTO first_addition;
    INSERT INTO room_additions (user_id, room_id) VALUES (p_second, room) RETURNING id INTO second_addition;
    RETURN NEXT;
END
$$;

-- Removes up to p_limit rows: bans, mutes and invitations that are over, additions older than p_kept, and the mutes of
-- deleted rooms, before salon_purge is done with those.
CREATE FUNCTION salon_purge_moderation(p_limit bigint, p_kept interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_removed bigint := 0;
    v_now bigint;
BEGIN
    DELETE FROM bans b WHERE (b.room_id, b.user_id) IN (
        SELECT x.room_id, x.user_id FROM bans x WHERE x.until < clock_timestamp() ORDER BY x.until
        LIMIT p_limit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_now = ROW_COUNT;
    v_removed := v_removed + v_now;

    DELETE FROM mutes m WHERE (m.room_id, m.user_id) IN (
        SELECT x.room_id, x.user_id FROM mutes x WHERE x.until < clock_timestamp() ORDER BY x.until
        LIMIT p_limit - v_removed FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_now = ROW_COUNT;
    v_removed := v_removed + v_now;

    DELETE FROM invites i WHERE i.code_hash IN (
        SELECT x.code_hash FROM invites x WHERE x.expires_at < clock_timestamp() ORDER BY x.expires_at
        LIMIT p_limit - v_removed FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_now = ROW_COUNT;
    v_removed := v_removed + v_now;

    DELETE FROM room_additions a WHERE a.id IN (
        SELECT x.id FROM room_additions x WHERE x.at < clock_timestamp() - p_kept ORDER BY x.at, x.id
        LIMIT p_limit - v_removed FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_now = ROW_COUNT;
    v_removed := v_removed + v_now;

    DELETE FROM mutes m WHERE (m.room_id, m.user_id) IN (
        SELECT x.room_id, x.user_id FROM rooms r JOIN mutes x ON x.room_id = r.id
        WHERE r.deleted_at IS NOT NULL AND NOT r.purged
        LIMIT p_limit - v_removed);
    GET DIAGNOSTICS v_now = ROW_COUNT;
    RETURN v_removed + v_now;
END
$$;
