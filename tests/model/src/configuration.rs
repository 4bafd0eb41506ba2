//! The configurations: which machine, with which bounds, catches which rules.

use crate::check::{Aim, Report, check};
use crate::commit::{self, Commit};
use crate::hold::Hold;
use crate::lease::Lease;
use crate::locks::Locks;
use crate::log::{self, Log};
use crate::read::TwoRounds;
use crate::region::converge::Converge;
use crate::region::home::Home;
use crate::region::ship::Ship;
use crate::rule::{Rule, Rules};
use crate::single::Single;
use crate::stamps::Stamps;
use crate::wound::Wound;

/// One machine with its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it contains.
    pub about: &'static str,
    /// The rules that are shown to be needed here: without any one of them it breaks.
    pub catches: &'static [Rule],
    /// Whether it is too large for every run.
    pub deep: bool,
    /// Runs it.
    pub run: fn(Rules, Aim) -> Report,
}

impl Configuration {
    /// The configuration of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CONFIGURATIONS.iter().find(|each| each.name == name)
    }

    /// The configuration that shows that a rule is needed.
    pub fn catching(rule: Rule) -> Option<&'static Self> {
        CONFIGURATIONS.iter().find(|each| each.catches.contains(&rule))
    }
}

const COMMIT: commit::Bounds = commit::Bounds {
    shards: 2,
    gateways: 2,
    later: 1,
    failovers: 1,
    floors: [0; 3],
    bars: 1,
    waiting: true,
    appending: true,
    closes: true,
    aborts_kept: true,
    forgetting: false,
};
const COMMIT_THREE: commit::Bounds =
    commit::Bounds { shards: 3, later: 0, waiting: false, ..COMMIT };
const FORGET: commit::Bounds = commit::Bounds {
    shards: 2,
    gateways: 1,
    later: 1,
    failovers: 1,
    floors: [2, 2, 0],
    bars: 2,
    waiting: false,
    appending: false,
    closes: true,
    aborts_kept: true,
    forgetting: true,
};
const FORGET_LATER: commit::Bounds =
    commit::Bounds { later: 2, failovers: 0, floors: [0, 1, 0], ..FORGET };
const FORGET_WAITING: commit::Bounds =
    commit::Bounds { gateways: 2, later: 0, waiting: true, floors: [1; 3], bars: 1, ..FORGET };
const FORGET_THREE: commit::Bounds =
    commit::Bounds { shards: 3, failovers: 0, closes: false, floors: [1, 2, 1], ..FORGET };
const FORGET_THREE_CLOSES: commit::Bounds = commit::Bounds {
    later: 0,
    failovers: 1,
    waiting: true,
    closes: true,
    floors: [1; 3],
    bars: 1,
    ..FORGET_THREE
};

const LOG: log::Bounds =
    log::Bounds { epochs: 3, records: 1, length: 5, faults: 0, loses_tail: false };
const LOG_FAULTS: log::Bounds = log::Bounds { epochs: 2, records: 2, faults: 1, ..LOG };
const LOG_PRODUCER: log::Bounds = log::Bounds { epochs: 1, records: 3, length: 4, ..LOG };
const LOG_TAIL: log::Bounds =
    log::Bounds { epochs: 2, records: 2, length: 4, loses_tail: true, ..LOG };

