//! The rules of the protocol, each of which can be taken out.

use std::fmt;

macro_rules! rules {
    ($($variant:ident $name:literal $section:literal $sentence:literal)*) => {
        /// A rule of the protocol that a run of the model may leave out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $sentence] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the design.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The rule's name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The section of the design that demands it, or `model` where the model showed that it is needed too.
            pub const fn section(self) -> &'static str {
                match self { $(Self::$variant => $section,)* }
            }

            /// What the rule demands, in one sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

rules! {
    // The log and who may write to it.
    SequenceChecked "sequence-checked" "4.1"
        "A reader accepts a record only if its sequence is the last one plus one."
    GapEndsEpoch "gap-ends-epoch" "4.1"
        "After a gap a reader ignores the rest of that epoch."
    HashChained "hash-chained" "4.1"
        "A record counts only if it names the hash of the accepted record before it."
    OldEpochIgnored "old-epoch-ignored" "4.1"
        "Records of an older epoch behind a newer `Epoch` record are ignored."
    EpochIsNext "epoch-is-next" "4.1"
        "`Epoch(n)` counts only if n is the current epoch plus one."
    FirstEpochWins "first-epoch-wins" "4.1"
        "Of several `Epoch(n)` the first in log order wins."
    EpochReadBack "epoch-read-back" "4.2"
        "A candidate leads only after it has read back its own `Epoch` record as the winning one."
    ReplayedUpToEpoch "replayed-up-to-epoch" "4.2"
        "A candidate leads only after it has replayed the log up to its own `Epoch` record."
    RestartTakesNewEpoch "restart-takes-new-epoch" "4.2"
        "A restarted process always takes a new epoch."
    ProducerIsGapless "producer-is-gapless" "4.3"
        "Each epoch has an idempotent producer that neither repeats, reorders nor skips."
    OffsetChecked "offset-checked" "4.3"
        "An acknowledged record counts as accepted only if its offset is the expected one."
    OffsetCountsSequence "offset-counts-sequence" "4.3"
        "The expected offset is base + sequence, not merely the one after the last acknowledged."
    EarlierCounted "earlier-counted" "model"
        "A record counts only after every earlier one of its epoch; otherwise the log is read."
    GapIsRead "gap-is-read" "4.3"
        "On a gap in the offsets the log is read before a new base is set and answers go on."
    UnknownEndsEpoch "unknown-ends-epoch" "4.3"
        "A timeout is unknown, never a failure: it ends the epoch, and the next one finds the truth."
    VoteAfterDurable "vote-after-durable" "4.4"
        "A vote leaves a participant only when its `Prepare` is durable."
    CloseDurable "close-durable" "4.4"
        "A negative answer leaves a participant only when its `Close` is durable."
    LeadershipProven "leadership-proven" "4.6"
        "Reads, negative answers and duplicate-id answers need proof of leadership (a barrier or a lease)."
    LeaseFromSending "lease-from-sending" "4.6"
        "A lease runs from the sending of a record, not from its acknowledgement."
    LeaseNeedsAcceptance "lease-needs-acceptance" "4.6"
        "Only a record that is later accepted gives a lease."
    LeaseCountsSuspension "lease-counts-suspension" "4.6"
        "A lease is measured on a clock that counts suspended time."
    SuccessorWaits "successor-waits" "4.6"
        "A successor waits the lease out before it answers anything."
    WaitHasDrift "wait-has-drift" "4.6"
        "The successor waits the lease times (1 + drift)."
    WaitFromReadBack "wait-from-read-back" "4.6"
        "The successor waits from its read-back, not from the sending of its `Epoch` record."
    ResignIsLast "resign-is-last" "4.6"
        "A leader that wrote `Resign` answers nothing more; only such a last record waives the wait."
    LeaseTestedAfterRead "lease-tested-after-read" "4.6"
        "A lease is tested after the table read whose result it vouches for."

    // Committing.
    EveryParticipant "every-participant" "5"
        "A transaction is committed only when every one of its participants holds a `Prepare`."
    SameAttempt "same-attempt" "5"
        "Those `Prepare`s are of the same attempt."
    DuplicateById "duplicate-by-id" "5"
        "A transaction of one shard is deduplicated by its id."
    DuplicateJoins "duplicate-joins" "5"
        "A duplicate of a transaction whose record is still being appended joins the first."
    PrepareBoundToEpoch "prepare-bound-to-epoch" "5"
        "A `Prepare` is bound to the epoch that the coordinator expected."
    AttemptHasNonce "attempt-has-nonce" "5"
        "An attempt is a number and a nonce: two gateways' first attempts differ."
    NeverSentAgain "never-sent-again" "model"
        "The same attempt is never sent again with another expected epoch."
    NoIsRemembered "no-is-remembered" "5"
        "A participant that voted no remembers that attempt for its epoch."
    AbortedNeedsClose "aborted-needs-close" "5"
        "No \"aborted\" reaches a client before one participant has durably appended `Close`."
    CloseBarsAll "close-bars-all" "5"
        "`Close` bars every attempt of the id."
    CloseWithoutPrepare "close-without-prepare" "5"
        "`Close` is appended only where no unresolved `Prepare` of that id is held."
    CloseWaitsForAppend "close-waits-for-append" "5"
        "For `fence` the home waits for any record of the id that is still being appended."
    CloseDropsWaiting "close-drops-waiting" "5"
        "For `fence` the home removes a `Prepare` that waits for a lock, then closes."
    RefuseDurable "refuse-durable" "5"
        "A participant asked during recovery durably appends `Refuse` before it says so."
    WrongEpochIsLater "wrong-epoch-is-later" "model"
        "\"Wrong epoch\" is a no only from a participant whose own epoch is later than the expected one."
    RecoveryWaitsForAppend "recovery-waits-for-append" "5"
        "Recovery waits for a `Prepare` that is still being appended."
    RefuseDropsWaiting "refuse-drops-waiting" "5"
        "`Refuse` removes a `Prepare` that is waiting for a lock."
    NoAbortOnTimeout "no-abort-on-timeout" "5"
        "A coordinator never aborts on its own timeout: it asks."
    AskingIsPassive "asking-is-passive" "5"
        "Asking is passive; recovery that refuses runs only to wound, to fence or when due."
    LaterAttemptsByHome "later-attempts-by-home" "5"
        "A gateway starts the first attempt only; later ones are the home's alone."
    HomeAcceptsItsOwn "home-accepts-its-own" "model"
        "The home accepts a later attempt only if it is the one that it drives in its current epoch."
    LaterNeedsIntent "later-needs-intent" "model"
        "The home starts later attempts only while it holds the open intent."
    OneUndecided "one-undecided" "5"
        "A participant that holds an undecided `Prepare` of the id answers another attempt with a no."
    IntentOutlivesAbort "intent-outlives-abort" "5"
        "`Abort` ends an attempt, not the intent: only commit or `Close` ends it."
    NotFoundIsUnknown "not-found-is-unknown" "2"
        "\"Not found\" is never an outcome: an unseen id is unknown."
    FingerprintChecked "fingerprint-checked" "5"
        "The same id with another fingerprint is answered `ALREADY_EXISTS`."

    // Remembering and forgetting.
    AcknowledgedByAll "acknowledged-by-all" "5"
        "The home remembers an outcome until every participant acknowledged that it durably has it."
    AcknowledgedByLeader "acknowledged-by-leader" "model"
        "An acknowledgement that rests on nothing remembered needs proof of leadership."
    KeptUntilFinished "kept-until-finished" "model"
        "A participant keeps a `Commit` or `Close` until the home says `Finished`."
    KeptUntilFloor "kept-until-floor" "5"
        "A finished outcome is forgotten only when the shard's own floor has passed the id's time."
    FinishedCarriesBar "finished-carries-bar" "model"
        "`Finished` names the highest bar of the attempts that the home prepared; the floor must pass it too."
    ForgottenSaysFloor "forgotten-says-floor" "model"
        "A home that has forgotten an id answers `Finished` with its own floor as the bar."
    RefuseKeptUntilBar "refuse-kept-until-bar" "5"
        "A `Refuse` or `Abort` is remembered until the floor has passed the attempt's bar."
    PrepareObeysFloor "prepare-obeys-floor" "5"
        "A first attempt whose id's time is at or below the floor is never prepared."
    NonceObeysFloor "nonce-obeys-floor" "5"
        "A later attempt whose nonce's time is at or below the floor is never prepared."
    OpenObeysFloor "open-obeys-floor" "model"
        "The home opens an intent only if the id's time is above its floor."
    FenceObeysFloor "fence-obeys-floor" "model"
        "An id at or below the floor is not closed for a `fence`, unless the home holds its open intent."
    FloorDurable "floor-durable" "5"
        "The floor is in the log: a new leader starts from it."
    FloorMonotone "floor-monotone" "5"
        "Clocks only advance the floor."
    CloseToldToHome "close-told-to-home" "model"
        "A `Close` elsewhere is told to the home, which closes durably before it says `Finished`."
    LaterClosedByHome "later-closed-by-home" "model"
        "A permanent reason found elsewhere in a later attempt is a no: the home alone closes then."
    OutcomeDropsAttempts "outcome-drops-attempts" "5"
        "On learning the outcome a shard drops all attempts of the id."
    TooOldIsNotAborted "too-old-is-not-aborted" "5"
        "An id at or below the floor is answered `TOO_OLD`, never \"aborted\"."

    // Locks, conditions, timestamps.
    LockBeforeCheck "lock-before-check" "5"
        "A participant locks first and checks its conditions then."
    ReadKeysLocked "read-keys-locked" "5"
        "Read keys are locked too, until the decision is known."
    AbsentRowsLocked "absent-rows-locked" "5"
        "Absent rows lock like present ones."
    PartitionLocked "partition-locked" "5"
        "A partition read locks the partition, and a row's lock announces itself on its partition."
    OverlayChecked "overlay-checked" "5"
        "Conditions are evaluated against the overlay and the table store."
    CommitBeforeUse "commit-before-use" "5"
        "`Commit` or `Abort` precedes, in a shard's log, any record that uses the locks that it frees."
    ProposalAboveLast "proposal-above-last" "6"
        "A proposal is above the last timestamp of its shard, whatever the clock says."
    HighestProposal "highest-proposal" "5"
        "The commit timestamp is the highest of the proposals."
    WritersRaiseLast "writers-raise-last" "5"
        "Every participant raises its last timestamp to the commit timestamp."
    ReadersRaiseLast "readers-raise-last" "5"
        "Read-only participants raise their last timestamp too."
    LastReplayed "last-replayed" "6"
        "The last timestamp is found again from the log by a new leader."
    PutsAboveDeletes "puts-above-deletes" "6"
        "Bit 0 of a write time is 0 for deletes and 1 for puts: at equal times a tombstone wins."

    // Waiting.
    OlderWounds "older-wounds" "5"
        "An older transaction wounds a younger prepared holder by running recovery on it."
    YoungerWaits "younger-waits" "5"
        "A younger transaction waits for an older holder."
    GrantByAge "grant-by-age" "5"
        "Queues grant by age."
    NoOvertaking "no-overtaking" "5"
        "No arrival overtakes an older waiter."
    RetryAfterWounder "retry-after-wounder" "5"
        "The next attempt of a wounded transaction starts after its wounder is decided."

    // Reading several shards.
    ReadWaitsForUndecided "read-waits-for-undecided" "5"
        "A read waits until no undecided `Prepare` covers its keys."
    SecondRound "second-round" "5"
        "A read over several shards confirms in a second round: one round is not enough."
    SecondAfterLastReply "second-after-last-reply" "5"
        "Round two is sent after the last reply of round one."
    SameEpochConfirmed "same-epoch-confirmed" "5"
        "Round two confirms that the epoch is still the one of round one."
    PositionsNotVersions "positions-not-versions" "5"
        "Round two compares positions of last writes, not versions of rows."
    SecondSeesUndecided "second-sees-undecided" "5"
        "Round two fails where anything undecided covers the keys."
    HoldBounded "hold-bounded" "5"
        "A holding read accepts only if all replies came within the hold of its sending."
    HoldHasDrift "hold-has-drift" "5"
        "The reader divides the hold by (1 + drift)."

    // Regions.
    ClosedBelowUndecided "closed-below-undecided" "region"
        "A shard's closed timestamp stays below the least proposal that its log shows undecided."
    ClosedFromLog "closed-from-log" "region"
        "The closed timestamp is the greatest in the log that was read, whatever any clock says."
    ClosedFromAccepted "closed-from-accepted" "model"
        "Only records that count are taken into the closed timestamp."
    WatermarkIsLeast "watermark-is-least" "region"
        "The watermark is at most the least closed timestamp of all shards."
    BatchIsAtomic "batch-is-atomic" "region"
        "The remote region applies a batch, of all shards and with its watermark, as one transaction."
    CutBetweenTimestamps "cut-between-timestamps" "region"
        "What commits at one timestamp is shipped in one batch."
    WatermarkCondition "watermark-condition" "region"
        "A batch is applied only if the remote's watermark is the one that it was made for."
    ResumeBeforeUnshipped "resume-before-unshipped" "region"
        "A new shipper reads each log from before all that is undecided or above the watermark."
    SkipShipped "skip-shipped" "region"
        "A shipper that reads a log again skips what is at or below the watermark."
    RegionInTimestamp "region-in-timestamp" "region"
        "A timestamp carries its region: two regions never give the same."
    ReceivedRaisesLast "received-raises-last" "model"
        "A shard that receives rows of another region raises its last timestamp to theirs."
    TombstoneAwaitsWatermarks "tombstone-awaits-watermarks" "region"
        "A tombstone is kept until the watermarks of all other regions have passed it."
    OwnWritesOnly "own-writes-only" "region"
        "What a region has received is not shipped again."
    OldVersionRefused "old-version-refused" "region"
        "A shard that knows a newer version refuses what was validated under an older one."
    VersionCheckedAtAppend "version-checked-at-append" "model"
        "The version is checked when the record is written, not only when the request arrives."
    PulseTeachesVersion "pulse-teaches-version" "region"
        "A shard that takes a record knows the version that it was validated under."
    VersionReplayed "version-replayed" "region"
        "A new leader knows the newest version that its log names."
    PulseOnAllShards "pulse-on-all-shards" "region"
        "The pulse of a failover is taken by every shard of the old home."
    OpenAfterWatermark "open-after-watermark" "region"
        "The new home opens only when its watermark has reached the pulse."
}

impl Rule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rules that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u128);

const _: () = assert!(Rule::ALL.len() <= 128);

impl Rules {
    /// All of them.
    pub const fn all() -> Self {
        Self(u128::MAX)
    }

    /// These rules without one.
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Whether a rule is in force.
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}
