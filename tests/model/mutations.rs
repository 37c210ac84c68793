//! The protocol broken on purpose: each time the model must find it, and a test says by which property.

use crate::cases::{CRASHES, ONE_HOST, ROUNDS, TAKEOVER, TAKEOVER_TWICE, broken};
use crate::checker::{ADOPTED, ALL_DONE, Checked, NEEDED, NEVER_LOST, ONE_CHILD, ONE_OPEN_RUN, SURVIVOR, TRUE_ENDS};
use crate::protocol::Protocol;
use crate::rules::{Fault, Mutation, Rules};
use crate::telling::tell;
use stateright::{Checker, HasDiscoveries, Model};

/// Looks until a counterexample to this property is found, the shortest there is, and tells it.
fn caught(rules: Rules, by: &'static str) {
    let wanted = HasDiscoveries::AllOf([by].into());
    let checker = Checked::new(rules).checker().finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(by);
    let states = checker.unique_state_count();
    assert!(path.is_some(), "{:?} breaks nothing in {states} states: {by}", rules.broken);
    let Some(path) = path else { return };
    let told = tell(&Protocol { rules }, path);
    println!("{:?} breaks: {by} ({states} states looked at)\n{told}", rules.broken);
}

#[test]
fn a_claim_without_the_row_lock_takes_what_another_has_done() {
    caught(broken(CRASHES, &[Mutation::ClaimWithoutRowLock]), NEEDED);
}

#[test]
fn a_claim_without_row_lock_and_unique_index_opens_a_second_run() {
    caught(broken(CRASHES, &[Mutation::ClaimWithoutRowLock, Mutation::NoUniqueIndex]), ONE_OPEN_RUN);
}

#[test]
fn a_claim_without_row_lock_and_unique_index_starts_a_second_child() {
    caught(broken(CRASHES, &[Mutation::ClaimWithoutRowLock, Mutation::NoUniqueIndex]), ONE_CHILD);
}

#[test]
fn a_finish_that_does_not_compare_the_run_records_an_end_that_was_none() {
    caught(broken(ROUNDS, &[Mutation::FinishAnyRun]), TRUE_ENDS);
}

#[test]
fn a_finish_that_does_not_compare_the_run_lets_a_second_child_start() {
    caught(broken(ROUNDS, &[Mutation::FinishAnyRun]), ONE_CHILD);
}

#[test]
fn a_finish_of_what_is_closed_replaces_an_outcome() {
    let rules = Rules { faults: &[Fault::Freeze], ..TAKEOVER };
    caught(broken(rules, &[Mutation::FinishOverwrites]), TRUE_ENDS);
}

#[test]
fn declaring_lost_without_looking_loses_what_lives() {
    caught(broken(CRASHES, &[Mutation::LoseUnseen]), NEVER_LOST);
}

#[test]
fn declaring_lost_without_looking_lets_a_second_child_start() {
    caught(broken(CRASHES, &[Mutation::LoseUnseen]), ONE_CHILD);
}

#[test]
fn a_lock_that_is_not_asked_lets_a_run_be_lost_whose_file_names_no_process() {
    caught(broken(CRASHES, &[Mutation::LockNotAsked]), NEVER_LOST);
}

#[test]
fn passing_over_a_living_supervisor_records_another_end_than_it_saw() {
    caught(broken(ONE_HOST, &[Mutation::LoseSupervised]), TRUE_ENDS);
}

#[test]
fn what_is_never_adopted_is_missed() {
    caught(broken(CRASHES, &[Mutation::NeverAdopt]), ADOPTED);
}

#[test]
fn a_claim_whose_answer_was_lost_is_never_done_if_nobody_looks() {
    caught(broken(CRASHES, &[Mutation::NeverLook]), ALL_DONE);
}

#[test]
fn a_claim_before_the_tenant_lock_is_lost_by_a_sibling_while_its_child_lives() {
    caught(broken(ONE_HOST, &[Mutation::ClaimBeforeLock]), NEVER_LOST);
}

#[test]
fn without_the_tenant_lock_a_host_starts_a_second_child_beside_the_first() {
    let rules = Rules { faults: &[Fault::Kill], ..TAKEOVER };
    caught(broken(rules, &[Mutation::NoTenantLock]), ONE_CHILD);
}

#[test]
fn an_end_kept_in_memory_alone_is_lost_with_its_supervisor() {
    caught(broken(CRASHES, &[Mutation::NoUnrecorded]), TRUE_ENDS);
}

#[test]
fn an_end_that_a_living_supervisor_has_yet_to_record_is_lost_by_a_sibling() {
    caught(broken(ONE_HOST, &[Mutation::UnrecordedOfTheDeadOnly]), TRUE_ENDS);
}

#[test]
fn the_same_needs_no_crash_but_an_answer_that_is_late() {
    let rules = Rules { faults: &[Fault::NoAnswer], ..ONE_HOST };
    caught(broken(rules, &[Mutation::UnrecordedOfTheDeadOnly]), TRUE_ENDS);
}

#[test]
fn a_fence_where_the_lease_ends_is_too_late() {
    caught(broken(TAKEOVER, &[Mutation::FenceAtLease]), ONE_CHILD);
}

#[test]
fn a_life_that_counts_from_the_answer_lasts_too_long() {
    let rules = Rules { faults: &[Fault::Cut], ..TAKEOVER_TWICE };
    caught(broken(rules, &[Mutation::CountFromAnswer]), ONE_CHILD);
}

#[test]
fn a_claim_that_counts_from_its_answer_lasts_too_long() {
    caught(broken(TAKEOVER, &[Mutation::CountClaimFromAnswer]), ONE_CHILD);
}

#[test]
fn a_claim_answered_late_must_not_be_started() {
    caught(broken(TAKEOVER, &[Mutation::StartLateClaim]), ONE_CHILD);
}

#[test]
fn an_adopted_run_that_counts_from_its_adoption_lasts_too_long() {
    let rules = Rules { faults: &[Fault::Kill, Fault::Cut], ..TAKEOVER_TWICE };
    caught(broken(rules, &[Mutation::CountFromAdoption]), ONE_CHILD);
}

#[test]
fn a_takeover_by_what_the_look_read_takes_what_was_confirmed_since() {
    let rules = Rules { faults: &[Fault::Kill, Fault::NoAnswer], ..TAKEOVER_TWICE };
    caught(broken(rules, &[Mutation::TakeOverByLook]), ONE_CHILD);
}

#[test]
fn a_takeover_when_the_fence_is_due_comes_before_it() {
    caught(broken(TAKEOVER, &[Mutation::TakeOverAtFence]), ONE_CHILD);
}

#[test]
fn what_nobody_takes_over_waits_for_its_node() {
    caught(broken(TAKEOVER, &[Mutation::NeverTakeOver]), SURVIVOR);
}

#[test]
fn a_refresh_that_opens_a_closed_run_opens_a_second_one() {
    caught(broken(TAKEOVER, &[Mutation::RefreshRevives]), ONE_OPEN_RUN);
}
