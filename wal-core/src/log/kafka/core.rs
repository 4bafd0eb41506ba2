//! Every shard's term: batches are gathered into groups, handed to producers, and answered. See `mailbox.rs`
//! for whose thread does it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::calls::Calls;
use super::mailbox::Teller;
use super::options::{MAX_DRIFT_MS, MAX_GROUP_BYTES, MAX_GROUPS_IN_FLIGHT};
use super::producer::{EpochProducer, Report, Source};
use super::read_back::read_back;
use super::term::{Found, Question, Run, Step, Term, Ticket};
use crate::id::{Epoch, Sequence, ShardId};
use crate::limits::MAX_RECORD_BYTES;
use crate::log::{AppendDone, Appended, LogError, ShardBatch};

/// How much later than the client library says itself that an append timed out.
const GRACE: Duration = Duration::from_secs(5);
/// How long closing waits for what is on its way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Producers that wait for an epoch to begin.
const MAX_SPARES: usize = 4;
/// A group of so many records says that many write at once, and that more of them will soon.
const MANY_RECORDS: u64 = 8;
/// How long the next group is gathered after such a one, at most.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);
/// A group of so many bytes need not be gathered: brokers would not have less to do for a larger one.
const ENOUGH_BYTES: usize = 32 << 10;
/// How long nobody stands again after the clocks were found apart.
const DRIFT_PAUSE: Duration = Duration::from_secs(10);

/// What the core is told.
pub(super) enum Input {
    /// Batches; `refused` says why none of them may be taken.
    Append { batches: Vec<ShardBatch>, refused: Option<String>, done: AppendDone },
    /// A producer learned something.
    Reported(Source, Report),
    /// The log was read.
    ReadBack(Source, Result<Found, LogError>),
    /// A producer for an epoch to come, or nothing if none could be made.
    Spare(Option<Box<EpochProducer>>),
    /// Take nothing more in; answer what can be answered.
    Close,
}

/// What was handed over together.
struct Group {
    /// The sequence of its last record.
    last: Sequence,
    records: u64,
    since: Instant,
}

#[derive(Default)]
struct Lane {
    /// The newest epoch of which a batch was refused or is in doubt (clause 4).
    barred: Epoch,
    generation: u64,
    term: Option<(Term, EpochProducer)>,
    /// Batches that were not handed over yet.
    waiting: VecDeque<ShardBatch>,
    /// Their bytes.
    waiting_bytes: usize,
    /// The groups that are on their way.
    groups: VecDeque<Group>,
    /// Until then what waits is gathered.
    gathers_until: Option<Instant>,
    /// When the epoch's own record was handed over: this server's clock, and how far the shard was known
    /// to reach.
    stood: Option<(i64, u64)>,
}

type Answers = Vec<(Ticket, Appended)>;

