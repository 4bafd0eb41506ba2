//! One commit engine, its clock, and who calls it.

use std::collections::BTreeMap;

use coordinator::api::{
    Answer, Call, CallAnswer, Level, OutcomeAnswer, OutcomeQuery, ReadAnswer, Receipt,
};
use coordinator::engine::{CommitConfig, CommitEngine};
use coordinator::interface::{CommitCommand, CommitEvent};
use participant::engine::Without;
use wal_core::{Epoch, Now, Row, RowKey, ShardId};

use super::names::{BEGIN_US, Names, at_text, key, millis_text, number, reason_text, row_text};
use super::{replies, requests};

/// Everything.
pub(crate) struct World {
    pub(crate) names: Names,
    engine: CommitEngine<Without>,
    now: Now,
    reads: BTreeMap<u64, Vec<(ShardId, RowKey)>>,
    /// The commands of the last step.
    pub(crate) commands: Vec<CommitCommand>,
}

impl World {
    /// A world as the head of a story describes it; every shard is led in epoch 1, unless it is `unled`.
    pub(crate) fn new(setting: &[String], rules: Without) -> Self {
        let mut config = CommitConfig::new(1, 7, 4);
        let mut names = Names::default();
        let mut unled = Vec::new();
        for line in setting {
            let (word, rest) = line.split_once(' ').expect("a word and what it sets");
            match word {
                "txn" => names.declare(rest),
                "unled" => unled.push(ShardId(number(rest))),
                "in-flight" => config.max_in_flight = number(rest),
                _ => panic!("no setting is written `{line}`"),
            }
        }
        let now = Now { wall_us: BEGIN_US, mono_us: 1_000_000 };
        let engine = CommitEngine::with_rules(config, rules);
        let (reads, commands) = (BTreeMap::new(), Vec::new());
        let mut world = Self { names, engine, now, reads, commands };
        for shard in (0..config.shards).map(ShardId).filter(|shard| !unled.contains(shard)) {
            world.step(CommitEvent::Route { shard, epoch: Epoch(1) });
        }
        world
    }

    /// Plays one input; returns what came out, as text.
    pub(crate) fn play(&mut self, input: &str) -> Vec<String> {
        self.commands.clear();
        let event = self.event(input);
        self.step(event);
        let commands = std::mem::take(&mut self.commands);
        let text = commands.iter().map(|command| self.command_text(command)).collect();
        self.commands = commands;
        text
    }

    fn step(&mut self, event: CommitEvent) {
        self.engine.step(self.now, event, &mut self.commands);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }

    fn event(&mut self, input: &str) -> CommitEvent {
        let (head, tail) = input.split_once(": ").unwrap_or((input, ""));
        let words: Vec<_> = head.split_whitespace().collect();
        let after = |word: &str| words.iter().position(|w| *w == word).map(|i| words[i + 1]);
        let call = after("call").map_or(0, number);
        match words[..] {
            ["tick"] => CommitEvent::Tick,
            ["wait", ms, "ms"] => {
                self.now.mono_us += number::<u64>(ms) * 1000;
                self.now.wall_us += number::<i64>(ms) * 1000;
                CommitEvent::Tick
            }
            ["forget", ..] => CommitEvent::Forget { call },
            ["route", shard, "epoch", epoch] => {
                CommitEvent::Route { shard: ShardId(number(shard)), epoch: Epoch(number(epoch)) }
            }
            ["submit", name, ..] => {
                let level = words.last().map_or(Level::Committed, |word| level(word));
                let txn = self.names.txn(name);
                CommitEvent::Call { call, what: Call::Submit { txn, level } }
            }
            ["read", ..] => {
                let keys: Vec<_> = tail.split(',').map(placed).collect();
                self.reads.insert(call, keys.clone());
                CommitEvent::Call { call, what: Call::Read { keys } }
            }
            ["outcome", name, ..] => {
                let query = OutcomeQuery {
                    id: self.names.txn(name).id,
                    home: after("home").map(|shard| ShardId(number(shard))),
                    fence: words.contains(&"fence"),
                    wait: after("wait").map(level),
                };
                CommitEvent::Call { call, what: Call::Outcome(query) }
            }
            ["drive", name, attempt] => {
                let txn = self.names.txn(name);
                let attempt = self.names.attempt(txn.id, attempt);
                CommitEvent::Drive { start: txn.id.time(), txn, attempt }
            }
            ["recover", name, attempt] => {
                let txn = self.names.txn(name);
                let attempt = self.names.attempt(txn.id, attempt);
                let participants = txn.participants().collect();
                CommitEvent::Recover { id: txn.id, attempt, participants }
            }
            [token, "from", shard] => {
                let token = number(token.strip_prefix('s').expect("sN from SHARD: ANSWER"));
                let reply = replies::parse(&mut self.names, tail)
                    .unwrap_or_else(|| panic!("no answer is written `{tail}`"));
                CommitEvent::Reply { shard: ShardId(number(shard)), token, reply }
            }
            _ => panic!("no input is written `{input}`"),
        }
    }

