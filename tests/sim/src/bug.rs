//! The bugs that are put in on purpose, to prove that the simulator finds them.
//!
//! Each is one rule taken out of an engine of production, or one mistake of a simulated adapter. The
//! numbers are those of the list of 37 that the project set itself; bugs without one were added.

use participant::engine::Rule;

use crate::focus::Focus;

/// A mistake of a simulated adapter, gateway or client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterBug {
    /// The client.
    RetryTakesNewId,
    /// The runtime of a shard.
    TimeoutIsAborted,
    /// The log.
    LosesTail,
    /// The log's producer.
    ProducerRetries,
    /// The log's reader.
    ReadsUnstable,
    /// The table store's adapter.
    FailedFlushIsDropped,
    /// The store of hints.
    HintGoesBack,
    /// The runtime of a shard.
    CancelledTask,
    /// The gateway.
    ReadsTableDirectly,
    /// The log's producer.
    NoContiguityCheck,
    /// The log's producer.
    ContiguityWithoutSequence,
    /// The log's producer.
    UnknownIsDurable,
    /// A server that applies what another region sends.
    TakenWithoutCondition,
    /// A server that applies what another region sends.
    MergedAtArrival,
    /// A sender to another region.
    SendsWhatItReceived,
    /// The trimming of the log.
    TrimsUndelivered,
    /// The store of dead letters.
    ClaimForgetsLetters,
}

/// Where a bug is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An engine does not keep a rule.
    Engine(Rule),
    /// The delivery engine does not keep a rule.
    Delivery(delivery::Rule),
    /// Something around the engines makes a mistake.
    Adapter(AdapterBug),
}

/// A bug to plant.
#[derive(Debug, PartialEq, Eq)]
pub struct Bug {
    /// Its number among the 37, if it is one of them.
    pub number: Option<u8>,
    /// What goes wrong, in a few words.
    pub what: &'static str,
    /// Where it is planted.
    pub place: Place,
    /// Which worlds look for it. These worlds are also drawn where nothing is planted.
    pub focus: Option<Focus>,
}

impl Bug {
    /// The name by which the command line knows it.
    pub fn name(&self) -> String {
        match self.place {
            Place::Engine(rule) => format!("{rule:?}"),
            Place::Delivery(rule) => format!("{rule:?}"),
            Place::Adapter(bug) => format!("{bug:?}"),
        }
    }

    /// Where it is planted, for a table.
    pub const fn planted_in(&self) -> &'static str {
        match self.place {
            Place::Engine(Rule::NoAbortOnTimeout | Rule::AttemptsHaveNonces) => "commit engine",
            Place::Engine(Rule::ReadConfirms | Rule::HoldIsBounded | Rule::RecoveryReachesAll) => {
                "commit engine"
            }
            Place::Engine(_) => "shard engine",
            Place::Delivery(
                D::AllShardsAreClosed | D::AppliedIsSkipped | D::ResumesBehindApplied,
            ) => "gathering",
            Place::Delivery(D::EvictedIsLoadedAgain | D::JumpsAreDoubted) => "schedule",
            Place::Delivery(D::HeldHoldsMark) => "write-behind of the index",
            Place::Delivery(_) => "delivery engine",
            Place::Adapter(AdapterBug::TrimsUndelivered) => "trimming of the log",
            Place::Adapter(AdapterBug::ClaimForgetsLetters) => "store of dead letters",
            Place::Adapter(AdapterBug::TakenWithoutCondition | AdapterBug::MergedAtArrival) => {
                "region's server"
            }
            Place::Adapter(AdapterBug::SendsWhatItReceived) => "sender",
            Place::Adapter(AdapterBug::RetryTakesNewId) => "client",
            Place::Adapter(AdapterBug::ReadsTableDirectly) => "gateway",
            Place::Adapter(AdapterBug::TimeoutIsAborted | AdapterBug::CancelledTask) => "runtime",
            Place::Adapter(AdapterBug::LosesTail) => "log",
            Place::Adapter(AdapterBug::ReadsUnstable) => "log's reader",
            Place::Adapter(AdapterBug::FailedFlushIsDropped) => "table store's adapter",
            Place::Adapter(AdapterBug::HintGoesBack) => "store of hints",
            Place::Adapter(
                AdapterBug::ProducerRetries
                | AdapterBug::NoContiguityCheck
                | AdapterBug::ContiguityWithoutSequence
                | AdapterBug::UnknownIsDurable,
            ) => "log's producer",
        }
    }

    /// The bug of this name, or of this number.
    pub fn find(name: &str) -> Option<&'static Self> {
        BUGS.iter().find(|bug| {
            bug.name() == name || bug.number.is_some_and(|number| number.to_string() == name)
        })
    }
}

