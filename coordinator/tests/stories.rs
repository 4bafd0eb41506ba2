//! The commit engine's protocol, told as stories: `tests/stories/*.story`.
//!
//! ```text
//! # All participants promise: committed                 a title, a sentence
//! txn t1: 1 alice -5; 2 bob +5                          rows by shard; the first shard is the home
//!
//! > submit t1 as call 1                                 an input
//! < s1 to 1: prepare t1 #1 in epoch 1 with the whole    what comes out: requests of conversation 1,
//! < s1 to 2: prepare t1 #1 in epoch 1
//! > s1 from 1: t1 #1 yes at @0                          and shards' answers to them
//! > s1 from 2: t1 #1 yes at @8
//! < s1 to 1: commit t1 #1 at @8
//! < s1 to 2: commit t1 #1 at @8
//! < call 1: committed at @8, home 1 logged it as 1.0    and answers to clients
//! ```
//!
//! The words are those of the shard engine's stories (`participant/tests/stories.rs`). Settings: `txn …`,
//! `unled SHARD`, `in-flight N`. There are four shards, led in epoch 1.
//!
//! Inputs: `submit T as call N [logged|applied]`, `read as call N: SHARD ROW, …`, `outcome T as call N [home
//! SHARD] [fence] [wait committed|applied]`, `forget call N`, `drive T #N`, `recover T #N`, `route SHARD epoch
//! N`, `wait N ms` (and a tick), and `sN from SHARD: ANSWER`.
//!
//! Every story is then told with each answer of a shard repeated, at once and in the end; what must hold
//! even so is in `stories/oracle.rs`. `STORY` and `WRITE_STORIES` work as they do there.

#[path = "../../participant/tests/stories/names.rs"]
#[allow(dead_code, reason = "shared with the shard engine's stories, which use all of it")]
mod names;
#[path = "stories/oracle.rs"]
mod oracle;
#[path = "stories/replies.rs"]
mod replies;
#[path = "../../participant/tests/stories/requests.rs"]
#[allow(dead_code, reason = "shared with the shard engine's stories, which use all of it")]
mod requests;
#[path = "../../participant/tests/stories/script.rs"]
mod script;
#[path = "stories/world.rs"]
mod world;

use oracle::Oracle;
use participant::engine::{Rule, Without};
use script::{Story, stories};
use world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories");

#[test]
fn every_story_goes_as_it_is_told() {
    let told = |story: &Story| {
        let outputs = tell(story, Without(None))?;
        story.compare(&outputs)
    };
    report(stories(FOLDER).iter().map(|story| (story.name(), told(story))));
}

/// The rules that this engine keeps; a rule that no story needs would be a rule that nobody checks.
const KEPT_HERE: [Rule; 5] = [
    Rule::AttemptsHaveNonces,
    Rule::NoAbortOnTimeout,
    Rule::ReadConfirms,
    Rule::HoldIsBounded,
    Rule::RecoveryReachesAll,
];

#[test]
fn every_rule_is_missed_by_some_story_when_it_is_taken_out() {
    let all = stories(FOLDER);
    for rule in KEPT_HERE {
        let told = |story: &Story| tell(story, Without(Some(rule)));
        let misses = |story: &Story| !told(story).is_ok_and(|outputs| story.is(&outputs));
        assert!(all.iter().any(misses), "no story needs {rule:?}");
    }
}

/// Plays a story as it is written.
fn tell(story: &Story, rules: Without) -> Result<Vec<Vec<String>>, String> {
    let mut world = World::new(&story.setting, rules);
    let mut oracle = Oracle::default();
    let mut outputs = Vec::new();
    for step in &story.steps {
        outputs.push(world.play(&step.input));
        oracle.judge(&world.commands)?;
    }
    match story.steps.iter().any(|step| step.input == "wait 31000 ms") {
        true if world.in_flight() > 0 => {
            Err(format!("{} are still talked about", world.in_flight()))
        }
        _ => Ok(outputs),
    }
}

#[test]
fn every_story_survives_answers_that_come_again() {
    report(stories(FOLDER).iter().flat_map(|story| {
        let inputs: Vec<_> = story.steps.iter().map(|step| step.input.clone()).collect();
        let answers: Vec<_> = inputs.iter().filter(|input| is_answer(input)).cloned().collect();
        let twice = |input: &String| vec![input.clone(); if is_answer(input) { 2 } else { 1 }];
        let bent = [
            ("twice", inputs.iter().flat_map(twice).collect()),
            ("again in the end", [&inputs[..], &answers[..]].concat()),
            ("again, asked in between", asked_in_between(&inputs)),
        ];
        bent.map(|(how, inputs): (_, Vec<String>)| {
            let mut world = World::new(&story.setting, Without(None));
            let mut oracle = Oracle::default();
            let mut judge = |input: &String| {
                world.play(input);
                oracle.judge(&world.commands).map_err(|why| format!("after `{input}`: {why}"))
            };
            (format!("{}, {how}", story.name()), inputs.iter().try_for_each(&mut judge))
        })
    }));
}

/// Time passes before each answer, so that everything is asked again.
fn asked_in_between(inputs: &[String]) -> Vec<String> {
    let wait = |input: &String| is_answer(input).then(|| "wait 600 ms".to_owned());
    inputs.iter().flat_map(|input| wait(input).into_iter().chain([input.clone()])).collect()
}

fn is_answer(input: &str) -> bool {
    input.split_once(": ").is_some_and(|(head, _)| head.contains(" from "))
}

fn report(results: impl Iterator<Item = (String, Result<(), String>)>) {
    let failed: Vec<_> = results
        .filter_map(|(what, result)| result.err().map(|why| format!("{what}:\n{why}")))
        .collect();
    assert!(failed.is_empty(), "{} stories fail:\n\n{}", failed.len(), failed.join("\n"));
}