/// Every configuration. The logs run without the hash chain, so that what the other rules do is not hidden
/// behind it, except where it is what is checked.
pub const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "commit",
        about: "2 participants, 2 gateways, 1 later attempt, 1 failover; locks, appends, closes, recovery",
        catches: &[
            Rule::RestartTakesNewEpoch,
            Rule::VoteAfterDurable,
            Rule::CloseDurable,
            Rule::EveryParticipant,
            Rule::SameAttempt,
            Rule::PrepareBoundToEpoch,
            Rule::AttemptHasNonce,
            Rule::NeverSentAgain,
            Rule::NoIsRemembered,
            Rule::AbortedNeedsClose,
            Rule::CloseBarsAll,
            Rule::CloseWithoutPrepare,
            Rule::CloseWaitsForAppend,
            Rule::CloseDropsWaiting,
            Rule::RefuseDurable,
            Rule::WrongEpochIsLater,
            Rule::RecoveryWaitsForAppend,
            Rule::RefuseDropsWaiting,
            Rule::NoAbortOnTimeout,
            Rule::OneUndecided,
            Rule::IntentOutlivesAbort,
            Rule::NotFoundIsUnknown,
        ],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: COMMIT }, aim),
    },
    Configuration {
        name: "commit-three",
        about: "3 participants, 2 gateways, 1 failover; appends, closes, recovery",
        catches: &[],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: COMMIT_THREE }, aim),
    },
    Configuration {
        name: "forget",
        about: "2 participants, 1 gateway, 1 later attempt, 1 failover; floors, acknowledgements, forgetting",
        catches: &[
            Rule::HomeAcceptsItsOwn,
            Rule::LaterNeedsIntent,
            Rule::AcknowledgedByAll,
            Rule::AcknowledgedByLeader,
            Rule::KeptUntilFinished,
            Rule::KeptUntilFloor,
            Rule::FinishedCarriesBar,
            Rule::ForgottenSaysFloor,
            Rule::RefuseKeptUntilBar,
            Rule::PrepareObeysFloor,
            Rule::NonceObeysFloor,
            Rule::OpenObeysFloor,
            Rule::FenceObeysFloor,
            Rule::FloorDurable,
            Rule::FloorMonotone,
            Rule::CloseToldToHome,
            Rule::OutcomeDropsAttempts,
            Rule::TooOldIsNotAborted,
        ],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: FORGET }, aim),
    },
    Configuration {
        name: "forget-later",
        about: "2 participants, 1 gateway, 2 later attempts of a home whose clock may go back; forgetting",
        catches: &[Rule::LaterClosedByHome],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: FORGET_LATER }, aim),
    },
    Configuration {
        name: "forget-waiting",
        about: "2 participants, 2 gateways, 1 failover; locks, floors, forgetting",
        catches: &[],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: FORGET_WAITING }, aim),
    },
    Configuration {
        name: "forget-three",
        about: "3 participants, 1 gateway, 1 later attempt; floors that differ, forgetting",
        catches: &[],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE }, aim),
    },
    Configuration {
        name: "forget-three-closes",
        about: "3 participants, 1 gateway, 1 failover; locks, closes, floors that differ, forgetting",
        catches: &[],
        deep: false,
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE_CLOSES }, aim),
    },
    Configuration {
        name: "aborts-forgotten",
        about: "as `forget`, but nobody remembers having aborted an attempt",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            check(Commit { rules, bounds: commit::Bounds { aborts_kept: false, ..FORGET } }, aim)
        },
    },
    Configuration {
        name: "commit-deep",
        about: "as `commit`, with 2 failovers",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            check(Commit { rules, bounds: commit::Bounds { failovers: 2, ..COMMIT } }, aim)
        },
    },
    Configuration {
        name: "forget-deep",
        about: "2 participants, 2 gateways, 1 later attempt; floors, forgetting",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            check(
                Commit { rules, bounds: commit::Bounds { gateways: 2, failovers: 0, ..FORGET } },
                aim,
            )
        },
    },
    Configuration {
        name: "forget-later-deep",
        about: "2 participants, 1 gateway, 2 later attempts; all floors, forgetting",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            check(Commit { rules, bounds: commit::Bounds { floors: [2; 3], ..FORGET_LATER } }, aim)
        },
    },
    Configuration {
        name: "forget-three-deep",
        about: "3 participants, 1 gateway, 1 later attempt; closes, floors that differ, forgetting",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            check(
                Commit {
                    rules,
                    bounds: commit::Bounds { floors: [1, 2, 0], closes: true, ..FORGET_THREE },
                },
                aim,
            )
        },
    },
    Configuration {
        name: "single",
        about: "1 participant, a retry and a request with other content, 2 failovers, the floor",
        catches: &[
            Rule::DuplicateById,
            Rule::DuplicateJoins,
            Rule::FingerprintChecked,
            Rule::KeptUntilFloor,
            Rule::PrepareObeysFloor,
        ],
        deep: false,
        run: |rules, aim| check(Single { rules }, aim),
    },
    Configuration {
        name: "log",
        about: "2 processes, 3 epochs of 1 record, a log of 5; late appends, unknown results",
        catches: &[
            Rule::OldEpochIgnored,
            Rule::EpochIsNext,
            Rule::FirstEpochWins,
            Rule::EpochReadBack,
            Rule::ReplayedUpToEpoch,
            Rule::OffsetChecked,
            Rule::GapIsRead,
            Rule::UnknownEndsEpoch,
        ],
        deep: false,
        run: |rules, aim| check(Log { rules: rules.without(Rule::HashChained), bounds: LOG }, aim),
    },
    Configuration {
        name: "log-producer",
        about: "1 epoch of 3 records: nothing but a rival or an unknown result ends it",
        catches: &[Rule::ProducerIsGapless],
        deep: false,
        run: |rules, aim| {
            check(Log { rules: rules.without(Rule::HashChained), bounds: LOG_PRODUCER }, aim)
        },
    },
    Configuration {
        name: "log-faults",
        about: "2 processes, 2 epochs of 2 records, a log of 5; one record skipped, repeated or reordered",
        catches: &[
            Rule::SequenceChecked,
            Rule::GapEndsEpoch,
            Rule::OffsetCountsSequence,
            Rule::EarlierCounted,
        ],
        deep: false,
        run: |rules, aim| {
            check(Log { rules: rules.without(Rule::HashChained), bounds: LOG_FAULTS }, aim)
        },
    },
    Configuration {
        name: "log-tail",
        about: "2 processes, 2 epochs of 2 records, a log of 4 that loses its last record once",
        catches: &[Rule::HashChained],
        deep: false,
        run: |rules, aim| check(Log { rules, bounds: LOG_TAIL }, aim),
    },
    Configuration {
        name: "log-deep",
        about: "2 processes, 3 epochs of 2 records, a log of 5, with the hash chain",
        catches: &[],
        deep: true,
        run: |rules, aim| check(Log { rules, bounds: log::Bounds { records: 2, ..LOG } }, aim),
    },
    Configuration {
        name: "lease",
        about: "an old leader with a lease, its successor, 9 ticks, suspension, a slow clock, Resign",
        catches: &[
            Rule::LeadershipProven,
            Rule::LeaseFromSending,
            Rule::LeaseNeedsAcceptance,
            Rule::LeaseCountsSuspension,
            Rule::SuccessorWaits,
            Rule::WaitHasDrift,
            Rule::WaitFromReadBack,
            Rule::ResignIsLast,
            Rule::LeaseTestedAfterRead,
        ],
        deep: false,
        run: |rules, aim| check(Lease { rules }, aim),
    },
    Configuration {
        name: "read",
        about: "Read of one or two shards in two rounds, 4 writes of one shard or both, 1 failover",
        catches: &[
            Rule::ReadWaitsForUndecided,
            Rule::SecondRound,
            Rule::SecondAfterLastReply,
            Rule::SameEpochConfirmed,
            Rule::PositionsNotVersions,
            Rule::SecondSeesUndecided,
        ],
        deep: false,
        run: |rules, aim| check(TwoRounds { rules, writes: 4 }, aim),
    },
    Configuration {
        name: "hold",
        about: "Read of two shards that holds, two writers, 6 ticks, a slow clock",
        catches: &[Rule::HoldBounded, Rule::HoldHasDrift],
        deep: false,
        run: |rules, aim| check(Hold { rules }, aim),
    },
    Configuration {
        name: "locks",
        about: "2 transactions that each read what the other writes, a blind one, 2 shards, rows and partitions",
        catches: &[
            Rule::LockBeforeCheck,
            Rule::ReadKeysLocked,
            Rule::AbsentRowsLocked,
            Rule::PartitionLocked,
            Rule::OverlayChecked,
            Rule::CommitBeforeUse,
        ],
        deep: false,
        run: |rules, aim| check(Locks { rules }, aim),
    },
    Configuration {
        name: "stamps",
        about: "5 transactions over 2 shards whose clocks disagree, 1 failover",
        catches: &[
            Rule::ProposalAboveLast,
            Rule::HighestProposal,
            Rule::WritersRaiseLast,
            Rule::ReadersRaiseLast,
            Rule::LastReplayed,
            Rule::PutsAboveDeletes,
        ],
        deep: false,
        run: |rules, aim| check(Stamps { rules, txns: 5 }, aim),
    },
    Configuration {
        name: "wound",
        about: "3 transactions that all lock one row on each of 2 shards, no failures",
        catches: &[
            Rule::AskingIsPassive,
            Rule::LaterAttemptsByHome,
            Rule::OlderWounds,
            Rule::YoungerWaits,
            Rule::GrantByAge,
            Rule::NoOvertaking,
            Rule::RetryAfterWounder,
        ],
        deep: false,
        run: |rules, aim| check(Wound { rules }, aim),
    },
    Configuration {
        name: "ship",
        about: "a transaction of 2 shards, one of each alone, clocks that disagree, a deposed leader; 2 shippers",
        catches: &[
            Rule::ProposalAboveLast,
            Rule::HighestProposal,
            Rule::WritersRaiseLast,
            Rule::LastReplayed,
            Rule::ClosedBelowUndecided,
            Rule::ClosedFromLog,
            Rule::ClosedFromAccepted,
            Rule::WatermarkIsLeast,
            Rule::BatchIsAtomic,
            Rule::CutBetweenTimestamps,
            Rule::WatermarkCondition,
            Rule::ResumeBeforeUnshipped,
        ],
        deep: false,
        run: |rules, aim| {
            let txns = &[[true, true], [true, false], [false, true]];
            check(Ship { rules, txns, takeover: true, strays: true }, aim)
        },
    },
    Configuration {
        name: "ship-two",
        about: "2 transactions of 2 shards, clocks that disagree; 2 shippers",
        catches: &[],
        deep: false,
        run: |rules, aim| {
            let txns = &[[true, true], [true, true]];
            check(Ship { rules, txns, takeover: true, strays: false }, aim)
        },
    },
    Configuration {
        name: "ship-deep",
        about: "as `ship-two`, with a transaction of one shard",
        catches: &[],
        deep: true,
        run: |rules, aim| {
            let txns = &[[true, true], [true, true], [false, true]];
            check(Ship { rules, txns, takeover: true, strays: false }, aim)
        },
    },
    Configuration {
        name: "converge",
        about: "2 regions that put and delete the same 2 rows, 3 transactions each, tombstones that are collected",
        catches: &[
            Rule::LastReplayed,
            Rule::SkipShipped,
            Rule::RegionInTimestamp,
            Rule::ReceivedRaisesLast,
            Rule::TombstoneAwaitsWatermarks,
            Rule::OwnWritesOnly,
        ],
        deep: false,
        run: |rules, aim| check(Converge { rules, writes: 3 }, aim),
    },
    Configuration {
        name: "home-moves",
        about: "a planned failover of a home of 2 shards, 3 transactions, clocks that disagree, failovers",
        catches: &[
            Rule::ReceivedRaisesLast,
            Rule::OldVersionRefused,
            Rule::VersionCheckedAtAppend,
            Rule::PulseTeachesVersion,
            Rule::VersionReplayed,
            Rule::PulseOnAllShards,
            Rule::OpenAfterWatermark,
        ],
        deep: false,
        run: |rules, aim| check(Home { rules }, aim),
    },
];
