//! The engine in a world that fails at random: see [`super::world`].

use super::world::{Happened, World};
use super::*;

/// How many seeds are tried by default.
const SEEDS: u64 = 20_000;

fn run(seed: u64, rules: Without) -> Result<Happened, String> {
    World::new(seed, rules).run().map_err(|what| format!("seed {seed}: {what}"))
}

/// Runs a world with each seed, so many unless `HANDFAST_DELIVERY_SEEDS` says how many; what happened in each.
pub(crate) fn every_seed<H>(seeds: u64, run: impl Fn(u64) -> Result<H, String>) -> Vec<H> {
    let told = std::env::var("HANDFAST_DELIVERY_SEEDS").ok();
    let seeds = 0..told.map_or(seeds, |told| told.parse().expect("a number of seeds"));
    seeds.map(|seed| run(seed).unwrap_or_else(|what| panic!("{what}"))).collect()
}

/// Holds the worlds to it that something happened often: so that a test knows that it tests something.
pub(crate) fn happened_often<H>(all: &[H], name: &str, count: fn(&H) -> u32) {
    let sum: u32 = all.iter().map(count).sum();
    println!("{name}: {sum}");
    assert!(sum > 500, "{name}: {sum}");
}

#[test]
fn whatever_fails_everything_is_dealt_with_in_order_and_the_mark_is_right() {
    let all = every_seed(SEEDS, |seed| run(seed, Without(None)));
    let often = |name: &str, count: fn(&Happened) -> u32| happened_often(&all, name, count);
    often("arrived", |happened| happened.arrived);
    often("arrived again", |happened| happened.repeated);
    often("buried", |happened| happened.buried);
    often("refused", |happened| happened.refused);
    often("discarded", |happened| happened.discarded);
    often("crashes", |happened| happened.crashes);
    often("drains", |happened| happened.drains);
    often("pauses", |happened| happened.pauses);
    often("unanswered", |happened| happened.unanswered);
    often("answered late", |happened| happened.late);
    often("answered twice", |happened| happened.twice);
    often("overloads", |happened| happened.overloads);
    often("faults of ours", |happened| happened.ours);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert_eq!(run(seed, Without(None)), run(seed, Without(None)));
    }
}

#[test]
fn every_rule_is_missed_when_it_is_taken_out() {
    for rule in Rule::OF_DELIVERY {
        let missed = (0..500).find_map(|seed| run(seed, Without(Some(rule))).err());
        let missed = missed.unwrap_or_else(|| panic!("nobody misses {rule:?}"));
        println!("without {rule:?}: {missed}");
    }
}
