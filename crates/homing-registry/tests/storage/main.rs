//! One suite, two backends: every test runs on SQLite, and on PostgreSQL where a server can be had.
//!
//! `HOMING_TEST_POSTGRES` names a server (a URL); without it a private cluster is started from the installed
//! binaries. Without those the tests of PostgreSQL say `SKIPPED` and are counted.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

mod backend;
mod crash;
mod fixtures;
mod keeping;
mod lists;
mod order;
mod postgres_only;
mod postgres_server;
mod race;
mod searching;
mod sqlite_only;

/// Each function as a test on both backends.
macro_rules! on_both {
    ($($module:ident :: $name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let backend = crate::backend::sqlite();
                crate::$module::$name(backend.storage.clone()).await;
                backend.check().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(backend) =
                    crate::postgres_server::storage(stringify!($name)).await else { return };
                crate::$module::$name(backend).await;
            })*
        }
    };
}

on_both! {
    keeping::a_registration_comes_back_as_it_was,
    keeping::a_newer_record_replaces_and_an_older_does_not,
    keeping::the_same_record_twice_changes_nothing,
    keeping::of_two_with_one_sequence_the_smaller_digest_is_served,
    keeping::a_tombstone_outlives_what_it_withdraws,
    keeping::an_expired_entity_leaves_a_floor_against_replays,
    keeping::a_sequence_from_the_far_future_is_refused,
    keeping::records_of_other_times_are_refused,
    keeping::a_card_is_kept_only_if_the_record_names_it,
    keeping::a_renewal_without_its_card_keeps_what_the_card_said,
    keeping::heartbeats_only_rise,
    lists::history_is_newest_first_bounded_and_paged,
    lists::pages_are_stable_while_others_register,
    lists::a_foreign_cursor_is_refused,
    lists::pages_obey_their_filter,
    lists::names_and_addresses_find_their_entities,
    lists::changes_have_numbers_that_rise,
    lists::categories_and_tags_are_counted,
    lists::totals_count,
    searching::words_find_what_they_name_and_say_why,
    searching::better_fields_stand_higher,
    searching::filters_restrict,
    searching::syntax_is_only_words,
    searching::a_changed_listing_is_found_by_its_new_words_only,
    searching::the_beginning_of_a_last_word_is_enough,
    searching::fewer_words_do_when_nobody_has_all,
    searching::pages_of_hits_neither_overlap_nor_skip,
    searching::the_dead_are_not_found,
    searching::other_scripts_are_found,
    race::the_highest_of_a_hundred_writers_wins,
    race::changes_are_seen_in_their_order_by_a_reader,
    race::an_import_and_single_writes_agree,
    order::any_order_ends_in_the_same_state,
}