    fn command_text(&mut self, command: &CommitCommand) -> String {
        match command {
            CommitCommand::Send { shard, token, request } => {
                format!("< s{token} to {shard}: {}", requests::text(&mut self.names, request))
            }
            CommitCommand::Answer { call, answer } => {
                let keys = self.reads.get(call).map(Vec::as_slice).unwrap_or_default();
                format!("< call {call}: {}", answer_text(answer, keys))
            }
        }
    }
}

fn level(word: &str) -> Level {
    match word {
        "logged" => Level::Logged,
        "applied" => Level::Applied,
        _ => Level::Committed,
    }
}

/// `2 bob`: a row and its shard.
fn placed(text: &str) -> (ShardId, RowKey) {
    let (shard, name) = text.trim().split_once(' ').expect("SHARD ROW");
    (ShardId(number(shard)), key(name))
}

fn answer_text(answer: &CallAnswer, keys: &[(ShardId, RowKey)]) -> String {
    match answer {
        CallAnswer::Submit(answer) => submit_text(answer),
        CallAnswer::Read(ReadAnswer::Rows(rows)) => rows_text(keys, rows),
        CallAnswer::Read(ReadAnswer::Overloaded { .. }) => "overloaded".to_owned(),
        CallAnswer::Read(ReadAnswer::Unavailable { shard }) => format!("{shard} is not led"),
        CallAnswer::Outcome(answer) => match answer {
            OutcomeAnswer::Committed { receipt, timestamp, applied } => {
                let applied = if *applied { ", applied" } else { "" };
                format!("committed at {}, {}{applied}", at_text(*timestamp), receipt_text(receipt))
            }
            OutcomeAnswer::Aborted { reason } => format!("aborted, {}", reason_text(reason)),
            OutcomeAnswer::Open => "open".to_owned(),
            OutcomeAnswer::Unknown => "unknown".to_owned(),
            OutcomeAnswer::TooOld { floor } => format!("too old, floor {}", millis_text(*floor)),
            OutcomeAnswer::Unavailable { shard } => format!("{shard} is not led"),
        },
    }
}

fn submit_text(answer: &Answer) -> String {
    match answer {
        Answer::Logged(receipt) => format!("logged, {}", receipt_text(receipt)),
        Answer::Committed { receipt, timestamp, applied } => {
            let applied = if *applied { ", applied" } else { "" };
            format!("committed at {}, {}{applied}", at_text(*timestamp), receipt_text(receipt))
        }
        Answer::Aborted { home, reason } => {
            format!("aborted, home {home}, {}", reason_text(reason))
        }
        Answer::IdReused => "id reused".to_owned(),
        Answer::TooOld { floor } => format!("too old, floor {}", millis_text(*floor)),
        Answer::FromFuture => "from the future".to_owned(),
        Answer::Overloaded { what, .. } => format!("overloaded, {what}"),
        Answer::Unavailable { shard } => format!("{shard} is not led"),
        Answer::ClocksApart { shard } => format!("its clock and that of {shard} are apart"),
    }
}

fn receipt_text(receipt: &Receipt) -> String {
    format!("home {} logged it as {}.{}", receipt.home, receipt.epoch, receipt.seq)
}

fn rows_text(keys: &[(ShardId, RowKey)], rows: &[Row]) -> String {
    let rows = keys.iter().zip(rows).map(|((_, key), row)| row_text(key, row));
    rows.collect::<Vec<_>>().join(", ")
}
