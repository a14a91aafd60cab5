-- What administrators of the site see and do.

-- How many sockets a node has, written with its heartbeat; NULL: a node of the release before, which does not say.
ALTER TABLE nodes ADD COLUMN sockets bigint;

-- Disables or enables an account, or changes its role on the site; NULL leaves either as it is. Outcomes: 0 done, 1 it
-- was so already, 2 no user, 3 who asks is no administrator (any more), 4 nobody does that to themselves. Both rows are
-- locked, in one order and by a statement of its own, before either is looked at: of two administrators who would put
-- each other out one remains.
CREATE FUNCTION salon_administer(p_by bigint, p_user bigint, p_disabled boolean, p_role text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_role text;
    v_disabled boolean;
BEGIN
    PERFORM FROM users u WHERE u.id IN (p_by, p_user) ORDER BY u.id FOR NO KEY UPDATE;
    PERFORM FROM users u WHERE u.id = p_by AND u.role = 'admin' AND NOT u.disabled;
    IF NOT FOUND THEN RETURN 3; END IF;
    SELECT u.role, u.disabled INTO v_role, v_disabled FROM users u WHERE u.id = p_user;
    IF NOT FOUND THEN RETURN 2; END IF;
    IF coalesce(p_role, v_role) = v_role AND coalesce(p_disabled, v_disabled) = v_disabled THEN RETURN 1; END IF;
    -- They are enabled and an administrator, so that any change is the loss of one or the other.
    IF p_by = p_user THEN RETURN 4; END IF;
    UPDATE users u SET role = p_role WHERE u.id = p_user AND u.role <> p_role;
    IF p_disabled <> v_disabled THEN PERFORM salon_set_disabled(p_user, p_disabled); END IF;
    RETURN 0;
END
$$;
