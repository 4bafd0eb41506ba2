//! The control plane on real databases: the same tests on SQLite and on PostgreSQL.

mod addresses;
mod cases;
mod database;
mod follow;

use database::Database;
use handfast_stack::{Stack, StackSpec};
use proptest::prelude::*;

/// Every case as a test of its own on SQLite, and all of them, one after another, on one PostgreSQL.
macro_rules! on_both {
    ($($case:ident,)+) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::cases::$case(super::Database::sqlite()).await;
            })+
        }

        #[tokio::test]
        async fn all_of_it_holds_on_postgresql_too() {
            let stack = postgres();
            $(println!("on PostgreSQL: {}", stringify!($case));
            cases::$case(Database::postgres(&stack).await).await;)+
        }
    };
}

on_both!(
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
);

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
