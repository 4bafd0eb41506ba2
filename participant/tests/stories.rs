//! The shard engine's protocol, told as stories: `tests/stories/*.story`.
//!
//! ```text
//! # Two shards prepare, and the home commits          a title, a sentence
//! shard 1                                             who plays: the engine of shard 1
//! txn t1: 1 alice -5 if >= 5; 2 bob +5                rows by shard; the first shard is the home
//! store alice = 9 @-8                                 what the table store holds
//!
//! > prepare t1 #1 from c1                             an input: here a request, from client 1
//! < read io1: alice                                   what comes out of it: commands,
//! > rows io1
//! + 1 Prepare t1 #1 at @0: alice, with the part of 2  and records, with their sequence
//! > durable                                           the log has taken everything so far
//! < c1: t1 #1 yes at @0
//! ```
//!
//! Times are microseconds from the beginning (`@8`); floors and ages are milliseconds from it. `t3` is
//! younger than `t2`; attempts are `#1`, `#2`, and `#2b` for another one of the same number.
//!
//! Settings: `shard N`, `lease N ms` (leadership by lease), `cold` (the engine has not started),
//! `limit waiting|prepared|overlay|remembered|cache|window N`, `store ROW = VALUE @TIME`, and
//! `txn NAME [at MS | reuses NAME | newer]: SHARD ROW [WRITE] [if CONDITION and …], ROW … ; SHARD …` with the writes
//! `+5 -5 =5 insert=5 null delete note=BYTES` and the conditions `exists`, `absent`, `>= 5`, `= null`.
//!
//! Inputs beside requests: `tick`, `wait N ms` (and a tick), `durable`, `append fails`, `rows ioN [as then]`,
//! `read fails ioN`, `flushed ioN`, `flush fails ioN`, `flush refuses ioN: ROW, ROW` (for good), `retry parked`,
//! `discard parked all|orders|ROW` (asked by client 1), `synced ioN`, `drain`, `checkpoint soon`, `restart
//! [from hint]`, `see newer` (a version of the namespace, as which `newer` transactions come), and its steps `crash [after the append]`, `replay [without hint]`, `stand`, `durable`,
//! `read on`; `rival stands`, `rival resigns`, `lose record N` (its position, from 1).
//!
//! Every story is then bent: cut by a crash after each step, and told with everything repeated; what must
//! hold even so is in `stories/oracle.rs`. `STORY=part-of-a-name` plays only some; `WRITE_STORIES=1`
//! writes what happens into the files, to be read before it is believed.

#[path = "stories/names.rs"]
mod names;
#[path = "stories/oracle.rs"]
mod oracle;
#[path = "stories/outputs.rs"]
mod outputs;
#[path = "stories/requests.rs"]
mod requests;
#[path = "stories/script.rs"]
mod script;
#[path = "stories/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

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
    report(stories(FOLDER).iter().map(|story| (story.name(), caught(|| told(story)))));
}

/// The rules that only the commit engine keeps, or a runtime, and those that take a change of leaders, a
/// memory that is full or a late message to miss: the simulator misses every one of them.
const KEPT_ELSEWHERE: [Rule; 14] = [
    Rule::OutcomesAreRemembered,
    Rule::ReadWaitsForAbort,
    Rule::DecisionsNameTheirAttempt,
    Rule::OlderEpochsAreIgnored,
    Rule::AttemptsHaveNonces,
    Rule::NoAbortOnTimeout,
    Rule::LastTimestampSurvivesRestart,
    Rule::FloorIsDurable,
    Rule::EpochIsReadBack,
    Rule::LeaseTestedAfterRead,
    Rule::ReadConfirms,
    Rule::HoldIsBounded,
    Rule::CommitBeforeLockReuse,
    Rule::RecoveryReachesAll,
];

