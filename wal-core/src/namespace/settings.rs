//! What a namespace file can set, each with its default and its range.

use std::ops::RangeInclusive;

use super::kafka::KafkaSettings;
use super::region::{Homes, RegionMember};
use crate::limits::{
    DEFAULT_BURST_MS, DEFAULT_CACHE_BYTES, DEFAULT_CHECKPOINT_EVERY_BYTES, DEFAULT_FLUSH_ROWS,
    DEFAULT_ID_WINDOW_MS, DEFAULT_IN_FLIGHT, DEFAULT_OVERLAY_BYTES, DEFAULT_PREPARED_PER_SHARD,
    DEFAULT_REMEMBERED_IDS, DEFAULT_RETAIN_BYTES, DEFAULT_RETAIN_MS, DEFAULT_SEGMENT_BYTES,
    DEFAULT_STORE_CONCURRENCY, DEFAULT_STORE_REQUEST_TIMEOUT_MS, DEFAULT_WAIT_MS,
    DEFAULT_WAITING_PER_SHARD, MAX_BYTES_PER_SECOND, MAX_CONDITIONS_PER_TXN, MAX_ID_AHEAD_MS,
    MAX_IN_FLIGHT, MAX_RECORD_BYTES, MAX_ROWS_PER_TXN, MAX_SHARDS, MAX_TRANSACTIONS_PER_SECOND,
    MAX_TXN_BYTES, RECOVER_AFTER_US,
};

/// A whole number that a namespace file can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// Its value where the file does not say.
    pub default: u64,
    /// The values allowed.
    pub range: RangeInclusive<u64>,
}

/// The numbers of a section, as [`Setting`]s.
pub(super) trait Numbers {
    const SETTINGS: &'static [Setting];

    fn get(&self, index: usize) -> u64;
    fn set(&mut self, index: usize, value: u64);
}

