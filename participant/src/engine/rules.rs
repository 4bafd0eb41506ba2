//! The rules that the engines keep, so that a test can take one out and see that it is missed.
//!
//! Production uses [`Strict`], which has no size and keeps them all: the checks compile away.

/// A rule of the protocol that an engine enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Nothing leaves a participant before its cause is durable.
    AnswersWaitForDurability,
    /// A `Prepare` is bound to the epoch that its coordinator expected.
    PrepareBoundToEpoch,
    /// A participant that said no remembers the attempt for its epoch.
    NoIsRemembered,
    /// `Refuse` is durable before it is said.
    RefuseIsDurable,
    /// No "aborted" reaches a client before a `Close` is durable.
    AbortedNeedsClose,
    /// A coordinator never aborts on its own timeout.
    NoAbortOnTimeout,
    /// Conditions on absent rows lock like those on present ones.
    AbsentRowsLock,
    /// A row that is only read is locked too.
    ReadsLock,
    /// A transaction of one shard respects locks.
    SingleShardRespectsLocks,
    /// Every participant raises its last timestamp to the commit timestamp.
    LastTimestampIsRaised,
    /// Replay restores the last timestamp.
    LastTimestampSurvivesRestart,
    /// Outcomes are remembered until every participant has acknowledged and the floor has passed.
    OutcomesAreRemembered,
    /// An id at or below the floor is refused.
    FloorIsEnforced,
    /// The floor is in the log.
    FloorIsDurable,
    /// A candidate leads only after it has read back its own epoch record.
    EpochIsReadBack,
    /// A reader accepts only the next sequence.
    SequenceIsChecked,
    /// Answers that need it carry a proof of leadership.
    LeadershipIsProved,
    /// A lease is tested after the read that it vouches for.
    LeaseTestedAfterRead,
    /// A successor waits out its predecessor's lease.
    SuccessorWaitsForLease,
    /// `Read` has a second round.
    ReadConfirms,
    /// A read that holds accepts only what arrived while every hold lasted.
    HoldIsBounded,
    /// A shard waits for undecided prepares before it answers a read.
    ReadWaitsForUndecided,
    /// A `Commit` is logged before any record that uses the locks that it frees.
    CommitBeforeLockReuse,
    /// A duplicate id is answered with its first outcome.
    IdsDeduplicate,
    /// Attempts have nonces.
    AttemptsHaveNonces,
    /// An attempt that was prepared by all is committed, whoever asks.
    RecoveryHonoursPrepared,
    /// Recovery reaches every participant of the attempt.
    RecoveryReachesAll,
    /// A row stays in the overlay until the table store acknowledged it.
    OverlayKeptUntilApplied,
    /// A read waits for an undecided promise however old that is: until its abort is logged.
    ReadWaitsForAbort,
    /// A decision ends the attempt that it names and no other.
    DecisionsNameTheirAttempt,
    /// Every attempt checks its conditions anew.
    EveryAttemptIsChecked,
    /// A timestamp is above every earlier one of its shard and rows.
    TimestampsIncrease,
    /// A checkpoint carries the rows that the table store may not hold yet.
    CheckpointHoldsUnapplied,
    /// A checkpoint carries the rows that the table store refuses.
    CheckpointHoldsParked,
    /// A write to a parked row does not overtake what is parked of it.
    ParkedRowsKeepOrder,
    /// What is discarded is so for every later leader.
    DiscardIsDurable,
    /// Records of an older epoch behind a newer one are ignored.
    OlderEpochsAreIgnored,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 37] = [
        Self::AnswersWaitForDurability,
        Self::PrepareBoundToEpoch,
        Self::NoIsRemembered,
        Self::RefuseIsDurable,
        Self::AbortedNeedsClose,
        Self::NoAbortOnTimeout,
        Self::AbsentRowsLock,
        Self::ReadsLock,
        Self::SingleShardRespectsLocks,
        Self::LastTimestampIsRaised,
        Self::LastTimestampSurvivesRestart,
        Self::OutcomesAreRemembered,
        Self::FloorIsEnforced,
        Self::FloorIsDurable,
        Self::EpochIsReadBack,
        Self::SequenceIsChecked,
        Self::LeadershipIsProved,
        Self::LeaseTestedAfterRead,
        Self::SuccessorWaitsForLease,
        Self::ReadConfirms,
        Self::HoldIsBounded,
        Self::ReadWaitsForUndecided,
        Self::CommitBeforeLockReuse,
        Self::IdsDeduplicate,
        Self::AttemptsHaveNonces,
        Self::RecoveryHonoursPrepared,
        Self::RecoveryReachesAll,
        Self::OverlayKeptUntilApplied,
        Self::ReadWaitsForAbort,
        Self::DecisionsNameTheirAttempt,
        Self::EveryAttemptIsChecked,
        Self::TimestampsIncrease,
        Self::CheckpointHoldsUnapplied,
        Self::CheckpointHoldsParked,
        Self::ParkedRowsKeepOrder,
        Self::DiscardIsDurable,
        Self::OlderEpochsAreIgnored,
    ];
}

/// Which rules an engine keeps.
pub trait Rules: Copy + Default + Send + 'static {
    /// Whether `rule` is kept.
    fn holds(&self, rule: Rule) -> bool;
}

/// Every rule is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strict;

impl Rules for Strict {
    #[inline(always)]
    fn holds(&self, _: Rule) -> bool {
        true
    }
}

/// Every rule but one is kept (tests only).
#[derive(Clone, Copy, Debug, Default)]
pub struct Without(pub Option<Rule>);

impl Rules for Without {
    fn holds(&self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }
}
