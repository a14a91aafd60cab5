//! The store's promises: each clause is one function over a [`Bed`], run on SQLite and on Postgres.

mod administering;
mod appending;
mod bed;
mod changing;
mod inviting;
mod keeping;
mod login_sessions;
mod marking;
mod mentioning;
mod migrating;
mod moderating;
mod only_postgres;
mod only_sqlite;
mod people;
mod racing;
mod reacting;
mod reading;
mod rooms;
mod searching;

/// Makes of each clause one test a backend.
macro_rules! clauses {
    ($($group:ident :: $clause:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                super::$group::$clause(&super::bed::Bed::sqlite().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                super::$group::$clause(&super::bed::Bed::postgres().await).await;
            })+
        }
    };
}

clauses! {
    administering::users_are_found_by_a_part_of_the_name,
    administering::a_listed_user_is_shown_whole,
    administering::only_administrators_change_accounts_and_none_their_own,
    administering::disabling_by_an_administrator_ends_what_is_logged_in_once,
    administering::administrators_who_put_each_other_out_leave_one,
    administering::all_rooms_are_listed_and_nothing_that_was_said,
    administering::a_page_of_a_large_table_has_a_bound,
    administering::nodes_are_listed_with_what_they_said_last,
    administering::an_administrator_deletes_in_rooms_they_cannot_see,
    appending::an_empty_batch_does_nothing,
    appending::seqs_start_at_one_and_follow_the_batch,
    appending::rooms_of_a_batch_have_their_own_clocks,
    appending::the_same_nonce_is_the_same_message,
    appending::the_same_nonce_of_another_is_another_message,
    appending::a_nonce_twice_in_one_batch_is_stored_once,
    appending::a_nonce_with_other_content_is_refused,
    appending::a_duplicate_is_given_in_its_present_state,
    appending::a_duplicate_is_told_to_one_who_may_send_no_more,
    appending::one_bad_item_fails_alone,
    appending::a_refused_item_leaves_its_nonce_free,
    appending::a_public_room_makes_its_senders_members,
    appending::a_private_room_does_not_exist_for_others,
    appending::the_banned_and_the_muted_are_refused,
    appending::the_disabled_are_refused,
    appending::a_reply_needs_its_target,
    appending::a_deleted_room_takes_nothing,
    appending::times_do_not_go_back,
    racing::seqs_have_no_holes_when_retries_race,
    racing::members_made_by_many_are_made_once,
    changing::an_edit_takes_the_next_seq,
    changing::a_deletion_leaves_the_place_and_nothing_else,
    changing::what_already_is_so_takes_no_seq,
    changing::only_the_author_edits,
    changing::moderators_and_administrators_delete,
    changing::strangers_learn_nothing_by_changing,
    changing::the_banned_and_the_muted_change_nothing,
    keeping::what_is_too_old_goes_from_the_beginning,
    keeping::what_belongs_to_it_goes_too,
    keeping::nothing_is_done_to_what_is_gone_and_its_nonce_is_free,
    keeping::a_room_keeps_less_than_the_others,
    keeping::rooms_are_looked_at_in_pages,
    keeping::removals_race_with_sends_and_with_each_other,
    marking::marks_move_forwards_and_not_beyond_the_head,
    marking::marks_that_race_end_at_the_furthest,
    marking::unread_is_what_others_sent_and_is_there,
    marking::memberships_tell_heads_and_what_stirred,
    mentioning::members_are_found_in_the_text,
    mentioning::the_longest_name_that_is_a_members_counts,
    mentioning::each_message_of_a_batch_has_its_own,
    mentioning::a_first_message_may_name_its_author,
    mentioning::mentions_follow_edits_and_deletions,
    mentioning::a_crowd_of_names_is_bounded,
    reacting::a_reaction_takes_the_next_seq_and_shows_on_the_message,
    reacting::what_is_given_or_taken_back_already_takes_no_seq,
    reacting::kinds_are_bounded_and_others_go_on,
    reacting::the_first_twenty_are_named_and_all_are_counted,
    reacting::an_edit_keeps_reactions_and_a_deletion_does_not,
    reacting::who_may_not_send_may_not_react,
    reacting::reactions_that_race_are_all_counted,
    reacting::what_belongs_to_a_deleted_room_is_purged,
    reading::changes_come_in_order_of_seq_with_the_head,
    reading::what_was_superseded_is_told_once,
    reading::recent_changes_are_the_latest,
    reading::history_goes_both_ways,
    reading::an_absent_or_deleted_room_has_nothing_to_read,
    reading::heads_are_of_rooms_that_live,
    reading::the_epoch_is_renewed_once,
    rooms::the_owner_is_a_member,
    rooms::a_slug_is_taken_until_its_room_is_deleted,
    rooms::a_room_is_found_by_id_and_by_slug,
    rooms::a_private_room_is_seen_by_its_members_only,
    rooms::own_rooms_are_listed_first_in_pages,
    rooms::a_room_takes_a_new_name_and_topic,
    rooms::entering_a_public_room_makes_a_member,
    rooms::entering_is_refused_to_each_as_it_should_be,
    rooms::unread_counts_what_others_sent_since,
    rooms::members_are_listed_in_pages,
    rooms::access_tells_each_standing,
    rooms::a_deleted_room_is_gone_at_every_door,
    rooms::purging_takes_its_limit_at_a_time,
    searching::words_phrases_and_their_absence_are_found,
    searching::what_was_edited_or_deleted_is_gone_at_once,
    searching::only_what_the_user_may_read_now_is_found,
    searching::pages_go_back_from_the_newest,
    searching::hostile_queries_find_nothing_and_break_nothing,
    searching::words_are_taken_at_their_limit_and_once,
    moderating::roles_change_and_raise_the_access_version,
    moderating::removal_raises_the_access_version,
    moderating::what_was_judged_by_another_version_is_not_done,
    moderating::a_room_keeps_an_owner,
    moderating::owners_who_remove_each_other_leave_one,
    moderating::a_ban_ends_the_membership_and_every_way_in,
    moderating::bans_and_mutes_run_out_by_themselves,
    moderating::a_mute_silences_and_nothing_else,
    moderating::leaving_ends_no_mute,
    moderating::bans_and_mutes_are_listed_in_pages,
    moderating::nothing_is_appended_after_a_ban,
    inviting::an_invitation_lets_in_as_many_as_it_says,
    inviting::of_many_at_once_exactly_as_many_get_in,
    inviting::one_who_asks_twice_spends_one_use,
    inviting::an_invitation_lets_nobody_in_who_may_not,
    inviting::who_may_not_invite_any_more_leaves_no_door_open,
    inviting::open_invitations_are_bounded,
    inviting::two_users_have_one_direct_room,
    inviting::two_who_ask_at_once_get_the_same_direct_room,
    inviting::additions_are_those_of_the_window,
    inviting::rooms_are_seen_as_each_sees_them,
    people::a_name_is_taken_without_regard_to_case,
    people::a_name_that_looks_like_another_is_taken_and_is_not_the_other,
    people::an_issuers_user_is_one_user,
    login_sessions::they_live_until_ended_or_expired,
    login_sessions::they_are_listed_those_seen_last_first,
    login_sessions::none_begins_with_what_is_not_the_password_any_more,
    login_sessions::a_new_password_ends_all_but_the_one_kept,
    login_sessions::a_renewed_hash_ends_nothing,
    login_sessions::log_ins_that_race_with_a_new_password_do_not_outlive_it,
    login_sessions::disabling_ends_and_tells,
    login_sessions::revocations_are_those_of_the_window,
    login_sessions::a_token_is_renewed_once,
    login_sessions::a_token_spent_within_the_grace_gets_the_same_successor,
    login_sessions::a_token_spent_before_the_grace_ends_its_login_session,
    login_sessions::a_forged_token_ends_the_login_session_it_names,
    login_sessions::of_many_that_spend_one_token_one_renews_it,
    login_sessions::spent_tokens_are_few,
    login_sessions::what_has_ended_or_expired_or_is_disabled_is_not_renewed,
    login_sessions::renewing_puts_off_the_expiry,
    login_sessions::purging_ends_what_has_expired_at_its_limit,
    login_sessions::old_revocations_are_purged,
    people::nodes_see_each_other,
    people::migrating_again_changes_nothing,
    people::the_store_answers_and_is_durable,
}
