//! The kinds of faults, which of them a seed turns on, and how often each one struck.

use crate::rng::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $wanted:expr;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name by which the command line knows it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Whether it strikes by itself, at random times, rather than on occasions.
            pub(crate) const fn is_timed(self) -> bool {
                matches!(
                    self,
                    Self::Crash
                        | Self::CrashMidStep
                        | Self::PowerLoss
                        | Self::DiskFailed
                        | Self::Pause
                        | Self::LongPause
                        | Self::Rebalance
                        | Self::SilentRebalance
                        | Self::Drain
                        | Self::CutOneWay
                        | Self::CutBothWays
                        | Self::CutFromLog
                        | Self::CutFromStore
                        | Self::LogUnavailable
                        | Self::LogLeaderChange
                        | Self::NodeAdded
                        | Self::NodeRemoved
                        | Self::ClockSkew
                        | Self::ClockJump
                        | Self::ClockRate
                )
            }

            /// How often it strikes: parts per million of its occasions, or for timed kinds the mean
            /// time between two, in milliseconds.
            const fn rate(self) -> (u32, u32) {
                match self {
                    $(Self::$name => $wanted,)*
                }
            }
        }
    };
}

faults! {
    /// A process ends at once (`kill -9`) and comes back later.
    Crash = "crash", (150, 3_000);
    /// A process ends in the middle of carrying out an engine's commands.
    CrashMidStep = "crash-mid-step", (150, 3_000);
    /// Embedded: power is lost; what was not synced goes, in part or whole.
    PowerLoss = "power-loss", (150, 3_000);
    /// Embedded: the unsynced tail that survives ends in the middle of a batch.
    TornTail = "torn-tail", (200_000, 1_000_000);
    /// Embedded: a sync of the log fails; the log takes nothing more until the process restarts.
    DiskFailed = "disk-failed", (500, 5_000);
    /// A process stops for a while.
    Pause = "pause", (100, 2_000);
    /// A process stops for longer than a lease.
    LongPause = "long-pause", (400, 4_000);
    /// A shard is placed elsewhere while its leader lives; it is told, late, to drain.
    Rebalance = "rebalance", (100, 2_000);
    /// A shard is placed elsewhere and its old leader is never told.
    SilentRebalance = "silent-rebalance", (150, 3_000);
    /// A leader drains of its own accord.
    Drain = "drain", (300, 3_000);
    /// Messages of one node to another are lost for a while.
    CutOneWay = "cut-one-way", (100, 2_000);
    /// Two nodes cannot speak for a while.
    CutBothWays = "cut-both-ways", (100, 2_000);
    /// A node cannot reach the log for a while.
    CutFromLog = "cut-from-log", (200, 3_000);
    /// A node cannot reach the table store for a while.
    CutFromStore = "cut-from-store", (200, 3_000);
    /// A message takes long, and others overtake it.
    MessageDelayed = "message-delayed", (2_000, 200_000);
    /// A message is lost.
    MessageLost = "message-lost", (1_000, 100_000);
    /// A message arrives twice.
    MessageRepeated = "message-repeated", (2_000, 200_000);
    /// A node goes on asking a shard's old leader, whatever it hears of a new one.
    StaleRoute = "stale-route", (300_000, 990_000);
    /// An append takes long.
    AppendDelayed = "append-delayed", (2_000, 200_000);
    /// An append overtakes the one before it.
    AppendReordered = "append-reordered", (500, 20_000);
    /// An append lands, and nobody says so.
    AppendAckLost = "append-ack-lost", (500, 20_000);
    /// An append never lands, and nobody says so.
    AppendLost = "append-lost", (500, 20_000);
    /// An append lands long after it was given up.
    AppendLate = "append-late", (500, 20_000);
    /// An append is refused.
    AppendRejected = "append-rejected", (500, 20_000);
    /// An append lands twice.
    AppendRepeated = "append-repeated", (1_000, 100_000);
    /// The log of a shard is not available for a while.
    LogUnavailable = "log-unavailable", (200, 3_000);
    /// The log's own leader for a shard changes: what was not stable is gone.
    LogLeaderChange = "log-leader-change", (100, 2_000);
    /// A machine joins the deployment.
    NodeAdded = "node-added", (300, 3_000);
    /// A machine leaves it: told to drain, and gone a while later.
    NodeRemoved = "node-removed", (500, 5_000);
    /// A read of the table store fails.
    ReadFailed = "read-failed", (2_000, 200_000);
    /// A read of the table store takes long.
    ReadSlow = "read-slow", (2_000, 200_000);
    /// A flush fails; some of it may have been applied.
    FlushFailed = "flush-failed", (5_000, 200_000);
    /// A flush fails, and is applied later all the same.
    FlushLate = "flush-late", (5_000, 200_000);
    /// A failed flush is seen by some reads and not by others.
    FlushHalfSeen = "flush-half-seen", (5_000, 200_000);
    /// A flush takes long.
    FlushSlow = "flush-slow", (5_000, 200_000);
    /// Wall clocks disagree.
    ClockSkew = "clock-skew", (300, 3_000);
    /// A wall clock jumps.
    ClockJump = "clock-jump", (200, 3_000);
    /// Clocks run at different rates, within what is allowed.
    ClockRate = "clock-rate", (300, 3_000);
    /// The hint to the newest checkpoint is lost.
    HintLost = "hint-lost", (50_000, 500_000);
    /// The hint is written late; nobody says so.
    HintLate = "hint-late", (20_000, 300_000);
    /// A client gives up waiting and sends the same transaction again.
    ClientRetries = "client-retries", (100_000, 900_000);
    /// A client sends an old transaction of its own again, long after it was answered.
    ClientReturns = "client-returns", (5_000, 200_000);
    /// A client sends the same transaction through two nodes at once.
    ClientDoubles = "client-doubles", (20_000, 200_000);
    /// A client asks for the outcome with a fence while it may still be in flight.
    ClientFences = "client-fences", (50_000, 500_000);
    /// A client uses an id again for other content.
    IdReused = "id-reused", (20_000, 100_000);
    /// The tables refuse a row, or a whole table, for good: until somebody mends it.
    RowsRefused = "rows-refused", (2_000, 100_000);
    /// A target does not take a message now.
    TargetFails = "target-fails", (10_000, 500_000);
    /// A target takes a message, and says that it failed.
    TargetAnswerLost = "target-answer-lost", (5_000, 200_000);
    /// A target says nothing, whether it has the message or not.
    TargetHangs = "target-hangs", (5_000, 200_000);
    /// A target takes nothing now.
    TargetOverloaded = "target-overloaded", (5_000, 200_000);
    /// A target never takes a message, whether it says so or not.
    TargetRefuses = "target-refuses", (5_000, 150_000);
    /// The store of marks, claims and dead letters fails; what was asked for may have happened.
    LettersFailed = "letters-failed", (5_000, 400_000);
    /// That store answers slowly.
    LettersSlow = "letters-slow", (2_000, 100_000);
    /// Somebody has the dead letters sent again.
    LettersRedriven = "letters-redriven", (2_000, 50_000);
    /// What a process delivers should be delivered by another.
    DeliveriesMoved = "deliveries-moved", (2_000, 50_000);
}

