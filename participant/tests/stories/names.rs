//! The names that stories use for transactions, attempts, rows and times, and the things they stand for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use participant::engine::{EngineSchema, TableTypes};
use wal_core::txn::Part;
use wal_core::value::ColumnType;
use wal_core::{
    AbortReason, Attempt, Cell, CellOp, ColumnId, CompareOp, Condition, ConditionKind, Fingerprint,
    FoundValue, Millis, Nonce, Row, RowKey, RowOp, ShardId, TableId, Timestamp, Transaction, TxnId,
    WriteOp,
};

/// When every story begins, microseconds. Times in stories count from here.
pub(crate) const BEGIN_US: i64 = 1_700_000_000_000_000;
const BALANCE: ColumnId = ColumnId(0);
const NOTE: ColumnId = ColumnId(1);

/// `accounts` and `orders` are owned, `shared` has other writers, `abroad` is written in another region from
/// version 2 on. Each has a balance and a note, in every version.
pub(crate) fn schema(version: u32) -> EngineSchema {
    let columns = vec![ColumnType::BigInt, ColumnType::Text];
    let table = |owned| TableTypes { columns: columns.clone(), owned, home: None };
    let home = (version > 1).then(|| "us".to_owned());
    let abroad = TableTypes { home, ..table(true) };
    let tables = vec![table(true), table(true), table(false), abroad];
    EngineSchema { version, tables, ..EngineSchema::default() }
}

/// Transactions and attempts by name, and back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    txns: BTreeMap<String, Arc<Transaction>>,
    ids: BTreeMap<TxnId, String>,
    attempts: Vec<(TxnId, String, Attempt)>,
}

impl Names {
    /// `t2 [at -5 ms] [reuses t1]: 1 alice -5 if >= 5; 2 bob +5`. The first shard named is the home.
    pub(crate) fn declare(&mut self, text: &str) {
        let (head, body) = text.split_once(':').expect("txn NAME: SHARD ROW …");
        let words: Vec<_> = head.split_whitespace().collect();
        let name = words[0];
        let mut index = 0;
        let mut parts: Vec<(ShardId, Arc<Part>)> = Vec::new();
        for part in body.split(';') {
            let (shard, rows) = part.trim().split_once(' ').expect("SHARD ROW …");
            let mut rows: Part = rows.split(',').map(|row| row_op(row, &mut index)).collect();
            rows.sort_by(|a, b| a.key.cmp(&b.key));
            parts.push((ShardId(number(shard)), Arc::new(rows)));
        }
        let home = parts[0].0;
        parts.sort_by_key(|(shard, _)| *shard);
        let id = match words.get(1) {
            Some(&"reuses") => self.txn(words[2]).id,
            Some(&"at") => id_at(number(words[2]), name, home, &parts),
            _ => id_at(number::<i64>(&name[1..]) - 1000, name, home, &parts),
        };
        let content = self.txns.len() as u128 + 1;
        let fingerprint = Fingerprint(content);
        let namespace_version = if words.contains(&"newer") { 2 } else { 1 };
        let txn = Transaction { id, fingerprint, namespace_version, parts };
        self.ids.entry(id).or_insert_with(|| name.to_owned());
        self.txns.insert(name.to_owned(), Arc::new(txn));
    }

    pub(crate) fn txn(&self, name: &str) -> Arc<Transaction> {
        self.txns.get(name).unwrap_or_else(|| panic!("no transaction {name} is declared")).clone()
    }

