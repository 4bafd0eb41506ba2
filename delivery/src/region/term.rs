//! One term of sending: what is done with what is read, and with what the other region answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel as channel;
use participant::follow::Place;
use tokio::sync::mpsc;
use wal_core::record::{DecodeError, Reader as Bytewise, Writer};
use wal_core::{ShardId, Timestamp};

use super::gather::{Gather, Piece};
use super::runtime::{Ended, PAUSES, Sender, ShipStatus};
use super::{Applied, Arrived, PeerError};
use crate::runtime::reader::{Batch as Read, Order};
use crate::runtime::should_have;
use crate::store::{Course, Mark, StoreError};

/// A region that is sent nothing is asked so often whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The form of a place in the store.
const PLACE_VERSION: u8 = 1;

/// What has come of something that was begun.
pub(super) enum Done {
    Applied(Result<Applied, PeerError>),
    Asked(Result<Arrived, PeerError>),
    Pulsed(Result<(), String>),
    Marked(Result<bool, StoreError>),
}

/// One term of sending.
pub(super) struct Term {
    pub(super) gather: Gather,
    pub(super) arrived: Arrived,
    /// Whether the other region has said what has arrived; nothing is sent before.
    pub(super) is_known: bool,
    /// It is being asked, and had so much before.
    pub(super) asking: Option<Timestamp>,
    /// What committed at or before this may have stood before what is left of the log of a shard.
    pub(super) unseen: Option<(Timestamp, ShardId)>,
    /// The generation of each shard's claim.
    pub(super) claims: Vec<u64>,
    pub(super) to_reader: channel::Sender<Order>,
    /// What the reader was last told of each shard's room.
    pub(super) room: Vec<bool>,
    /// The last place of each shard that was given to the store.
    pub(super) stored: Vec<Option<Place>>,
    /// The batch under way: its end, its transactions, its bytes.
    pub(super) applying: Option<(Timestamp, u64, usize)>,
    pub(super) pulsing: bool,
    pub(super) marking: bool,
    pub(super) pause: Duration,
    pub(super) not_before: Instant,
    /// When the other region was last asked something.
    pub(super) contact: Instant,
    /// It is in a later term, which this region enters only when somebody says that it has everything.
    pub(super) is_ahead: bool,
    pub(super) problem: Option<String>,
    pub(super) done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
}

impl Sender {
    pub(super) fn on_read(
        &self,
        term: &mut Term,
        first: Read<Piece>,
        more: &mut mpsc::Receiver<Read<Piece>>,
    ) -> Result<(), Ended> {
        let now_us = self.clock.now().mono_us;
        let mut next = Some(first);
        while let Some(read) = next {
            let Read { shard, items, place, closed, unseen, failed, .. } = read;
            if let Some(failed) = failed {
                return Err(Ended::Unread(format!("shard {shard}: {}", failed.why)));
            }
            term.unseen = term.unseen.max(Some((unseen, shard)));
            self.expect_seen(term)?;
            term.gather.take(now_us, shard, items, place, closed);
            next = more.try_recv().ok();
        }
        let most = usize::try_from(self.parts.settings.buffer_bytes).unwrap_or(usize::MAX);
        for (shard, said) in (0..).map(ShardId).zip(&mut term.room) {
            let is_there = term.gather.has_room(shard, most);
            if *said != is_there {
                *said = is_there;
                let _ = term.to_reader.send(Order::Room { shard, is_there }); // as above
            }
        }
        Ok(())
    }