const KINDS: usize = Fault::ALL.len();
const _: () = assert!(KINDS <= 64);

/// Which kinds of faults a world has, and how often they strike.
#[derive(Clone, Debug)]
pub struct Faults {
    on: u64,
    rates: [u32; KINDS],
}

impl Faults {
    /// Draws each kind with the same probability, which is itself drawn: some worlds are calm.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let density = *rng.pick(&[0, 100_000, 250_000, 400_000, 700_000]);
        let mut on = 0;
        let mut rates = [0; KINDS];
        // What came later is drawn apart, so that worlds without it stay what they were.
        let mut apart = Rng::new(rng.clone().next());
        for fault in Fault::ALL {
            let rng = if *fault >= Fault::RowsRefused { &mut apart } else { &mut *rng };
            let drawn = rng.chance(density);
            on |= u64::from(drawn) << *fault as u32;
            let (low, high) = fault.rate();
            rates[*fault as usize] = rng.scale(u64::from(low), u64::from(high)) as u32;
        }
        Self { on, rates }
    }

    /// Whether this kind is on.
    pub fn has(&self, fault: Fault) -> bool {
        self.on >> fault as u32 & 1 == 1
    }

    /// Turns everything off that concerns deliveries.
    pub(crate) fn remove_deliveries(&mut self) {
        Fault::ALL.iter().filter(|it| **it >= Fault::TargetFails).for_each(|it| self.remove(*it));
    }

    /// Turns a kind off.
    pub fn remove(&mut self, fault: Fault) {
        self.on &= !(1 << fault as u32);
    }

    /// Turns a kind on, at this rate.
    pub(crate) fn set(&mut self, fault: Fault, rate: u32) {
        self.on |= 1 << fault as u32;
        self.rates[fault as usize] = rate;
    }

    /// The kinds that are on.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        Fault::ALL.iter().copied().filter(|fault| self.has(*fault))
    }

    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.rates[fault as usize]
    }
}

/// How often each kind of fault struck.
#[derive(Clone, Debug)]
pub struct FaultCounts([u64; KINDS]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; KINDS])
    }
}

impl FaultCounts {
    pub(crate) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds those of another world.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// Each kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.iter().map(|fault| (*fault, self.0[*fault as usize]))
    }

    /// The kinds that never struck.
    pub fn never(&self) -> Vec<Fault> {
        self.iter().filter(|(_, count)| *count == 0).map(|(fault, _)| fault).collect()
    }
}