    pub(crate) fn name(&self, id: TxnId) -> String {
        self.ids.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The transaction that is declared first with this id.
    pub(crate) fn by_id(&self, id: TxnId) -> Option<&Arc<Transaction>> {
        self.txns.get(self.ids.get(&id)?)
    }

    /// `#2`, or `#2b` for another attempt of that number: made up if nobody has named it yet.
    pub(crate) fn attempt(&mut self, id: TxnId, name: &str) -> Attempt {
        let known = self.attempts.iter().find(|(of, known, _)| *of == id && known == name);
        if let Some((_, _, attempt)) = known {
            return *attempt;
        }
        let digits = name.trim_start_matches('#').trim_end_matches(char::is_alphabetic);
        let letter = name.bytes().last().map_or(0, u128::from);
        let nonce = Nonce((BEGIN_US as u128 / 1000) << 80 | 0xc0de << 16 | letter);
        let attempt = Attempt { number: number(digits), nonce };
        self.attempts.push((id, name.to_owned(), attempt));
        attempt
    }

    /// The name of an attempt: the next free one of its number if it has none.
    pub(crate) fn attempt_name(&mut self, id: TxnId, attempt: Attempt) -> String {
        let known = self.attempts.iter().find(|(of, _, known)| *of == id && *known == attempt);
        if let Some((_, name, _)) = known {
            return name.clone();
        }
        let free = |name: &String| !self.attempts.iter().any(|(of, n, _)| *of == id && n == name);
        let letters = std::iter::once(String::new()).chain(('b'..='z').map(String::from));
        let mut names = letters.map(|letter| format!("#{}{letter}", attempt.number));
        let name = names.find(free).expect("a story has few attempts");
        self.attempts.push((id, name.clone(), attempt));
        name
    }
}

pub(crate) fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn id_at(ms: i64, name: &str, home: ShardId, parts: &[(ShardId, Arc<Part>)]) -> TxnId {
    let time = Millis(u64::try_from(BEGIN_US / 1000 + ms).expect("a story is of our time"));
    let first = u128::from(name.bytes().last().unwrap_or_default()) << 8;
    let ids = (first..).map(|random| TxnId::from_parts(time, random));
    let mut homed = ids.filter(|id| parts[id.home_index(parts.len())].0 == home);
    homed.next().expect("some id has this home")
}

/// `alice +5 if >= 3 and exists`.
fn row_op(text: &str, index: &mut u32) -> RowOp {
    let (head, conditions) = text.split_once(" if ").unwrap_or((text, ""));
    let mut words = head.split_whitespace();
    let key = key(words.next().expect("a row"));
    let write = words.next().map_or(WriteOp::None, write_op);
    let conditions = conditions.split(" and ").filter(|text| !text.is_empty());
    let conditions = conditions.map(|text| {
        *index += 1;
        Condition { index: *index - 1, kind: condition(text) }
    });
    RowOp { key, conditions: conditions.collect(), write }
}

fn write_op(text: &str) -> WriteOp {
    let cells = |insert, cell| WriteOp::Cells { insert, cells: vec![cell] };
    let put = |text| CellOp::Put { column: BALANCE, value: bigint(number(text)) };
    if let Some(value) = text.strip_prefix("insert=") {
        return cells(true, put(value));
    }
    if let Some(size) = text.strip_prefix("note=") {
        let value = Bytes::from(vec![b'x'; number(size)]);
        return cells(false, CellOp::Put { column: NOTE, value });
    }
    if let Some((value, at)) = text.strip_prefix("merge=").and_then(|text| text.split_once('@')) {
        let cell = Cell {
            column: BALANCE,
            timestamp: Timestamp(BEGIN_US + number::<i64>(at)),
            value: Some(bigint(number(value))),
        };
        return WriteOp::Merge(Row { cells: vec![cell], ..Row::default() });
    }
    match (text, text.split_at(1)) {
        ("delete", _) => WriteOp::DeleteRow,
        ("null", _) => cells(false, CellOp::Delete { column: BALANCE }),
        (_, ("=", value)) => cells(false, put(value)),
        _ => cells(false, CellOp::Add { column: BALANCE, delta: bigint(number(text)) }),
    }
}

fn condition(text: &str) -> ConditionKind {
    let words: Vec<_> = text.split_whitespace().collect();
    let op = match words[0] {
        "exists" => return ConditionKind::Exists,
        "absent" => return ConditionKind::NotExists,
        "=" => CompareOp::Eq,
        "!=" => CompareOp::Ne,
        "<" => CompareOp::Lt,
        "<=" => CompareOp::Le,
        ">" => CompareOp::Gt,
        ">=" => CompareOp::Ge,
        other => panic!("no condition is written `{other}`"),
    };
    let value = (words[1] != "null").then(|| bigint(number(words[1])));
    ConditionKind::Compare { column: BALANCE, op, value }
}

/// `alice` (of accounts), `orders/alice/7`, `shared/rates`, `abroad/alice`.
pub(crate) fn key(name: &str) -> RowKey {
    let parts: Vec<_> = name.split('/').collect();
    let (table, partition, clustering) = match parts[..] {
        [partition] => (0, partition, ""),
        ["orders", partition, clustering] => (1, partition, clustering),
        ["shared", partition] => (2, partition, ""),
        ["abroad", partition] => (3, partition, ""),
        _ => panic!("no row is written `{name}`"),
    };
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let (partition, clustering) = (bytes(partition), bytes(clustering));
    RowKey { table: TableId(table), partition, clustering }
}

pub(crate) fn key_name(key: &RowKey) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match key.table.0 {
        0 => text(&key.partition),
        1 => format!("orders/{}/{}", text(&key.partition), text(&key.clustering)),
        2 => format!("shared/{}", text(&key.partition)),
        _ => format!("abroad/{}", text(&key.partition)),
    }
}

