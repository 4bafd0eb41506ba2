//! What may stand after `WITH`.

use super::CqlError;

/// One option of a table, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOption {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: OptionValue,
}

/// The value of a table option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A number, as it was written.
    Number(String),
    /// A string.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A map of such values.
    Map(Vec<(OptionValue, OptionValue)>),
}

/// Options of tables in Cassandra and ScyllaDB. Handfast keeps them for whoever creates the table.
pub(super) const KNOWN: &[&str] = &[
    "additional_write_policy",
    "allow_auto_snapshot",
    "bloom_filter_fp_chance",
    "caching",
    "cdc",
    "comment",
    "compaction",
    "compression",
    "crc_check_chance",
    "dclocal_read_repair_chance",
    "default_time_to_live",
    "extensions",
    "gc_grace_seconds",
    "incremental_backups",
    "max_index_interval",
    "memtable",
    "memtable_flush_period_in_ms",
    "min_index_interval",
    "paxos_grace_seconds",
    "read_repair",
    "read_repair_chance",
    "speculative_retry",
    "tombstone_gc",
];

/// Checks an option whose meaning matters here.
pub(super) fn check(text: &str, offset: usize, option: &TableOption) -> Result<(), CqlError> {
    let fail = |message: &str| Err(CqlError::at(text, offset, message));
    match (option.name.as_str(), &option.value) {
        // Zero is what DESCRIBE prints for a table without expiry.
        ("default_time_to_live", OptionValue::Number(number)) if number == "0" => Ok(()),
        ("default_time_to_live", _) => fail(
            "rows that expire are not supported yet: leave default_time_to_live out, and delete \
             rows when their time has come",
        ),
        ("gc_grace_seconds", OptionValue::Number(number)) if number.parse::<u32>().is_ok() => {
            Ok(())
        }
        ("gc_grace_seconds", _) => fail("gc_grace_seconds is a whole number of seconds"),
        _ => Ok(()),
    }
}