    /// Everything that the other region does not have is left of the log.
    fn expect_seen(&self, term: &Term) -> Result<(), Ended> {
        match term.unseen {
            Some((unseen, shard)) if term.is_known && unseen > term.gather.watermark() => {
                Err(Ended::Failed(behind(shard, &self.parts.to)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks the other region what has arrived, if that is not known or it was not heard of for a while.
    pub(super) fn ask(&self, term: &mut Term) {
        let is_due = match term.is_known {
            // Where nothing is to be sent: whether it is there, and has moved homes.
            true => term.applying.is_none() && term.contact.elapsed() >= ASK_EVERY,
            false => Instant::now() >= term.not_before,
        };
        if !is_due || term.asking.is_some() {
            return;
        }
        term.asking = Some(term.gather.watermark());
        term.contact = Instant::now();
        let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
        tokio::spawn(async move {
            let _ = done.send(Done::Asked(parts.peer.arrived().await)); // a term that has ended hears nothing
        });
    }

    /// Begins the next batch, if none is under way.
    pub(super) fn apply(&self, term: &mut Term) {
        if !term.is_known || term.applying.is_some() || Instant::now() < term.not_before {
            return;
        }
        let most = usize::try_from(self.parts.settings.batch_bytes).unwrap_or(usize::MAX);
        let Some(batch) = term.gather.next(most) else { return };
        term.applying = Some((batch.until, batch.transactions, batch.bytes));
        let (parts, done, arrived) =
            (Arc::clone(&self.parts), term.done.0.clone(), term.arrived.transactions);
        tokio::spawn(async move {
            let timeout = Duration::from_millis(parts.settings.timeout_ms);
            let applied = tokio::time::timeout(timeout, parts.peer.apply(batch, arrived)).await;
            let applied = applied.unwrap_or_else(|_| {
                let text = format!("region {:?} did not answer within {timeout:?}", parts.to);
                Err(PeerError { text, retry_after: None })
            });
            let _ = done.send(Done::Applied(applied)); // as above
        });
    }

    pub(super) fn on_done(&self, term: &mut Term, done: Done) -> Result<(), Ended> {
        match done {
            Done::Applied(applied) => return self.on_applied(term, applied),
            Done::Asked(asked) => {
                let before = term.asking.take().unwrap_or_default();
                return self.on_asked(term, before, asked);
            }
            Done::Pulsed(Ok(())) => {
                term.pulsing = false;
                self.metrics.pulses.increment(1);
            }
            Done::Pulsed(Err(why)) => {
                term.pulsing = false;
                tracing::debug!(namespace = %self.parts.namespace, why, "a pulse failed");
            }
            Done::Marked(marked) => {
                term.marking = false;
                match marked {
                    Ok(true) => {}
                    Ok(false) => return Err(Ended::Deposed),
                    Err(error) => {
                        tracing::warn!(%error, "it is not stored how far a region is");
                        term.stored.fill(None); // it is, next time
                    }
                }
            }
        }
        Ok(())
    }

    fn on_asked(
        &self,
        term: &mut Term,
        before: Timestamp,
        asked: Result<Arrived, PeerError>,
    ) -> Result<(), Ended> {
        let arrived = match asked {
            Ok(arrived) => arrived,
            Err(error) => {
                self.metrics.failures.increment(1);
                if !term.is_known {
                    term.not_before = Instant::now() + error.retry_after.unwrap_or(term.pause);
                    term.pause = (term.pause * 2).min(PAUSES.1);
                }
                term.problem = Some(error.text);
                return Ok(());
            }
        };
        if self.parts.settings.follows(arrived.term, &arrived.homes) {
            return Err(moved(Some(arrived)));
        }
        if arrived.watermark < before {
            return Err(self.has_less(term, arrived));
        }
        if !term.is_known {
            term.is_known = true;
            term.is_ahead = arrived.term > self.parts.settings.term;
        } else if term.applying.is_some() || arrived.watermark <= term.gather.watermark() {
            // It answers. Whether it takes what it refused is seen when that is sent again.
            if term.pause == PAUSES.0 {
                term.problem = None;
            }
            return Ok(());
        }
        // Or somebody has said there that it has more, so that what it refuses is not to be sent.
        term.gather.applied(arrived.watermark);
        term.arrived = arrived;
        term.not_before = Instant::now();
        term.pause = PAUSES.0;
        term.problem = None;
        self.expect_seen(term)
    }

    pub(super) fn on_applied(
        &self,
        term: &mut Term,
        applied: Result<Applied, PeerError>,
    ) -> Result<(), Ended> {
        let Some((until, transactions, bytes)) = term.applying.take() else { return Ok(()) };
        match applied {
            Ok(Applied::Yes { term: there }) => {
                term.contact = Instant::now();
                if there > self.parts.settings.term && !term.is_ahead {
                    return Err(moved(None));
                }
                term.gather.applied(until);
                term.arrived.watermark = until;
                term.arrived.transactions += transactions;
                term.pause = PAUSES.0;
                term.problem = None;
                self.metrics.transactions.increment(transactions);
                self.metrics.bytes.increment(bytes as u64);
                self.metrics.batches.increment(1);
            }
            // The answer to an earlier try was lost, or somebody else sends, too.
            Ok(Applied::Not(arrived)) if arrived.watermark > term.gather.watermark() => {
                term.gather.applied(arrived.watermark);
                term.arrived = arrived;
                term.pause = PAUSES.0;
                term.problem = None;
            }
            Ok(Applied::Not(arrived)) => return Err(self.has_less(term, arrived)),
            Err(error) => {
                self.metrics.failures.increment(1);
                let pause = error.retry_after.unwrap_or(term.pause);
                term.not_before = Instant::now() + pause;
                term.pause = (term.pause * 2).min(PAUSES.1);
                if term.problem.is_none() {
                    let (namespace, region) = (&self.parts.namespace, &self.parts.to);
                    tracing::warn!(%namespace, %region, why = error.text, "a region does not take a batch; trying again");
                }
                term.problem = Some(error.text);
            }
        }
        Ok(())
    }

    pub(super) fn has_less(&self, term: &Term, arrived: Arrived) -> Ended {
        let why = format!(
            "region {:?} has less than it had: {} instead of {}; what is missing is sent again",
            self.parts.to,
            arrived.watermark,
            term.gather.watermark()
        );
        Ended::Outdated(why, Some(arrived))
    }

    /// Gives a pulse to shards that hold up the others.
    pub(super) fn pulse(&self, term: &mut Term) {
        if term.pulsing {
            return;
        }
        let after_us = self.parts.settings.pulse_after_ms * 1_000;
        let before_us = self.clock.now().mono_us.saturating_sub(after_us);
        let silent = term.gather.silent(before_us);
        if silent.is_empty() {
            return;
        }
        term.pulsing = true;
        let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
        tokio::spawn(async move {
            let pulsed = parts.home.pulse(silent).await;
            if pulsed.is_err() {
                tokio::time::sleep(PAUSES.0).await;
            }
            let _ = done.send(Done::Pulsed(pulsed)); // as above
        });
    }

    /// Shows how it stands, stores how far it is, and looks whether somebody else should send.
    pub(super) async fn look(&self, term: &mut Term) -> Result<(), Ended> {
        let status = self.status(term);
        self.metrics.show(&status, self.parts.shards);
        self.shown.send_replace(status);
        let marks = self.marks(term);
        if !term.marking && !marks.is_empty() {
            term.marking = true;
            let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
            tokio::spawn(async move {
                let marked = parts.store.mark(marks).await;
                let marked = marked.map(|marked| marked.into_iter().all(|it| it));
                let _ = done.send(Done::Marked(marked)); // as above
            });
        }
        let should = should_have(&self.parts.members.alive(), &self.course);
        let is_other = should.is_some_and(|should| should != self.parts.members.me());
        if is_other { Err(Ended::Deposed) } else { Ok(()) }
    }

    pub(super) fn status(&self, term: &Term) -> ShipStatus {
        let wall_us = self.clock.now().wall_us;
        let lag = |at: Timestamp| u64::try_from(wall_us.saturating_sub(at.0)).unwrap_or(0);
        ShipStatus {
            sends: true,
            watermark: term.gather.watermark(),
            transactions: term.arrived.transactions,
            waiting: term.gather.waiting(),
            lag_us: term.gather.oldest().into_iter().map(|(shard, at)| (shard, lag(at))).collect(),
            problem: term.problem.clone(),
        }
    }

    /// What has changed of how far each shard is.
    pub(super) fn marks(&self, term: &mut Term) -> Vec<(Course, u64, Mark)> {
        let mut marks = Vec::new();
        let shards = self.courses().zip(&term.claims).zip(&mut term.stored);
        for ((course, generation), stored) in shards {
            let Some(place) = term.gather.resume(course.shard) else { continue };
            if stored.as_ref() != Some(place) {
                *stored = Some(place.clone());
                let mark = Mark {
                    log: self.parts.log.identity(),
                    dealt_with: place.told,
                    hold: place.from,
                    place: encode(term.gather.watermark(), place),
                };
                marks.push((course, *generation, mark));
            }
        }
        marks
    }

    pub(super) async fn store_marks_at_last(&self, term: &mut Term) {
        let marks = self.marks(term);
        if !marks.is_empty() {
            let _ = self.parts.store.mark(marks).await; // who comes next reads a little more
        }
    }
}

fn moved(arrived: Option<Arrived>) -> Ended {
    Ended::Outdated("homes have moved to another region".to_owned(), arrived)
}

fn behind(shard: ShardId, region: &str) -> String {
    format!(
        "the log of shard {shard} begins behind what region {region:?} has: copy the tables there, with their \
         write times, and say so with `handfast region accept`"
    )
}

/// A place, and what had arrived when it was stored.
fn encode(watermark: Timestamp, place: &Place) -> Bytes {
    let mut bytes = Vec::with_capacity(64);
    let mut out = Writer::new(&mut bytes);
    out.byte(PLACE_VERSION);
    out.piece(&watermark);
    out.piece(place);
    bytes.into()
}

pub(super) fn place_of(mark: &Mark) -> Result<(Timestamp, Place), DecodeError> {
    let mut input = Bytewise::new(mark.place.clone());
    let found = input.byte()?;
    if found != PLACE_VERSION {
        return Err(DecodeError::Version { found, expected: PLACE_VERSION });
    }
    let place = (input.piece()?, input.piece()?);
    input.finish()?;
    Ok(place)
}
