//! Scripts on a log.
//!
//! Several processes `a`, `b`, `c` have a handle each, and stand for the shards `0` and `1` by the rules of
//! [`crate::owner`]. Records are numbers.
//!
//! | step | answer |
//! |---|---|
//! | `stand a 0` | `leads 2`, an epoch, or `lost` |
//! | `ready a 0`, `send a 0`: the same in two steps, so that somebody may come between | `ok`; `leads 2` or `lost` |
//! | `append a 0 1 2 \| 3`: batches, all on their way at once | of each `durable`, or `failed`: *rejected* and *unknown* both end the epoch; `over` if it had ended |
//! | `make a 0 4`: records that are on their way and of which nobody hears more; the epoch is over for `a` | `ok`, or `over` |
//! | `make a 0`: the same with the record that is ready | `ok`, or `over` |
//! | `land a 0 2`: the second batch made and not landed yet lands now; `again a 0`: the last batch appended, once more | `ok` |
//! | `junk c 0 9 3 7`: a record of epoch 9 with sequence 3 and number 7, out of nowhere | `ok` |
//! | `read a 0`, `read a 0 from 3`, `next a 0`: behind what `a` read last | records as `epoch.sequence:number`, in parentheses those that do not count; `trimmed` |
//! | `trim a 0 3`: what is before the record 3 | `ok` |
//! | `hint a 0 3`, `hints a 0` | `ok`; `3` or `none` |
//! | `reopen a` | `ok` |
//!
//! Verdicts are those of [`Acceptor`], which reads from the beginning. Logs that keep nothing of what a deposed
//! owner sends show no records in parentheses; everything else is the same for all.

mod random;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wal_core::log::{Appended, IntentLog, LogError, ShardBatch};
use wal_core::record::{Acceptor, Body, Header, Record, Verdict, decode, encode_into};
use wal_core::{Epoch, Nonce, Position, Sequence, ShardId};

use crate::owner::{Owner, answer, submit};
use crate::script::{Player, Script, read};

pub use random::random;

/// The scripts that are written down.
pub fn scripts() -> Vec<Script> {
    read(include_str!("../../scripts/log.txt"))
}

/// Shards that a script uses.
pub const SHARDS: u16 = 2;

/// An engine that keeps logs.
pub trait Engine {
    /// One more handle of the log.
    fn open(&self) -> Box<dyn IntentLog>;

    /// A batch of a process that is gone, or deposed, comes into the log now.
    fn land(&self, batch: &ShardBatch);

    /// Whether everything that lands is kept, also what does not count.
    fn keeps_junk(&self) -> bool {
        true
    }

    /// Whether it may have several handles at once, and records may land late.
    fn is_shared(&self) -> bool {
        true
    }
}

/// Whether a log with a single owner can play a script.
pub fn is_of_one_owner(script: &Script) -> bool {
    script.lines.iter().all(|line| {
        let mut words = line.step.split_whitespace();
        let verb = words.next().expect("a step is not empty");
        words.next() == Some("a") && ["stand", "append", "read", "next", "reopen"].contains(&verb)
    })
}

/// One process.
struct Process {
    log: Option<Box<dyn IntentLog>>,
    shards: BTreeMap<ShardId, Seat>,
}

/// What it has to do with one shard.
#[derive(Default)]
struct Seat {
    owner: Option<Owner>,
    /// One whose records are on their way: it may write more of them, and is told nothing.
    doubtful: Option<Owner>,
    /// An epoch that it stands for, and the record.
    ready: Option<(Owner, ShardBatch)>,
    /// Batches made and not landed, oldest first.
    made: VecDeque<ShardBatch>,
    last: Option<ShardBatch>,
    next: Position,
}

/// What is known of a shard.
#[derive(Default)]
struct Known {
    /// Where the records that count stand.
    at: BTreeMap<u32, Position>,
    trimmed: bool,
}

/// One script on an engine, in shards of its own.
pub struct Owners<'a> {
    engine: &'a dyn Engine,
    first: u16,
    processes: BTreeMap<String, Process>,
    known: BTreeMap<ShardId, Known>,
}

