-- Disabling tells of each login session it ends, too: nodes judge who logged in here by these alone, since the times in
-- tokens are of the clock of the node that signed them. All have one time, and the user comes first, so that whoever
-- reads of a login session knows why it ended. In several statements, as before: what is looked at after the user's row
-- was locked is what whoever held it has left.
CREATE OR REPLACE FUNCTION salon_set_disabled(p_user bigint, p_disabled boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_now timestamptz;
BEGIN
    UPDATE users u SET disabled = p_disabled WHERE u.id = p_user;
    IF NOT FOUND THEN RETURN false; END IF;
    IF p_disabled THEN
        v_now := clock_timestamp();
        INSERT INTO revocations (at, user_id) VALUES (v_now, p_user);
        WITH ended AS (
            DELETE FROM login_sessions s WHERE s.user_id = p_user RETURNING s.id
        )
        INSERT INTO revocations (at, login_session_id) SELECT v_now, id FROM ended;
    END IF;
    RETURN true;
END
$$;
