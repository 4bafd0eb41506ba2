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
