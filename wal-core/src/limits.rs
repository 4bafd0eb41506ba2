//! Every limit of the protocol, named once and related to the others.

/// Rows of one transaction.
pub const MAX_ROWS_PER_TXN: usize = 10_000;
/// Conditions of one transaction.
pub const MAX_CONDITIONS_PER_TXN: usize = 10_000;
/// Bytes of one transaction's content, keys and values.
pub const MAX_TXN_BYTES: usize = 4 << 20;
/// Bytes of one record; the home's `Prepare` carries a whole transaction.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// Shards of one namespace.
pub const MAX_SHARDS: u16 = 1024;
/// Shards of a namespace that does not say how many.
pub const DEFAULT_SHARDS: u16 = 16;
/// Tables of one namespace.
pub const MAX_TABLES: usize = 1024;
/// Columns of one table.
pub const MAX_COLUMNS: usize = 1024;
/// How far two clocks may be apart, microseconds.
pub const MAX_CLOCK_DRIFT_US: i64 = 500_000;
/// How far ahead of a server's clock an id may be, milliseconds.
pub const MAX_ID_AHEAD_MS: u64 = 5 * 60 * 1000;
/// How long an id is remembered if memory allows, milliseconds.
pub const DEFAULT_ID_WINDOW_MS: u64 = 10 * 60 * 1000;
/// Age at which an undecided attempt is recovered by its home; others wait twice as long. Microseconds.
pub const RECOVER_AFTER_US: u64 = 2_000_000;

const _: () = assert!(MAX_TXN_BYTES * 2 < MAX_RECORD_BYTES);
const _: () = assert!(DEFAULT_SHARDS <= MAX_SHARDS);
const _: () = assert!(DEFAULT_ID_WINDOW_MS > MAX_ID_AHEAD_MS);

/// Defaults and ranges of what a namespace file may set; see [`crate::namespace`].
///
/// Transactions of one namespace that a server drives at once; beyond it new ones are refused.
pub const DEFAULT_IN_FLIGHT: u64 = 16_384;
/// Transactions of one shard that wait for locks or rows.
pub const DEFAULT_WAITING_PER_SHARD: u64 = 4_096;
/// Undecided prepared transactions of one shard.
pub const DEFAULT_PREPARED_PER_SHARD: u64 = 4_096;
/// Ids of one namespace whose outcome is remembered; beyond it the floor advances faster.
pub const DEFAULT_REMEMBERED_IDS: u64 = 500_000;
/// Bytes of committed writes of one namespace that its table store has not acknowledged.
pub const DEFAULT_OVERLAY_BYTES: u64 = 64 << 20;
/// Bytes of applied rows of one namespace that are kept in memory.
pub const DEFAULT_CACHE_BYTES: u64 = 64 << 20;
/// Batches and reads that a server has under way at once in a cluster of tables.
pub const DEFAULT_STORE_CONCURRENCY: u64 = 64;
/// How long one request to a cluster of tables may take, milliseconds.
pub const DEFAULT_STORE_REQUEST_TIMEOUT_MS: u64 = 3_000;
/// Rows of one flush to the table store.
pub const DEFAULT_FLUSH_ROWS: u64 = 1_024;
/// Bytes of a preallocated file of the embedded log.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// How long an applied record stays in the log, milliseconds.
pub const DEFAULT_RETAIN_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Bytes of log beyond which applied records are dropped earlier.
pub const DEFAULT_RETAIN_BYTES: u64 = 4 << 30;
/// Bytes of log of one shard after which it writes a checkpoint.
pub const DEFAULT_CHECKPOINT_EVERY_BYTES: u64 = 64 << 20;
/// How long a submission waits before it is answered *unknown*, if it does not say, milliseconds.
pub const DEFAULT_WAIT_MS: u64 = 10_000;
/// Submissions and reads of one second that a namespace's quota may allow, and allows if it does not say:
/// more than a server can take.
pub const MAX_TRANSACTIONS_PER_SECOND: u64 = 1_000_000;
/// Bytes of requests of one second that a namespace's quota may allow, and allows if it does not say.
pub const MAX_BYTES_PER_SECOND: u64 = 1 << 40;
/// Calls of one namespace that may be in flight at one server, by its limits or by its quota.
pub const MAX_IN_FLIGHT: u64 = 1 << 20;
/// What a namespace has not used of its quota for so long it may use at once, milliseconds.
pub const DEFAULT_BURST_MS: u64 = 1_000;

const _: () = assert!(DEFAULT_IN_FLIGHT <= MAX_IN_FLIGHT);
const _: () = assert!(DEFAULT_SEGMENT_BYTES > MAX_RECORD_BYTES as u64);
const _: () = assert!(DEFAULT_RETAIN_BYTES > 2 * DEFAULT_CHECKPOINT_EVERY_BYTES);
const _: () = assert!(DEFAULT_OVERLAY_BYTES > MAX_TXN_BYTES as u64);
