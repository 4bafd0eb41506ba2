//! The engine in a world that fails at random: see [`super::world`].

use super::world::{Happened, World};
use super::*;

/// How many seeds are tried, unless `HANDFAST_DELIVERY_SEEDS` says so.
const SEEDS: u64 = 20_000;

fn run(seed: u64, rules: Without) -> Result<Happened, String> {
    World::new(seed, rules).run().map_err(|what| format!("seed {seed}: {what}"))
}

#[test]
fn whatever_fails_everything_is_dealt_with_in_order_and_the_mark_is_right() {
    let mut all: Vec<Happened> = Vec::new();
    let told = std::env::var("HANDFAST_DELIVERY_SEEDS").ok();
    for seed in 0..told.map_or(SEEDS, |told| told.parse().expect("a number of seeds")) {
        match run(seed, Without(None)) {
            Ok(happened) => all.push(happened),
            Err(what) => panic!("{what}"),
        }
    }
    let often = |name: &str, count: fn(&Happened) -> u32| {
        let sum: u32 = all.iter().map(count).sum();
        println!("{name}: {sum}");
        assert!(sum > 500, "{name}: {sum}");
    };
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
