//! Transactions that are due later: what is due when, and doing it.

mod index;

pub use index::{Change, Entry, EntryCount, EntryState, Filter, Index, Noted};
