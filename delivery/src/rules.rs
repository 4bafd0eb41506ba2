//! The rules that the engines keep, so that a test can take one out and see that it is missed.
//!
//! Production uses [`Strict`], which has no size and keeps them all: the checks compile away.

/// A rule that an engine enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A message that is given up is dealt with only once its dead letter is durable.
    BuriedIsDurable,
    /// A dead letter that was refused is stored again later.
    RefusedIsBuriedAgain,
    /// The next of a key is not sent while the head waits for its retry.
    RetryHoldsKey,
    /// An answer counts for the try that it names.
    AnswersNameTheirTry,
    /// The mark stops at the first message that is held.
    MarkStopsAtFirst,
    /// No more tries are in flight than the window allows.
    WindowIsBounded,
    /// A fault of ours never makes a dead letter.
    OursIsNeverBuried,
    /// What is put out of memory before its time is loaded again.
    EvictedIsLoadedAgain,
    /// A wall clock that jumps ahead is not believed at once.
    JumpsAreDoubted,
    /// The mark stops before what is held and neither done nor in the index.
    HeldHoldsMark,
    /// Nothing goes to another region before every shard is closed at it.
    AllShardsAreClosed,
    /// What another region has is not sent again when the log is read again.
    AppliedIsSkipped,
    /// Reading goes on from a place before which everything has been applied.
    ResumesBehindApplied,
}

impl Rule {
    /// Every rule of the delivery of messages.
    pub const OF_DELIVERY: [Self; 7] = [
        Self::BuriedIsDurable,
        Self::RefusedIsBuriedAgain,
        Self::RetryHoldsKey,
        Self::AnswersNameTheirTry,
        Self::MarkStopsAtFirst,
        Self::WindowIsBounded,
        Self::OursIsNeverBuried,
    ];
    /// Every rule of what goes to other regions.
    pub const OF_REGION: [Self; 3] =
        [Self::AllShardsAreClosed, Self::AppliedIsSkipped, Self::ResumesBehindApplied];
    /// Every rule of the schedule.
    pub const OF_SCHEDULE: [Self; 3] =
        [Self::EvictedIsLoadedAgain, Self::JumpsAreDoubted, Self::HeldHoldsMark];
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
