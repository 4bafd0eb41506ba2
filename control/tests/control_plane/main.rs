//! The control plane on real databases: the same tests on SQLite and on PostgreSQL.

mod addresses;
mod cases;
mod database;
mod deliveries;
mod follow;

use database::Database;
use deliveries::{courses, delays, handover, letters, wishes};
use handfast_stack::{Stack, StackSpec};
use proptest::prelude::*;

/// Every case as a test of its own on SQLite, and all of them, one after another, on one PostgreSQL.
macro_rules! on_both {
    ($($file:ident { $($case:ident,)+ })+) => {
        mod on_sqlite {
            $($(#[tokio::test]
            async fn $case() {
                super::$file::$case(super::Database::sqlite()).await;
            })+)+
        }

        #[tokio::test]
        async fn all_of_it_holds_on_postgresql_too() {
            let stack = postgres();
            $($(println!("on PostgreSQL: {}", stringify!($case));
            $file::$case(Database::postgres(&stack).await).await;)+)+
        }
    };
}

on_both! {
    cases {
        a_namespace_is_created_changed_and_found_again_after_a_restart,
        a_change_from_an_old_version_is_a_conflict,
        of_many_changes_at_once_each_version_is_made_by_one,
        what_changes_nothing_makes_no_version,
        a_write_version_stays_until_it_is_raised,
        bad_files_and_names_change_nothing_and_say_what_to_do,
        a_database_of_a_newer_version_is_refused_and_left_alone,
        a_damaged_version_is_told_and_never_used,
        a_namespace_is_pinned_to_a_pool_and_the_history_says_by_whom,
        of_many_pins_at_once_one_wins,
        every_change_raises_the_revision_and_shows_in_the_snapshot,
        a_database_of_the_first_release_is_brought_up_to_date,
        a_database_without_deliveries_is_brought_up_to_date,
    }
    courses {
        every_beat_is_counted_until_the_process_leaves,
        a_course_is_claimed_by_one_of_many,
        a_claim_of_another_generation_is_refused,
        the_courses_of_a_namespace_are_told_with_their_owners,
        who_leaves_releases_what_it_has_and_nothing_else,
        a_course_is_released_by_its_generation_alone,
        marks_are_stored_together_each_under_its_generation,
        a_mark_is_found_again_after_a_restart,
        what_is_said_under_an_old_generation_changes_nothing,
        a_claim_comes_before_or_behind_what_its_predecessor_says,
        calls_that_are_given_up_leave_no_lock_behind,
        errors_say_which_database_and_no_password,
    }
    delays {
        entries_are_told_page_by_page_by_time_and_name,
        a_change_that_was_written_earlier_changes_nothing,
        what_is_gone_is_forgotten_and_comes_back_with_a_late_change,
        what_was_refused_may_be_due_again,
        namespaces_and_shards_are_apart,
        names_and_times_come_back_as_they_were,
        large_batches_may_be_repeated,
        of_notes_at_once_the_newest_changes_hold,
        notes_that_are_given_up_leave_no_lock_behind,
        a_damaged_entry_is_told_and_never_used,
    }
    handover {
        who_stops_in_order_hands_over_at_once,
        who_has_left_beats_no_more,
    }
    letters {
        a_letter_is_found_again_as_it_was_after_a_restart,
        a_letter_that_is_buried_again_stays_as_it_is,
        a_target_has_no_more_letters_than_it_may,
        letters_make_room_once_when_they_go,
        of_many_burials_at_once_as_many_are_stored_as_there_is_room,
        letters_are_selected_by_everything_that_is_given,
        keys_are_compared_byte_for_byte,
        letters_are_told_page_by_page_the_oldest_burial_first,
        letters_are_counted_by_target_and_state,
        letters_are_counted_and_outlined_by_what_is_chosen,
        a_damaged_letter_is_told_and_never_used,
        too_many_names_are_refused,
    }
    wishes {
        letters_that_are_to_be_redriven_are_told_by_course_and_ticket,
        a_wish_is_cancelled_as_long_as_nothing_came_of_it,
        a_redriven_letter_that_was_delivered_is_gone_and_settled,
        a_redriven_letter_that_failed_is_dead_with_one_more_try,
        a_history_keeps_its_first_and_last_tries,
        a_discarded_letter_is_gone_and_settled,
        a_discarded_letter_is_not_buried_again,
        settled_tickets_are_remembered_until_the_mark_has_passed_them,
        settled_tickets_of_another_log_are_forgotten,
        of_wishes_and_burials_at_once_no_ticket_is_lost,
    }
}

fn postgres() -> Stack {
    Stack::start(&StackSpec { postgres: true, ..StackSpec::default() }).expect("a PostgreSQL")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is done in whatever order, each version's number is one more than the last, and every
    /// version reads back as it was made.
    #[test]
    fn versions_are_numbered_without_gaps(
        steps in proptest::collection::vec((1u32..6, 0u32..5), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(cases::number_versions(Database::sqlite(), steps));
    }
}