/// A record as it was visited.
struct Seen {
    position: Position,
    number: u32,
    text: String,
}

impl<'a> Owners<'a> {
    /// On the shards from `first` on.
    pub fn new(engine: &'a dyn Engine, first: u16) -> Self {
        Self { engine, first, processes: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// With processes that are there already: opening a handle may take long.
    pub fn with(
        engine: &'a dyn Engine,
        first: u16,
        handles: impl IntoIterator<Item = Box<dyn IntentLog>>,
    ) -> Self {
        let mut it = Self::new(engine, first);
        for (name, log) in ["a", "b", "c"].into_iter().zip(handles) {
            let process = Process { log: Some(log), shards: BTreeMap::new() };
            it.processes.insert(name.to_owned(), process);
        }
        it
    }

    /// The handles, for the next script.
    pub fn into_handles(self) -> Vec<Box<dyn IntentLog>> {
        self.processes.into_values().filter_map(|process| process.log).collect()
    }

    fn process(&mut self, name: &str) -> &mut Process {
        let engine = self.engine;
        self.processes
            .entry(name.to_owned())
            .or_insert_with(|| Process { log: Some(engine.open()), shards: BTreeMap::new() })
    }

    fn seat(&mut self, name: &str, shard: ShardId) -> &mut Seat {
        self.process(name).shards.entry(shard).or_default()
    }

    fn log(&mut self, name: &str) -> &dyn IntentLog {
        &**self.process(name).log.as_ref().expect("it is closed only to be opened")
    }

    /// The whole log of a shard, judged.
    fn everything(&mut self, name: &str, shard: ShardId) -> (Vec<Seen>, Acceptor, Position) {
        let trimmed = self.known.entry(shard).or_default().trimmed;
        let mut seen = Vec::new();
        let mut acceptor = None;
        let log = self.log(name);
        let visit = &mut |_, position, bytes: Bytes| {
            let (record, hash) = decode(bytes).expect("a record");
            let acceptor = acceptor.get_or_insert_with(|| match trimmed {
                true => before(&record),
                false => Acceptor::default(),
            });
            let counts = acceptor.judge(&record, hash) == Verdict::Accepted;
            seen.push(shown(position, &record, counts));
            Ok(())
        };
        let next = log.replay(&[(shard, Position(0))].into(), visit).expect("a readable log");
        let known = self.known.entry(shard).or_default();
        for record in seen.iter().filter(|it| it.number > 0 && !it.text.starts_with('(')) {
            let at = *known.at.entry(record.number).or_insert(record.position);
            assert_eq!(at, record.position, "a record stays where it is: {}", record.text);
        }
        (seen, acceptor.unwrap_or_default(), next[&shard])
    }

    /// What a process reads from a position on; the verdicts are those of who reads everything.
    fn read_from(&mut self, name: &str, shard: ShardId, from: Position) -> String {
        let (all, ..) = self.everything(name, shard);
        let mut visited = Vec::new();
        let visit = &mut |_, position, _| {
            visited.push(position);
            Ok(())
        };
        let next = match self.log(name).replay(&[(shard, from)].into(), visit) {
            Ok(next) => next[&shard],
            Err(LogError::Trimmed { .. }) => return "trimmed".to_owned(),
            Err(error) => panic!("{error}"),
        };
        self.seat(name, shard).next = next;
        let texts: Vec<String> =
            all.into_iter().filter(|it| visited.contains(&it.position)).map(|it| it.text).collect();
        assert_eq!(texts.len(), visited.len(), "every reader sees the same records");
        list(&texts, self.engine.keeps_junk())
    }

    fn ready(&mut self, name: &str, shard: ShardId) {
        let (_, before, _) = self.everything(name, shard);
        let identity = self.log(name).identity();
        self.seat(name, shard).ready = Some(Owner::ready(identity, shard, &before));
    }

    fn send(&mut self, name: &str, shard: ShardId) -> String {
        let Some((owner, record)) = self.seat(name, shard).ready.take() else {
            return "nothing".to_owned();
        };
        let seat = self.seat(name, shard);
        (seat.owner, seat.doubtful) = (None, None);
        let answered = answer(&submit(self.log(name), record));
        let (_, after, _) = self.everything(name, shard);
        if !matches!(answered, Appended::Durable { .. }) || after.owner != owner.nonce {
            return "lost".to_owned();
        }
        let epoch = owner.epoch;
        self.seat(name, shard).owner = Some(owner);
        format!("leads {}", epoch.0)
    }

    fn append(&mut self, name: &str, shard: ShardId, batches: &[Vec<u32>]) -> String {
        let Some(mut owner) = self.seat(name, shard).owner.take() else { return "over".to_owned() };
        let mut waiting = Vec::new();
        for numbers in batches {
            let batch = owner.records(numbers);
            self.seat(name, shard).last = Some(batch.clone());
            waiting.push((numbers[0], submit(self.log(name), batch)));
        }
        let mut texts = Vec::new();
        for (number, receive) in waiting {
            match answer(&receive) {
                Appended::Durable { first } => {
                    let known = self.known.entry(shard).or_default();
                    let at = *known.at.entry(number).or_insert(first);
                    assert_eq!(at, first, "record {number} is where its owner was told");
                    texts.push("durable");
                }
                Appended::Unknown { .. } | Appended::Rejected { .. } => texts.push("failed"),
            }
        }
        if texts.iter().all(|text| *text == "durable") {
            self.seat(name, shard).owner = Some(owner);
        }
        texts.join(" ")
    }

    fn make(&mut self, name: &str, shard: ShardId, numbers: &[u32]) -> String {
        let seat = self.seat(name, shard);
        if numbers.is_empty() {
            // Whoever has not read its record back writes no other (clause 13).
            let Some((_, record)) = seat.ready.take() else { return "over".to_owned() };
            seat.made.push_back(record);
            return "ok".to_owned();
        }
        let Some(mut owner) = seat.owner.take().or(seat.doubtful.take()) else {
            return "over".to_owned();
        };
        let batch = owner.records(numbers);
        seat.made.push_back(batch);
        seat.doubtful = Some(owner);
        "ok".to_owned()
    }

    fn land(&mut self, batch: Option<ShardBatch>) -> String {
        match batch {
            None => "nothing".to_owned(),
            Some(batch) => {
                self.engine.land(&batch);
                "ok".to_owned()
            }
        }
    }

    /// Where a record that counts stands, or stood.
    fn known_at(&mut self, name: &str, shard: ShardId, number: &str) -> Option<Position> {
        self.everything(name, shard);
        let number: u32 = number.parse().expect("a number");
        self.known.get(&shard).and_then(|known| known.at.get(&number)).copied()
    }

    fn reopen(&mut self, name: &str) -> String {
        let process = self.process(name);
        process.log = None;
        process.shards.clear();
        let log = self.engine.open();
        self.process(name).log = Some(log);
        "ok".to_owned()
    }
}

impl Player for Owners<'_> {
    fn play(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        let (verb, name) = (words[0], words[1]);
        if verb == "reopen" {
            return self.reopen(name);
        }
        let shard = ShardId(self.first + words[2].parse::<u16>().expect("a shard"));
        let rest = &words[3..];
        let number = |text: &&str| text.parse::<u32>().expect("a number");
        match (verb, rest) {
            ("stand", []) => {
                self.ready(name, shard);
                self.send(name, shard)
            }
            ("ready", []) => {
                self.ready(name, shard);
                "ok".to_owned()
            }
            ("send", []) => self.send(name, shard),
            ("append", rest) => {
                let batches: Vec<Vec<u32>> = rest
                    .split(|word| *word == "|")
                    .map(|numbers| numbers.iter().map(number).collect())
                    .collect();
                self.append(name, shard, &batches)
            }
            ("make", rest) => {
                let numbers: Vec<u32> = rest.iter().map(number).collect();
                self.make(name, shard, &numbers)
            }
            ("land", [which]) => {
                let which = which.parse::<usize>().expect("a place") - 1;
                let batch = self.seat(name, shard).made.remove(which);
                self.land(batch)
            }
            ("again", []) => {
                let batch = self.seat(name, shard).last.clone();
                self.land(batch)
            }
            ("junk", [epoch, seq, number]) => {
                let word = |text: &str| text.parse::<u64>().expect("a number");
                let batch = junk(shard, word(epoch), word(seq), word(number) as u32);
                self.land(Some(batch))
            }
            ("read", []) => self.read_from(name, shard, Position(0)),
            ("read", ["from", number]) => match self.known_at(name, shard, number) {
                Some(from) => self.read_from(name, shard, from),
                None => "no such record".to_owned(),
            },
            ("next", []) => {
                let from = self.seat(name, shard).next;
                self.read_from(name, shard, from)
            }
            ("trim", [number]) => match self.known_at(name, shard, number) {
                Some(before) => {
                    self.log(name).trim(shard, before).expect("a trim");
                    self.known.entry(shard).or_default().trimmed = true;
                    "ok".to_owned()
                }
                None => "no such record".to_owned(),
            },
            ("hint", [number]) => {
                let at = self.known_at(name, shard, number).expect("a record that counts");
                self.log(name).store_hint(shard, at).expect("a hint");
                "ok".to_owned()
            }
            ("hints", []) => {
                let hint = self.log(name).hint(shard).expect("a hint can be asked for");
                let known = self.known.entry(shard).or_default();
                let number = known.at.iter().find(|(_, at)| Some(**at) == hint);
                number.map_or_else(|| "none".to_owned(), |(number, _)| number.to_string())
            }
            other => panic!("no step is {other:?}"),
        }
    }

    fn seen(&self, answer: &str) -> String {
        match self.engine.keeps_junk() {
            true => answer.to_owned(),
            false if !answer.contains('(') => answer.to_owned(),
            false => list(&answer.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), false),
        }
    }
}