/// Declares the numbers of a section once: field, default, range, and access by number.
macro_rules! numbers {
    (
        $(#[$doc:meta])*
        $section:ident {
            $($(#[$field_doc:meta])* $field:ident = $default:expr, $range:expr;)*
        }
        $($(#[$extra_doc:meta])* $extra:ident: $extra_type:ty = $extra_default:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $section {
            $($(#[$extra_doc])* pub $extra: $extra_type,)*
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($extra: $extra_default,)* $($field: $default,)* }
            }
        }

        impl Numbers for $section {
            const SETTINGS: &'static [Setting] = &[
                $(Setting { name: stringify!($field), default: $default, range: $range },)*
            ];

            fn get(&self, index: usize) -> u64 {
                [$(self.$field),*][index]
            }

            fn set(&mut self, index: usize, value: u64) {
                *[$(&mut self.$field),*][index] = value;
            }
        }
    };
}

/// The largest whole number of TOML.
const MOST: u64 = i64::MAX as u64;

numbers! {
    /// `[limits]`: every bound of a namespace.
    Limits {
        /// Rows that one transaction writes or checks.
        rows_per_transaction = MAX_ROWS_PER_TXN as u64, 1..=MAX_ROWS_PER_TXN as u64;
        /// Conditions of one transaction.
        conditions_per_transaction = MAX_CONDITIONS_PER_TXN as u64, 0..=MAX_CONDITIONS_PER_TXN as u64;
        /// Bytes of one transaction's keys and values.
        bytes_per_transaction = MAX_TXN_BYTES as u64, 1..=MAX_TXN_BYTES as u64;
        /// Shards that one transaction touches.
        shards_per_transaction = MAX_SHARDS as u64, 1..=MAX_SHARDS as u64;
        /// Transactions that a server drives at once; beyond it new ones are refused.
        in_flight = DEFAULT_IN_FLIGHT, 1..=MAX_IN_FLIGHT;
        /// Transactions of one shard that wait for locks or rows.
        waiting_per_shard = DEFAULT_WAITING_PER_SHARD, 1..=1 << 20;
        /// Undecided prepared transactions of one shard.
        prepared_per_shard = DEFAULT_PREPARED_PER_SHARD, 1..=1 << 20;
        /// Ids whose outcome is remembered, all shards of a server together; beyond it the floor
        /// advances faster.
        remembered_ids = DEFAULT_REMEMBERED_IDS, 1_000..=1 << 30;
        /// Bytes of committed writes that the table store has not acknowledged, all shards of a server
        /// together.
        overlay_bytes = DEFAULT_OVERLAY_BYTES, 2 * MAX_TXN_BYTES as u64..=MOST;
        /// Bytes of applied rows kept in memory, all shards of a server together.
        cache_bytes = DEFAULT_CACHE_BYTES, 0..=MOST;
        /// Rows of one flush to the table store.
        flush_rows = DEFAULT_FLUSH_ROWS, 1..=MAX_ROWS_PER_TXN as u64;
    }
}

numbers! {
    /// `[quota]`: what a namespace may take of each server that takes its calls. Each server counts what it
    /// takes itself, so with three such servers a namespace has three times that.
    QuotaSettings {
        /// Submissions and reads of one second.
        transactions_per_second = MAX_TRANSACTIONS_PER_SECOND, 1..=MAX_TRANSACTIONS_PER_SECOND;
        /// Bytes of their requests of one second.
        bytes_per_second = MAX_BYTES_PER_SECOND, 1 << 10..=MAX_BYTES_PER_SECOND;
        /// How much of what was not used may be used at once: what so many milliseconds give.
        burst_ms = DEFAULT_BURST_MS, 1..=60 * 1000;
        /// Submissions and reads without an answer.
        in_flight = MAX_IN_FLIGHT, 1..=MAX_IN_FLIGHT;
    }
}

numbers! {
    /// `[policy]`: what holds where a request does not say.
    Policy {
        /// How long an id is remembered if memory allows, milliseconds.
        id_window_ms = DEFAULT_ID_WINDOW_MS, MAX_ID_AHEAD_MS + 1..=24 * 60 * 60 * 1000;
        /// How long a submission waits before it is answered *unknown*, milliseconds.
        wait_ms = DEFAULT_WAIT_MS, 1..=60 * 60 * 1000;
        /// Age at which an undecided attempt is recovered by its home, milliseconds.
        recover_after_ms = RECOVER_AFTER_US / 1000, 10..=60 * 1000;
    }
    /// What a submission waits for.
    wait: WaitLevel = WaitLevel::Committed;
}

numbers! {
    /// `[[target]]`: how messages are delivered to one target. Each shard's are delivered by themselves.
    DeliverySettings {
        /// How long a try may take, milliseconds.
        timeout_ms = 10_000, 10..=10 * 60 * 1000;
        /// Tries of one shard that may be under way at once: the most that the window, which adapts, grows to.
        /// 1,024 for a topic in Kafka.
        in_flight = 64, 1..=1 << 12;
        /// With so many transient failures a message becomes a dead letter.
        tries = 20, 1..=1_000_000;
        /// A message that has been tried for so long becomes a dead letter with the next transient failure,
        /// milliseconds.
        max_age_ms = 24 * 60 * 60 * 1000, 1..=MOST / 1000;
        /// The shortest pause before a message is tried again, milliseconds; it doubles with each failure.
        first_pause_ms = 100, 1..=60 * 60 * 1000;
        /// The longest such pause, milliseconds.
        longest_pause_ms = 60 * 1000, 1..=24 * 60 * 60 * 1000;
        /// Dead letters of the target; beyond it nothing is given up, and what would be waits.
        dead_letters = 100_000, 0..=100_000_000;
    }
}

/// Ten years and a hundred, milliseconds.
const TEN_YEARS_MS: u64 = 3_653 * 24 * 60 * 60 * 1000;

numbers! {
    /// `[delay]`: transactions that are due later.
    DelaySettings {
        /// How long what says nothing of it is delayed, milliseconds after the time in its transaction's id.
        after_ms = 0, 0..=10 * TEN_YEARS_MS;
        /// Spread over so many milliseconds what is delayed, where a request says nothing of that.
        jitter_ms = 0, 0..=10 * TEN_YEARS_MS;
        /// The longest delay, milliseconds.
        longest_ms = TEN_YEARS_MS, 1..=10 * TEN_YEARS_MS;
        /// Transactions that are due which one process has under way at once.
        in_flight = 256, 1..=1 << 12;
    }
    /// The table that keeps them, by its full name.
    table: String = String::new();
}

numbers! {
    /// `[region]`: the other installations that have the namespace.
    RegionSettings {
        /// Rises with every failover: where two regions disagree about homes, the later term is right.
        term = 1, 1..=MOST;
        /// Bytes of rows that go to another region at once, in one transaction there.
        batch_bytes = 256 << 10, 1 << 10..=MAX_TXN_BYTES as u64;
        /// Bytes of what is read of the log and waits for other shards.
        buffer_bytes = 32 << 20, 2 * MAX_TXN_BYTES as u64..=MOST;
        /// How long a shard may say nothing while others wait for it, milliseconds; then it is given a pulse.
        pulse_after_ms = 20, 1..=60 * 1000;
        /// What was written longer ago in a table that is written in every region is not taken from another
        /// region, milliseconds: well below `gc_grace_seconds`.
        oldest_ms = 5 * 24 * 60 * 60 * 1000, 60 * 1000..=MOST / 1000;
        /// How long another region may take for a batch, milliseconds; then it is asked where it is.
        timeout_ms = 10_000, 100..=10 * 60 * 1000;
    }
    /// Which of the regions this installation is.
    here: String = String::new();
    /// Where tables are written.
    homes: Homes = Homes::default();
    /// The table that says what has arrived from other regions, by its full name.
    table: String = String::new();
    /// All regions, this one among them, in the order of their numbers.
    members: Vec<RegionMember> = Vec::new();
}

numbers! {
    /// `[log]`: where intents are kept, and for how long.
    LogSettings {
        /// Bytes of a preallocated file of the embedded log.
        segment_bytes = DEFAULT_SEGMENT_BYTES, MAX_RECORD_BYTES as u64 + 4096..=4 << 30;
        /// How long an applied record stays in the log, milliseconds.
        retain_ms = DEFAULT_RETAIN_MS, 0..=MOST;
        /// Bytes beyond which applied records are dropped earlier.
        retain_bytes = DEFAULT_RETAIN_BYTES, 2 * MAX_RECORD_BYTES as u64..=MOST;
        /// Bytes of log of one shard after which it writes a checkpoint.
        checkpoint_every_bytes = DEFAULT_CHECKPOINT_EVERY_BYTES, 1 << 16..=1 << 40;
    }
    /// Which log.
    kind: LogKind = LogKind::Embedded;
    /// Where it is, for [`LogKind::Kafka`] and no other.
    kafka: Option<KafkaSettings> = None;
}

numbers! {
    /// `[store]`: where the tables are. Who logs in, and with which password, is told by the environment.
    StoreSettings {
        /// Batches and reads that a server has under way at once; more wait.
        concurrency = DEFAULT_STORE_CONCURRENCY, 1..=1 << 12;
        /// How long one request to the cluster may take, milliseconds; then it is tried again.
        request_timeout_ms = DEFAULT_STORE_REQUEST_TIMEOUT_MS, 100..=60 * 1000;
    }
    /// Which store.
    kind: StoreKind = StoreKind::Embedded;
    /// Where the cluster is asked for its nodes: `host` or `host:port`. Only Cassandra has any.
    contact_points: Vec<String> = Vec::new();
    /// The data centre whose replicas are read and written.
    datacenter: Option<String> = None;
    /// The keyspace of the tables that name none.
    keyspace: Option<String> = None;
    /// The keyspace in which Handfast says which tables are whose.
    own_keyspace: String = DEFAULT_OWN_KEYSPACE.to_owned();
    /// A file, on every server, with the authorities (PEM) that signed the nodes' certificates: TLS.
    tls_ca: Option<String> = None;
    /// Whether tables that the cluster does not have are created. Tables that it has are never altered.
    create_tables: bool = false;
}

/// The keyspace of Handfast's own, unless a namespace says otherwise.
pub const DEFAULT_OWN_KEYSPACE: &str = "handfast";

/// A word that a namespace file can choose among.
pub(super) trait Word: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

/// Which log keeps the intents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Segment files of this server.
    Embedded,
    /// A topic in Kafka.
    Kafka,
    /// Memory: for tests; everything is lost when the process ends.
    Memory,
}

impl Word for LogKind {
    const ALL: &'static [Self] = &[Self::Embedded, Self::Kafka, Self::Memory];

    fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Kafka => "kafka",
            Self::Memory => "memory",
        }
    }
}

/// Which store keeps the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Files of this server.
    Embedded,
    /// A Cassandra or ScyllaDB cluster.
    Cassandra,
}

impl Word for StoreKind {
    const ALL: &'static [Self] = &[Self::Embedded, Self::Cassandra];

    fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cassandra => "cassandra",
        }
    }
}

/// How far a transaction must have come before its client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitLevel {
    /// The intent is durable.
    Logged,
    /// It is decided.
    Committed,
    /// It is visible in every table store.
    Applied,
}

impl Word for WaitLevel {
    const ALL: &'static [Self] = &[Self::Logged, Self::Committed, Self::Applied];

    fn word(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Committed => "committed",
            Self::Applied => "applied",
        }
    }
}

impl Word for crate::schema::Ownership {
    const ALL: &'static [Self] = &[Self::Owned, Self::Shared];

    fn word(self) -> &'static str {
        self.name()
    }
}
