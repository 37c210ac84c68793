//! The protocol as it is: no counterexample in any case, and enough in each to mean something.

use crate::cases::{CRASHES, ONE_HOST, ONE_HOST_ROUNDS, ROUNDS, STANDSTILLS, TAKEOVER, TAKEOVER_TWICE};
use crate::checker::{Checked, SEEN_ADOPTED, SEEN_BACK, SEEN_FENCED, SEEN_LATE, SEEN_LOST, SEEN_TAKEN};
use crate::protocol::Protocol;
use crate::rules::{Mutation, Rules};
use crate::telling::tell;
use stateright::{Checker, Expectation, Model};

/// Goes through the whole case: nothing that must not be, all of `seen`, and at least so many states.
fn holds(rules: Rules, least: usize, seen: &[&'static str]) {
    let checker = Checked::new(rules).checker().spawn_bfs().join();
    let protocol = Protocol { rules };
    let states = checker.unique_state_count();
    println!("{states} states, {} steps, {} deep", checker.state_count(), checker.max_depth());
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let example = found.remove(property.name);
        match property.expectation {
            Expectation::Always => {
                let told = example.map(|path| tell(&protocol, path));
                assert!(told.is_none(), "not so: {}\n{}", property.name, told.unwrap_or_default());
            }
            _ => assert!(example.is_some() || !seen.contains(&property.name), "not seen: {}", property.name),
        }
    }
    assert!(states >= least, "{states} states: the model has become smaller, does it still say anything?");
}

#[test]
fn two_nodes_survive_three_crashes_and_lost_answers() {
    holds(CRASHES, 300_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}

#[test]
fn two_nodes_survive_two_of_them_while_tenants_are_needed_again() {
    holds(ROUNDS, 100_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}

#[test]
fn supervisors_that_overlap_on_one_host_survive_two_of_them() {
    holds(ONE_HOST, 300_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}

#[test]
fn supervisors_that_overlap_on_one_host_survive_one_while_tenants_are_needed_again() {
    holds(ONE_HOST_ROUNDS, 30_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}

#[test]
fn nodes_that_take_over_survive_any_fault() {
    holds(TAKEOVER, 1_000_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE, SEEN_TAKEN, SEEN_FENCED, SEEN_BACK]);
}

#[test]
fn one_tenant_taken_over_survives_any_two_faults() {
    holds(TAKEOVER_TWICE, 300_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE, SEEN_TAKEN, SEEN_FENCED, SEEN_BACK]);
}

#[test]
fn nodes_that_take_over_survive_two_dead_frozen_or_stopped() {
    holds(STANDSTILLS, 1_000_000, &[SEEN_LOST, SEEN_LATE, SEEN_TAKEN, SEEN_FENCED]);
}

#[test]
fn the_row_lock_alone_is_enough_and_the_unique_index_a_second_line() {
    holds(Rules { broken: &[Mutation::NoUniqueIndex], ..ROUNDS }, 100_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}

#[test]
fn a_lock_kept_until_the_end_is_recorded_tells_siblings_as_well_as_the_file_does() {
    let broken = &[Mutation::UnrecordedOfTheDeadOnly, Mutation::LockUntilRecorded];
    holds(Rules { broken, ..ONE_HOST }, 300_000, &[SEEN_ADOPTED, SEEN_LOST, SEEN_LATE]);
}