/// What who starts at a record in the middle of a log takes from it: what a checkpoint would have told.
fn before(record: &Record) -> Acceptor {
    let Header { epoch, seq, previous } = record.header;
    match record.body {
        Body::Epoch { .. } => Acceptor { epoch: Epoch(epoch.0 - 1), ..Acceptor::default() },
        _ => Acceptor {
            epoch,
            owner: Nonce(0),
            last: Sequence(seq.0 - 1),
            hash: previous,
            broken: false,
        },
    }
}

fn shown(position: Position, record: &Record, counts: bool) -> Seen {
    let Header { epoch, seq, .. } = record.header;
    let number = if let Body::Checkpoint { chunk, .. } = record.body { chunk } else { 0 };
    let text = match number {
        0 => format!("{}.{}", epoch.0, seq.0),
        number => format!("{}.{}:{number}", epoch.0, seq.0),
    };
    let text = if counts { text } else { format!("({text})") };
    Seen { position, number, text }
}

fn list(texts: &[String], with_junk: bool) -> String {
    let shown = |text: &&String| with_junk || !text.starts_with('(');
    let left: Vec<&str> = texts.iter().filter(shown).map(String::as_str).collect();
    if left.is_empty() { "nothing".to_owned() } else { left.join(" ") }
}

/// A record that nobody's epoch has.
fn junk(shard: ShardId, epoch: u64, seq: u64, number: u32) -> ShardBatch {
    let header = Header { epoch: Epoch(epoch), seq: Sequence(seq), previous: 0 };
    let payload = Bytes::from_static(b"junk");
    let mut bytes = Vec::new();
    encode_into(&mut bytes, &header, &Body::Checkpoint { chunk: number, last: false, payload });
    let ends = vec![u32::try_from(bytes.len()).expect("a small record")];
    ShardBatch { shard, epoch: Epoch(epoch), first: Sequence(seq), bytes: bytes.into(), ends }
}