pub(crate) fn keys(text: &str) -> Arc<[RowKey]> {
    text.split(',').map(|name| key(name.trim())).collect()
}

pub(crate) fn key_names(keys: &[RowKey]) -> String {
    keys.iter().map(key_name).collect::<Vec<_>>().join(", ")
}

pub(crate) fn bigint(value: i64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn bigint_text(value: Option<&Bytes>) -> String {
    match value.map(|bytes| <[u8; 8]>::try_from(bytes.as_ref())) {
        None => "null".to_owned(),
        Some(Ok(bytes)) => i64::from_be_bytes(bytes).to_string(),
        Some(Err(_)) => "other bytes".to_owned(),
    }
}

/// `alice = 5 @-9`: a row as the table store holds it.
pub(crate) fn stored(text: &str) -> (RowKey, Row) {
    let words: Vec<_> = text.split_whitespace().collect();
    let [name, "=", value, at] = words[..] else { panic!("write `ROW = VALUE @TIME`: {text}") };
    let value = (value != "null").then(|| bigint(number(value)));
    let cell = Cell { column: BALANCE, timestamp: timestamp(at), value };
    (key(name), Row { cells: vec![cell], ..Row::default() })
}

/// A row, or what is merged into one: `alice = 5 @1`, `alice deleted @0`, `alice absent`.
pub(crate) fn row_text(key: &RowKey, row: &Row) -> String {
    let mut text = key_name(key);
    if row.is_empty() {
        return text + " absent";
    }
    if let Some(at) = row.deleted_at {
        text += &format!(" deleted {}", at_text(at));
    }
    if let Some(at) = row.marker_at {
        text += &format!(" inserted {}", at_text(at));
    }
    for cell in &row.cells {
        let value = match (cell.column, &cell.value) {
            (NOTE, Some(note)) => format!("note of {} bytes", note.len()),
            (_, value) => format!("= {}", bigint_text(value.as_ref())),
        };
        text += &format!(" {value} {}", at_text(cell.timestamp));
    }
    text
}

/// `@8`: so many microseconds after the beginning.
pub(crate) fn timestamp(text: &str) -> Timestamp {
    let offset: i64 = number(text.strip_prefix('@').expect("times are written @OFFSET"));
    Timestamp(BEGIN_US + offset)
}

pub(crate) fn at_text(at: Timestamp) -> String {
    format!("@{}", at.0 - BEGIN_US)
}

/// A floor or the start of an age: milliseconds from the beginning.
pub(crate) fn millis(text: &str) -> Millis {
    let offset: i64 = number(text);
    Millis(u64::try_from(BEGIN_US / 1000 + offset).expect("a story is of our time"))
}

pub(crate) fn millis_text(at: Millis) -> String {
    match at.0 {
        0 => "none".to_owned(),
        at => (at as i64 - BEGIN_US / 1000).to_string(),
    }
}

pub(crate) fn shards_text(shards: &[ShardId]) -> String {
    shards.iter().map(ShardId::to_string).collect::<Vec<_>>().join(" ")
}

/// `fenced`, `condition 0 on alice found 5`, …
pub(crate) fn reason(text: &str) -> AbortReason {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        ["fenced"] => AbortReason::Fenced,
        ["id", "reused"] => AbortReason::IdReused,
        ["condition", index, "on", row, "found", value] => {
            let value = (value != "null").then(|| bigint(number(value)));
            let found = FoundValue::Column { column: BALANCE, value };
            AbortReason::ConditionFailed { index: number(index), key: key(row), found }
        }
        ["overflow", "on", row] => AbortReason::Overflow { key: key(row), column: BALANCE },
        _ => panic!("no reason is written `{text}`"),
    }
}

pub(crate) fn reason_text(reason: &AbortReason) -> String {
    match reason {
        AbortReason::ConditionFailed { index, key, found } => {
            let found = match found {
                FoundValue::Row { exists: true, .. } => "a row".to_owned(),
                FoundValue::Row { exists: false, .. } => "no row".to_owned(),
                FoundValue::Column { value, .. } => bigint_text(value.as_ref()),
            };
            format!("condition {index} on {} found {found}", key_name(key))
        }
        AbortReason::Overflow { key, .. } => format!("overflow on {}", key_name(key)),
        AbortReason::TimestampInFuture { key } => format!("{} is of the future", key_name(key)),
        AbortReason::Schema { what } => format!("schema: {what}"),
        AbortReason::Fenced => "fenced".to_owned(),
        AbortReason::IdReused => "id reused".to_owned(),
    }
}