const fn bug(number: u8, what: &'static str, place: Place, focus: Option<Focus>) -> Bug {
    Bug { number: Some(number), what, place, focus }
}

const fn extra(what: &'static str, place: Place, focus: Option<Focus>) -> Bug {
    Bug { number: None, what, place, focus }
}

use AdapterBug as A;
use Place::{Adapter, Delivery, Engine};
use Rule as R;
use delivery::Rule as D;

/// Every bug, by its number; those without one at the end.
#[rustfmt::skip]
pub static BUGS: &[Bug] = &[
    bug(1, "a retry after an ambiguous answer takes a new id", Adapter(A::RetryTakesNewId), None),
    bug(2, "a timeout of the deciding write is reported as aborted", Adapter(A::TimeoutIsAborted), None),
    bug(3, "recovery answers from a before-image before its abort is durable", Engine(R::ReadWaitsForAbort), Some(Focus::Attempts)),
    bug(4, "an outcome is forgotten before every participant has learned it", Engine(R::OutcomesAreRemembered), Some(Focus::Forgetting)),
    bug(5, "recovery and commit race to two decisions", Engine(R::RecoveryHonoursPrepared), None),
    bug(6, "a late decision hits the next attempt", Engine(R::DecisionsNameTheirAttempt), Some(Focus::Attempts)),
    bug(7, "a leader paused past its lease answers when it wakes", Engine(R::LeadershipIsProved), Some(Focus::Deposed)),
    bug(8, "an acknowledged record is lost with an unflushed tail", Adapter(A::LosesTail), None),
    bug(9, "a producer's retries reorder records around a change of leader", Adapter(A::ProducerRetries), None),
    bug(10, "recovery reads past the stable end of the log", Adapter(A::ReadsUnstable), Some(Focus::LogLeaders)),
    bug(11, "a read of several keys has no snapshot", Engine(R::ReadConfirms), None),
    bug(12, "conditions on absent rows are not locked", Engine(R::AbsentRowsLock), None),
    bug(13, "an automatic retry reuses stale reads", Engine(R::EveryAttemptIsChecked), Some(Focus::Attempts)),
    bug(14, "a commit timestamp is below one already seen", Engine(R::LastTimestampIsRaised), None),
    bug(15, "two transactions share a timestamp", Engine(R::TimestampsIncrease), None),
    bug(16, "the clock goes back after a restart and is not persisted", Engine(R::LastTimestampSurvivesRestart), Some(Focus::ClockBack)),
    bug(17, "the locks of one participant are never resolved", Engine(R::RecoveryReachesAll), None),
    bug(18, "the short cut for one shard skips the conflict check", Engine(R::SingleShardRespectsLocks), None),
    bug(19, "a failed write is taken as not written, and surfaces later", Adapter(A::FailedFlushIsDropped), None),
    bug(20, "a conditional write of the store times out, and is applied late", Adapter(A::HintGoesBack), Some(Focus::Hints)),
    bug(21, "a task is cancelled between two steps", Adapter(A::CancelledTask), None),
    bug(22, "a reading position is checkpointed before its effect", Engine(R::CheckpointHoldsUnapplied), None),
    bug(23, "two owners of a topic partition after a rebalance", Engine(R::OlderEpochsAreIgnored), None),
    bug(24, "the read-only path skips the protocol", Adapter(A::ReadsTableDirectly), None),
    bug(25, "a client's resend is executed twice", Engine(R::IdsDeduplicate), None),
    bug(26, "a negative answer is not bound to an epoch", Engine(R::PrepareBoundToEpoch), Some(Focus::Noes)),
    bug(27, "a refusal is said before it is durable", Engine(R::RefuseIsDurable), Some(Focus::Attempts)),
    bug(28, "a coordinator aborts on its own timeout", Engine(R::NoAbortOnTimeout), None),
    bug(29, "the epoch record is not read back", Engine(R::EpochIsReadBack), Some(Focus::Elections)),
    bug(30, "no check that offsets are contiguous", Adapter(A::NoContiguityCheck), None),
    bug(31, "contiguity is checked without the sequence", Adapter(A::ContiguityWithoutSequence), None),
    bug(32, "the reader does not check the sequence", Engine(R::SequenceIsChecked), None),
    bug(33, "\"aborted\" is said without a durable close", Engine(R::AbortedNeedsClose), None),
    bug(34, "attempts have no nonce", Engine(R::AttemptsHaveNonces), Some(Focus::Attempts)),
    bug(35, "a commit is logged after a record that uses the locks it frees", Engine(R::CommitBeforeLockReuse), None),
    bug(36, "the floor is kept in memory only", Engine(R::FloorIsDurable), Some(Focus::Forgetting)),
    bug(37, "a lease is tested before the table read that it vouches for", Engine(R::LeaseTestedAfterRead), Some(Focus::SlowReads)),
    extra("an answer leaves before its cause is durable", Engine(R::AnswersWaitForDurability), None),
    extra("a no is not remembered", Engine(R::NoIsRemembered), Some(Focus::Noes)),
    extra("rows that are only read are not locked", Engine(R::ReadsLock), None),
    extra("an id at or below the floor is taken", Engine(R::FloorIsEnforced), None),
    extra("a read that holds takes what came too late", Engine(R::HoldIsBounded), None),
    extra("a read does not wait for what is undecided", Engine(R::ReadWaitsForUndecided), None),
    extra("a successor does not wait out the lease", Engine(R::SuccessorWaitsForLease), Some(Focus::Deposed)),
    extra("a row leaves the overlay before the tables have it", Engine(R::OverlayKeptUntilApplied), None),
    extra("a checkpoint forgets the rows that the tables refuse", Engine(R::CheckpointHoldsParked), None),
    extra("a timeout of the log is taken for success", Adapter(A::UnknownIsDurable), None),
    extra("a batch is sent before every shard is closed", Delivery(D::AllShardsAreClosed), Some(Focus::Regions)),
    extra("what another region has is sent again", Delivery(D::AppliedIsSkipped), Some(Focus::Regions)),
    extra("a sender goes on behind what was not applied", Delivery(D::ResumesBehindApplied), Some(Focus::Regions)),
    extra("a batch is applied whatever the watermark is", Adapter(A::TakenWithoutCondition), Some(Focus::Regions)),
    extra("what another region wrote takes the time of its arrival", Adapter(A::MergedAtArrival), Some(Focus::Regions)),
    extra("what came from another region is sent back", Adapter(A::SendsWhatItReceived), Some(Focus::Regions)),
    extra("a mark passes what is not delivered", Delivery(D::MarkStopsAtFirst), Some(Focus::Deliveries)),
    extra("a message is taken as buried before the store has it", Delivery(D::BuriedIsDurable), Some(Focus::Deliveries)),
    extra("a dead letter that the store refused is forgotten", Delivery(D::RefusedIsBuriedAgain), Some(Focus::Deliveries)),
    extra("a retry is overtaken by the next of its key", Delivery(D::RetryHoldsKey), Some(Focus::Deliveries)),
    extra("more tries are out than the window allows", Delivery(D::WindowIsBounded), Some(Focus::Deliveries)),
    extra("what was put out of memory before its time is not loaded again", Delivery(D::EvictedIsLoadedAgain), Some(Focus::Delays)),
    extra("a wall clock that jumps ahead is believed at once", Delivery(D::JumpsAreDoubted), Some(Focus::Delays)),
    extra("a mark passes what is neither done nor in the index", Delivery(D::HeldHoldsMark), Some(Focus::Delays)),
    extra("the log is trimmed before its messages are delivered", Adapter(A::TrimsUndelivered), Some(Focus::Deliveries)),
    extra("who takes over does not know the dead letters", Adapter(A::ClaimForgetsLetters), Some(Focus::Deliveries)),
];