/// A rule that no story needs would be a rule that nobody checks.
#[test]
fn every_rule_is_missed_by_some_story_when_it_is_taken_out() {
    let all = stories(FOLDER);
    let misses = |rule, story: &Story| {
        let told = catch_unwind(|| tell(story, Without(Some(rule))));
        !matches!(told, Ok(Ok(outputs)) if story.is(&outputs))
    };
    let unneeded: Vec<_> = Rule::ALL
        .into_iter()
        .filter(|rule| !KEPT_ELSEWHERE.contains(rule))
        .filter(|rule| !all.iter().any(|story| misses(*rule, story)))
        .collect();
    assert!(unneeded.is_empty(), "no story needs {unneeded:?}");
}

/// What was appended and not told is lost, or is not: both.
#[test]
fn every_story_survives_a_crash_after_every_step() {
    let all = stories(FOLDER);
    let whole = all.iter().filter(|story| !loses_its_log(story));
    report(whole.flat_map(|story| {
        (0..story.steps.len()).flat_map(move |cut| {
            ["crash", "crash after the append"].map(|crash| {
                let inputs = |story: &Story| {
                    let inputs = story.steps.iter().map(|step| step.input.clone());
                    let (before, after): (Vec<_>, Vec<_>) =
                        inputs.enumerate().partition(|(index, _)| *index <= cut);
                    let restart = [crash, "replay", "stand", "durable", "read on"];
                    let restart = restart.map(|input| (cut, input.to_owned()));
                    before.into_iter().chain(restart).chain(after).map(|(_, input)| input).collect()
                };
                let what = format!("{}, {crash} of line {}", story.name(), story.steps[cut].line);
                (what, caught(|| bend(story, inputs(story))))
            })
        })
    }));
}

/// Each message comes twice, and once more when everything is over.
#[test]
fn every_story_survives_messages_that_come_again() {
    let all = stories(FOLDER);
    let whole = all.iter().filter(|story| !loses_its_log(story));
    report(whole.flat_map(|story| {
        let inputs: Vec<_> = story.steps.iter().map(|step| step.input.clone()).collect();
        let twice = inputs.iter().flat_map(|input| [input.clone(), input.clone()]).collect();
        let again = inputs.iter().chain(&inputs).cloned().collect();
        let backwards = inputs.iter().chain(inputs.iter().rev()).cloned().collect();
        [("twice", twice), ("again", again), ("again, backwards", backwards)].map(
            |(how, inputs): (_, Vec<String>)| {
                (format!("{}, {how}", story.name()), caught(|| bend(story, inputs)))
            },
        )
    }));
}

/// Plays a story as it is written.
fn tell(story: &Story, rules: Without) -> Result<Vec<Vec<String>>, String> {
    let mut world = World::new(&story.setting, rules);
    let mut oracle = Oracle::default();
    let mut outputs = Vec::new();
    for step in &story.steps {
        outputs.push(world.play(&step.input));
        if !loses_its_log(story) {
            oracle.judge(&world, &world.commands)?;
        }
    }
    Ok(outputs)
}

/// Plays inputs that need not fit together any more, and holds the engine to what must hold even so.
fn bend(story: &Story, inputs: Vec<String>) -> Result<(), String> {
    let mut world = World::new(&story.setting, Without(None));
    world.lenient = true;
    let mut oracle = Oracle::default();
    for input in inputs {
        world.play(&input);
        let judged = oracle.judge(&world, &world.commands);
        judged.map_err(|why| format!("after `{input}`: {why}"))?;
    }
    let commands = world.settle();
    oracle.judge(&world, &commands).map_err(|why| format!("in the end: {why}"))?;
    let (_, commands) = world.disk.successor(world.now);
    oracle.judge(&world, &commands).map_err(|why| format!("to a successor: {why}"))
}

/// Stories that damage the log by hand tell what is noticed; nothing else holds then.
fn loses_its_log(story: &Story) -> bool {
    story.steps.iter().any(|step| step.input.starts_with("lose "))
}

fn caught(play: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|_| Err("panicked, see above".to_owned()))
}

fn report(results: impl Iterator<Item = (String, Result<(), String>)>) {
    let failed: Vec<_> = results
        .filter_map(|(what, result)| result.err().map(|why| format!("{what}:\n{why}")))
        .collect();
    assert!(failed.is_empty(), "{} stories fail:\n\n{}", failed.len(), failed.join("\n"));
}
