//! Two regions or three that all write, in a world that fails at random: see [`world`].

mod logs;
mod rows;
mod world;

use crate::rules::Rule;
use crate::tests::property::{every_seed, happened_often};
use world::{Happened, Planted, World};

const SEEDS: u64 = 3_000;

fn run(seed: u64, planted: Planted) -> Result<Happened, String> {
    run_with(seed, 2, planted)
}

fn run_with(seed: u64, regions: u8, planted: Planted) -> Result<Happened, String> {
    let world = World::new(seed, regions, planted);
    world.run().map_err(|what| format!("seed {seed}, {regions} regions: {what}"))
}

#[test]
fn whatever_fails_whole_transactions_arrive_in_order_and_regions_become_equal() {
    expect_equal(2);
}

#[test]
fn three_regions_become_equal_and_send_on_nothing() {
    expect_equal(3);
    let goes_round = |seed| run_with(seed, 3, Planted::SendsWhatItReceived).is_err();
    assert!((0..1_000).any(goes_round), "what goes round is not seen");
}

fn expect_equal(regions: u8) {
    let all = every_seed(SEEDS, |seed| run_with(seed, regions, Planted::Nothing));
    let often = |name: &str, count: fn(&Happened) -> u32| happened_often(&all, name, count);
    often("batches", |happened| happened.batches);
    often("batches that begin behind another watermark", |happened| happened.refused);
    often("answers lost", |happened| happened.unanswered);
    often("batches that came late", |happened| happened.late);
    often("senders that took over", |happened| happened.taken_over);
    often("leaders that took over", |happened| happened.failovers);
    often("transactions over shards", |happened| happened.wide);
    often("attempts that aborted", |happened| happened.aborted);
    often("pulses", |happened| happened.pulses);
}

/// Every planted bug is found within so many seeds.
fn is_found(planted: Planted) {
    let found = (0..1_000).find(|seed| run(*seed, planted).is_err());
    let seed = found.unwrap_or_else(|| panic!("{planted:?} escaped"));
    println!("{planted:?}: {}", run(seed, planted).expect_err("found above"));
}

#[test]
fn a_rule_that_is_taken_out_is_missed() {
    Rule::OF_REGION.into_iter().for_each(|rule| is_found(Planted::Without(rule)));
}

#[test]
fn a_planted_bug_is_found() {
    for planted in [
        Planted::WithoutCondition,
        Planted::TimeLostWithLeader,
        Planted::SendsWhatItReceived,
        Planted::UndecidedIsClosed,
    ] {
        is_found(planted);
    }
}