pub(super) struct Core {
    shared: Arc<Shared>,
    /// Where the core itself can be told something, from other threads.
    teller: Teller,
    lanes: BTreeMap<ShardId, Lane>,
    calls: Calls,
    /// Producers that wait for an epoch, and how many are being made.
    spares: Vec<EpochProducer>,
    coming: usize,
    /// When and how the broker's clock was found apart from this server's.
    drift: Option<(Instant, String)>,
    closing: Option<Instant>,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, teller: Teller) -> Self {
        Self {
            shared,
            teller,
            lanes: BTreeMap::new(),
            calls: Calls::default(),
            spares: Vec::new(),
            coming: 0,
            drift: None,
            closing: None,
        }
    }

    /// Has producers made for the epochs to come, elsewhere.
    pub(super) fn make_spares(&mut self) {
        let wanted = MAX_SPARES.min(usize::from(self.shared.options.shards));
        let missing = wanted.saturating_sub(self.spares.len() + self.coming);
        if missing == 0 || self.closing.is_some() {
            return;
        }
        let (shared, to) = (Arc::clone(&self.shared), self.teller.clone());
        let making = std::thread::Builder::new().name("log-producers".into()).spawn(move || {
            for _ in 0..missing {
                let spare = EpochProducer::new(&shared.options, to.clone()).ok();
                to.tell(Input::Spare(spare.map(Box::new)));
            }
        });
        if making.is_ok() {
            self.coming += missing;
        }
    }

    /// Whether it was closed, and nobody waits any more, or they have waited for long enough.
    pub(super) fn is_done(&self) -> bool {
        let lost_patience = |since: Instant| since.elapsed() > CLOSE_PATIENCE;
        self.closing.is_some_and(|since| self.calls.is_empty() || lost_patience(since))
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Ends everything that is left.
    pub(super) fn finish(&mut self) {
        self.end_all("the log was closed");
        self.spares.drain(..).for_each(EpochProducer::destroy);
    }

    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Append { batches, refused, done } => self.append(batches, refused, done),
            Input::Reported(source, report) if self.is_current(source) => match report {
                Report::Taken(run, broker_ms) => self.on_taken(source.shard, run, broker_ms),
                Report::InDoubt(why) => self.end(source.shard, &why),
            },
            Input::ReadBack(source, found) if self.is_current(source) => {
                self.on_found(source.shard, found);
            }
            // What a destroyed producer still says is of no use to anybody.
            Input::Reported(..) | Input::ReadBack(..) => {}
            Input::Spare(spare) => {
                self.coming -= 1;
                match spare {
                    Some(late) if self.closing.is_some() => late.destroy(),
                    spare => self.spares.extend(spare.map(|spare| *spare)),
                }
            }
            Input::Close => drop(self.closing.get_or_insert_with(Instant::now)),
        }
    }

    fn is_current(&self, source: Source) -> bool {
        let lane = self.lanes.get(&source.shard);
        lane.is_some_and(|lane| lane.generation == source.generation && lane.term.is_some())
    }

    fn append(&mut self, batches: Vec<ShardBatch>, refused: Option<String>, done: AppendDone) {
        let call = self.calls.open(batches.iter().map(|batch| batch.shard).collect(), done);
        if batches.is_empty() {
            return self.calls.complete(call);
        }
        let closed = || self.closing.map(|_| "the log was closed".to_owned());
        let lost = || self.shared.error_if_lost().err().map(|error| error.to_string());
        let refused = refused.or_else(lost).or_else(closed);
        for (slot, batch) in batches.into_iter().enumerate() {
            let (shard, epoch, ticket) = (batch.shard, batch.epoch, Ticket { call, slot });
            let admitted = match &refused {
                Some(why) => Err(why.clone()),
                None => self.admit(batch, ticket),
            };
            match admitted {
                Ok(()) => self.hand_over(shard),
                Err(why) => {
                    let lane = self.lanes.entry(shard).or_default();
                    lane.barred = lane.barred.max(epoch);
                    self.calls.settle(ticket, Appended::Rejected { why });
                }
            }
        }
    }

    fn admit(&mut self, batch: ShardBatch, ticket: Ticket) -> Result<(), String> {
        let ShardBatch { shard, epoch, first, .. } = batch;
        if shard.0 >= self.shared.options.shards {
            return Err(format!("the log has {} shards", self.shared.options.shards));
        }
        if let Some(record) = batch.records().find(|record| record.len() > MAX_RECORD_BYTES) {
            return Err(format!(
                "a record of {} bytes is larger than {MAX_RECORD_BYTES}",
                record.len()
            ));
        }
        let lane = self.lanes.entry(shard).or_default();
        if epoch <= lane.barred {
            return Err("an earlier batch of the epoch was refused or in doubt".into());
        }
        let current = lane.term.as_ref().map(|(term, _)| (term.epoch, term.next()));
        match current {
            Some((of, next)) if of == epoch && next == first => {}
            Some((of, next)) if of == epoch => {
                return Err(format!("record {next} is due, and this is record {first}"));
            }
            Some((of, _)) if of > epoch => return Err(format!("epoch {of} has begun")),
            Some(_) | None => self.begin(shard, epoch, first)?,
        }
        let lane = self.lanes.entry(shard).or_default();
        let (term, _) = lane.term.as_mut().expect("the epoch has begun");
        term.push(ticket, first, batch.ends.len() as u64);
        lane.waiting_bytes += batch.bytes.len();
        lane.waiting.push_back(batch);
        Ok(())
    }

    /// A new epoch: a new producer, and the old one's is destroyed.
    fn begin(&mut self, shard: ShardId, epoch: Epoch, first: Sequence) -> Result<(), String> {
        if first != Sequence(0) {
            return Err(format!("an epoch begins with record 0, not with record {first}"));
        }
        if let Some((_, why)) = self.drift.as_ref().filter(|(at, _)| at.elapsed() < DRIFT_PAUSE) {
            return Err(why.clone());
        }
        self.end(shard, "a later epoch began");
        let producer = self.producer().map_err(|error| error.to_string())?;
        let lane = self.lanes.entry(shard).or_default();
        producer.serve(Source { shard, generation: lane.generation });
        lane.term = Some((Term::new(epoch), producer));
        Ok(())
    }

    fn producer(&mut self) -> Result<EpochProducer, LogError> {
        while let Some(spare) = self.spares.pop() {
            self.make_spares();
            if !spare.has_failed() {
                return Ok(spare);
            }
            spare.destroy();
        }
        self.make_spares();
        EpochProducer::new(&self.shared.options, self.teller.clone())
    }

    /// Hands over what waits, if few enough groups are on their way and it was gathered for long enough.
    fn hand_over(&mut self, shard: ShardId) {
        let Some(lane) = self.lanes.get_mut(&shard) else { return };
        let Some((term, producer)) = &mut lane.term else { return };
        let gathers = lane.gathers_until.is_some_and(|end| Instant::now() < end);
        if gathers && lane.waiting_bytes < ENOUGH_BYTES {
            return;
        }
        lane.gathers_until = None;
        let mut failed = None;
        while lane.groups.len() < MAX_GROUPS_IN_FLIGHT && failed.is_none() {
            let (mut bytes, mut records, mut last) = (0, 0, None);
            while let Some(batch) = lane.waiting.pop_front() {
                if batch.first == Sequence(0) {
                    let known_end = self.shared.known_end(shard);
                    lane.stood = Some(((self.shared.options.wall_ms)(), known_end));
                }
                let end = Sequence(batch.first.0 + batch.ends.len() as u64 - 1);
                term.handed_over(end);
                last = Some(end);
                self.shared.counters.sent(&batch);
                if let Err(why) = producer.send(&batch) {
                    failed = Some(why);
                    break;
                }
                records += batch.ends.len() as u64;
                bytes += batch.bytes.len();
                if bytes >= MAX_GROUP_BYTES {
                    break;
                }
            }
            let Some(last) = last else { break };
            lane.waiting_bytes -= bytes;
            producer.send_now();
            lane.groups.push_back(Group { last, records, since: Instant::now() });
            self.shared.counters.groups.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(why) = failed {
            self.end(shard, &why);
        }
    }

    fn on_taken(&mut self, shard: ShardId, run: Run, broker_ms: Option<i64>) {
        let now_ms = (self.shared.options.wall_ms)();
        let Some(lane) = self.lanes.get_mut(&shard) else { return };
        let Some((term, _)) = &mut lane.term else { return };
        let last = Sequence(run.first.0 + run.count - 1);
        while let Some(group) = lane.groups.pop_front_if(|group| group.last <= last) {
            // Who is answered now writes again soon: in the next group, rather than in the one behind it.
            let gathering = (group.since.elapsed() / 2).min(LONGEST_GATHERING);
            let is_many = group.records >= MANY_RECORDS;
            lane.gathers_until = is_many.then(|| Instant::now() + gathering);
        }
        if run.first == Sequence(0)
            && let Some((sent_ms, known_end)) = lane.stood
        {
            if run.offset < known_end {
                return self.lose(format!(
                    "an epoch of shard {shard} began at {}, but the shard reached {known_end} before",
                    run.offset
                ));
            }
            if let Some(why) = broker_ms.and_then(|broker_ms| drift(sent_ms, broker_ms, now_ms)) {
                self.drift = Some((Instant::now(), why.clone()));
                return self.end(shard, &why);
            }
        }
        let mut answers = Answers::new();
        let step = term.on_run(run, &mut answers);
        self.carry_out(shard, step, answers);
    }

    fn on_found(&mut self, shard: ShardId, found: Result<Found, LogError>) {
        let Some(lane) = self.lanes.get_mut(&shard) else { return };
        let Some((term, _)) = &mut lane.term else { return };
        let mut answers = Answers::new();
        match found {
            Ok(found) => {
                let step = term.on_found(&found, &mut answers);
                self.carry_out(shard, step, answers);
            }
            Err(LogError::Lost { what, .. }) => self.lose(what),
            Err(error) => self.end(shard, &format!("the log could not be read back: {error}")),
        }
    }

    fn carry_out(&mut self, shard: ShardId, step: Step, answers: Answers) {
        if let Some((term, _)) = self.lanes.get(&shard).and_then(|lane| lane.term.as_ref()) {
            self.shared.learn_end(shard, term.end());
        }
        for (ticket, answer) in answers {
            self.calls.settle(ticket, answer);
        }
        match step {
            Step::Go => self.hand_over(shard),
            Step::Read(question) => self.read(shard, question),
            Step::Over(why) => self.end(shard, &why),
            Step::Lost(what) => self.lose(what),
        }
    }

    fn read(&mut self, shard: ShardId, question: Question) {
        let Some(lane) = self.lanes.get(&shard) else { return };
        let source = Source { shard, generation: lane.generation };
        let (shared, to) = (Arc::clone(&self.shared), self.teller.clone());
        shared.counters.read_backs.fetch_add(1, Ordering::Relaxed);
        let reading = std::thread::Builder::new().name("log-read-back".into()).spawn(move || {
            let found = read_back(&shared, shard, question);
            to.tell(Input::ReadBack(source, found));
        });
        if let Err(error) = reading {
            self.end(shard, &format!("cannot start a thread: {error}"));
        }
    }

    /// Ends the term of a shard: what was handed over is in doubt, and so the epoch is over.
    fn end(&mut self, shard: ShardId, why: &str) {
        let lane = self.lanes.entry(shard).or_default();
        let Some((mut term, producer)) = lane.term.take() else { return };
        tracing::info!(%shard, epoch = %term.epoch, why, "an epoch's producer ends");
        lane.barred = lane.barred.max(term.epoch);
        lane.generation += 1;
        lane.waiting.clear();
        lane.waiting_bytes = 0;
        lane.groups.clear();
        lane.gathers_until = None;
        lane.stood = None;
        producer.destroy();
        let mut answers = Answers::new();
        term.end_in_doubt(why, &mut answers);
        self.shared.counters.terms_ended.fetch_add(1, Ordering::Relaxed);
        for (ticket, answer) in answers {
            self.calls.settle(ticket, answer);
        }
    }

    fn end_all(&mut self, why: &str) {
        let shards: Vec<ShardId> = self.lanes.keys().copied().collect();
        for shard in shards {
            self.end(shard, why);
        }
    }

    /// The log is another one: nothing may be appended to it by anybody who remembers the old one.
    fn lose(&mut self, what: String) {
        let why = self.shared.lose(what).to_string();
        tracing::error!("{why}");
        self.end_all(&why);
    }

    /// When [`Self::tick`] is to hand over what was gathered, if anything is.
    pub(super) fn gathers_until(&self) -> Option<Instant> {
        let gathering = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        gathering.filter_map(|lane| lane.gathers_until).min()
    }

    /// Looks whether an answer is overdue, and hands over what was gathered.
    pub(super) fn tick(&mut self) {
        let patience = self.shared.options.append_timeout + GRACE;
        let overdue =
            |lane: &Lane| lane.groups.front().is_some_and(|it| it.since.elapsed() > patience);
        for shard in self.shards_where(overdue) {
            self.end(shard, &format!("nobody answered for {patience:?}"));
        }
        let now = Instant::now();
        for shard in self.shards_where(|lane| lane.gathers_until.is_some_and(|end| end <= now)) {
            self.hand_over(shard);
        }
    }

    fn shards_where(&self, is_so: impl Fn(&Lane) -> bool) -> Vec<ShardId> {
        self.lanes.iter().filter(|(_, lane)| is_so(lane)).map(|(shard, _)| *shard).collect()
    }
}

/// Why this server may not lead, if the broker took its epoch's record at a time that its clock does not know.
fn drift(sent_ms: i64, broker_ms: i64, now_ms: i64) -> Option<String> {
    let apart = if broker_ms < sent_ms { sent_ms - broker_ms } else { (broker_ms - now_ms).max(0) };
    (apart > MAX_DRIFT_MS).then(|| {
        let side = if broker_ms < sent_ms { "ahead of" } else { "behind" };
        format!(
            "this server's clock is {apart} ms or more {side} the broker's, {MAX_DRIFT_MS} ms may be; \
             synchronize both clocks"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::drift;

    #[test]
    fn clocks_that_are_apart_are_told_from_answers_that_took_long() {
        assert_eq!(drift(1_000, 1_000, 1_002), None);
        assert_eq!(drift(1_000, 600, 1_002), None);
        assert_eq!(drift(1_000, 20_000, 31_000), None, "the answer took half a minute");
        let ahead = drift(1_000, 400, 1_002).expect("600 ms apart");
        assert!(ahead.contains("600 ms or more ahead of"), "{ahead}");
        let behind = drift(1_000, 1_700, 1_002).expect("698 ms apart");
        assert!(behind.contains("698 ms or more behind"), "{behind}");
    }
}
