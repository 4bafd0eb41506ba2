//! The rows of the simulated namespace, and the transactions that clients submit over them.

use std::sync::Arc;

use bytes::Bytes;
use participant::engine::{EngineSchema, TableTypes};
use wal_core::message::MESSAGES;
use wal_core::token::Token;
use wal_core::value::ColumnType;
use wal_core::{
    CellOp, ColumnId, CompareOp, Condition, ConditionKind, Fingerprint, Millis, Row, RowKey, RowOp,
    ShardId, TableId, Transaction, TxnId, WriteOp,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::deliver::Messages;
use crate::later::{COLUMNS, LATER, Parts};
use crate::plan::Plan;
use crate::rng::Rng;

/// `accounts (id bigint PRIMARY KEY, balance bigint, tag bigint)`.
pub(crate) const ACCOUNTS: TableId = TableId(0);
/// `notes (id bigint, at bigint, body bigint, count bigint, PRIMARY KEY (id, at))`.
pub(crate) const NOTES: TableId = TableId(1);
/// Balances only change by transfers, once an account is open.
pub(crate) const BALANCE: ColumnId = ColumnId(1);
/// Written blindly, in accounts.
pub(crate) const TAG: ColumnId = ColumnId(2);
/// Written in notes.
pub(crate) const BODY: ColumnId = ColumnId(2);
/// Counted up in notes.
pub(crate) const COUNT: ColumnId = ColumnId(3);
/// What an account is opened with.
pub(crate) const OPENING: i64 = 100;
/// How many transactions in a million carry a message.
const MESSAGES_PPM: u32 = 60_000;

/// What kind of transaction a client draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Puts into a few rows without looking.
    Blind,
    /// Moves money between two open accounts, if it is there.
    Transfer,
    /// Adds to a few counters.
    Count,
    /// Inserts rows that must not exist.
    Insert,
    /// Reads rows first, and writes them if they did not change since.
    Versioned,
    /// Deletes rows or columns.
    Delete,
    /// Inserts a note if another does not exist: two of these must not both pass.
    Skew,
    /// Looks only.
    Check,
    /// Adds so much that it may overflow.
    Overflow,
    /// Opens accounts.
    Open,
    /// What another region has sent; no client draws it, nor the next.
    Arrival,
    /// Raises last timestamps.
    Pulse,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Blind,
        Self::Transfer,
        Self::Count,
        Self::Insert,
        Self::Versioned,
        Self::Delete,
        Self::Skew,
        Self::Check,
        Self::Overflow,
        Self::Open,
    ];
}

/// The tables, partitions and rows that there are.
pub(crate) struct Workload {
    pub(crate) shards: u16,
    accounts: Vec<RowKey>,
    notes: Vec<RowKey>,
    weights: [u32; 10],
    hot_ppm: u32,
    written: i64,
    /// Rows are where production has them, as transactions of production are made.
    by_token: bool,
    partitions: u64,
    /// What is delivered, if anything is.
    messages: Option<Messages>,
    /// What is due later, if anything is.
    pub(crate) later: Option<Parts>,
}

pub(crate) fn number(value: i64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

pub(crate) fn as_number(value: &[u8]) -> i64 {
    i64::from_be_bytes(value.try_into().expect("every value of these tables is a bigint"))
}

/// The version of the namespace that is made while it is used; the first is 1.
pub(crate) const NEWER: u32 = 2;

/// The types of both tables, for the shard engine; the same in both versions.
pub(crate) fn schema(plan: &Plan, version: u32) -> Arc<EngineSchema> {
    if let Some(region) = &plan.region {
        return region.schema(plan, version);
    }
    let table = |columns: usize, owned| TableTypes {
        columns: vec![ColumnType::BigInt; columns],
        owned,
        home: None,
    };
    let mut tables = vec![table(3, plan.owned[0]), table(4, plan.owned[1])];
    if plan.later().is_some() {
        tables.push(TableTypes { columns: COLUMNS.to_vec(), owned: true, home: None });
    }
    Arc::new(EngineSchema { version, tables, ..EngineSchema::default() })
}

impl Workload {
    pub(crate) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        let account = |id: u64| RowKey {
            table: ACCOUNTS,
            partition: number(id as i64),
            clustering: Bytes::new(),
        };
        let note = |id: u64, at: u64| {
            let mut clustering = 8u32.to_be_bytes().to_vec();
            clustering.extend_from_slice(&(at as i64).to_be_bytes());
            RowKey { table: NOTES, partition: number(id as i64), clustering: clustering.into() }
        };
        let pairs = (0..plan.partitions).flat_map(|id| (0..plan.depth).map(move |at| (id, at)));
        Self {
            shards: plan.shards,
            accounts: (0..plan.partitions).map(account).collect(),
            notes: pairs.map(|(id, at)| note(id, at)).collect(),
            weights: plan.weights,
            hot_ppm: *rng.pick(&[0, 300_000, 700_000]),
            written: 0,
            by_token: plan.region.is_some(),
            partitions: plan.partitions,
            messages: plan.deliveries.as_ref().map(Messages::new),
            later: plan.later().map(Parts::new),
        }
    }

    /// The shard of a row. Neighbouring partitions are on different shards.
    pub(crate) fn shard_of(&self, key: &RowKey) -> ShardId {
        if self.by_token {
            return Token::of(&key.partition).shard(self.shards);
        }
        if key.table == LATER {
            return ShardId((xxh3_64(&key.partition) % u64::from(self.shards)) as u16);
        }
        ShardId((as_number(&key.partition) as u64 % u64::from(self.shards)) as u16)
    }

    pub(crate) fn draw_kind(&self, rng: &mut Rng) -> Kind {
        let total: u32 = self.weights.iter().sum();
        if total == 0 {
            return *rng.pick(&Kind::ALL);
        }
        let mut left = rng.below(u64::from(total)) as u32;
        for (kind, weight) in Kind::ALL.iter().zip(self.weights) {
            if left < weight {
                return *kind;
            }
            left -= weight;
        }
        Kind::Blind
    }

    /// Between 1 and `most` different rows.
    pub(crate) fn draw_rows(&self, rng: &mut Rng, most: u64, from: Option<TableId>) -> Vec<RowKey> {
        let mut keys = Vec::new();
        for _ in 0..rng.range(1..most + 1) {
            let accounts = match from {
                Some(table) => table == ACCOUNTS,
                None => rng.chance(400_000),
            };
            let list = if accounts { &self.accounts } else { &self.notes };
            let index = if rng.chance(self.hot_ppm) { 0 } else { rng.index(list.len()) };
            keys.push(list[index].clone());
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// A value that nobody else writes.
    fn unique(&mut self) -> Bytes {
        self.written += 1;
        number(self.written)
    }

    fn write_column(key: &RowKey) -> ColumnId {
        if key.table == ACCOUNTS { TAG } else { BODY }
    }

    fn put(&mut self, key: &RowKey, insert: bool) -> WriteOp {
        let column = Self::write_column(key);
        WriteOp::Cells { insert, cells: vec![CellOp::Put { column, value: self.unique() }] }
    }

    fn add(column: ColumnId, delta: i64) -> WriteOp {
        WriteOp::Cells { insert: false, cells: vec![CellOp::Add { column, delta: number(delta) }] }
    }

    /// What a transaction of this kind does. `seen` are rows read before, for `Versioned`.
    pub(crate) fn draw_ops(
        &mut self,
        rng: &mut Rng,
        kind: Kind,
        seen: &[(RowKey, Row)],
    ) -> Vec<RowOp> {
        let mut draft = Draft::default();
        match kind {
            Kind::Blind => {
                for key in self.draw_rows(rng, 5, None) {
                    let insert = rng.coin();
                    draft.row(key.clone(), [], self.put(&key, insert));
                }
            }
            Kind::Transfer => self.draw_transfer(rng, &mut draft),
            Kind::Count => {
                for key in self.draw_rows(rng, 3, Some(NOTES)) {
                    draft.row(key, [], Self::add(COUNT, 1));
                }
            }
            Kind::Insert => {
                for key in self.draw_rows(rng, 3, Some(NOTES)) {
                    draft.row(key.clone(), [ConditionKind::NotExists], self.put(&key, true));
                }
            }
            Kind::Versioned => {
                for (key, row) in seen {
                    let only_looks = draft.rows.len() > 1 && rng.coin();
                    let write = if only_looks { WriteOp::None } else { self.put(key, false) };
                    draft.row(key.clone(), [ConditionKind::Version(row.version())], write);
                }
            }
            Kind::Delete => self.draw_deletes(rng, &mut draft),
            Kind::Skew => self.draw_skew(rng, &mut draft),
            Kind::Check => {
                for key in self.draw_rows(rng, 3, None) {
                    let column = Self::write_column(&key);
                    let kind = match rng.below(4) {
                        0 => ConditionKind::Exists,
                        1 => ConditionKind::NotExists,
                        2 => ConditionKind::Compare { column, op: CompareOp::Ne, value: None },
                        _ => ConditionKind::In { column, values: (1..40).map(number).collect() },
                    };
                    draft.row(key, [kind], WriteOp::None);
                }
            }
            Kind::Overflow => {
                for key in self.draw_rows(rng, 2, Some(NOTES)) {
                    draft.row(key, [], Self::add(COUNT, i64::MAX - 2 - rng.below(4) as i64));
                }
            }
            Kind::Open => {
                for key in self.draw_rows(rng, 4, Some(ACCOUNTS)) {
                    let open = WriteOp::Cells {
                        insert: true,
                        cells: vec![CellOp::Put { column: BALANCE, value: number(OPENING) }],
                    };
                    let closed =
                        ConditionKind::Compare { column: BALANCE, op: CompareOp::Eq, value: None };
                    draft.row(key, [closed], open);
                }
            }
            Kind::Arrival | Kind::Pulse => {}
        }
        if let Some(messages) = self.messages {
            for (key, write) in messages.draw(rng, self.partitions, &mut self.written) {
                draft.row(key, [], write);
            }
        } else if rng.chance(MESSAGES_PPM) {
            self.draw_message(rng, &mut draft);
        }
        if let Some(mut later) = self.later.take() {
            if let Some((key, condition, write)) = later.draw(rng, |rng| self.draw_body(rng)) {
                draft.row(key, condition, write);
            }
            self.later = Some(later);
        }
        draft.rows.sort_by(|a, b| a.key.cmp(&b.key));
        draft.rows
    }

    /// What is done later.
    fn draw_body(&mut self, rng: &mut Rng) -> Vec<RowOp> {
        let mut draft = Draft::default();
        for key in self.draw_rows(rng, 3, None) {
            // Some cannot be done when they are due.
            let condition = rng.chance(150_000).then_some(ConditionKind::NotExists);
            draft.row(key.clone(), condition, self.put(&key, false));
        }
        draft.rows
    }

    /// What time it is, for whoever schedules something.
    pub(crate) fn tell_time(&mut self, now: Millis) {
        if let Some(later) = &mut self.later {
            later.now = now;
        }
    }

    /// A message, often of a key that others use.
    fn draw_message(&mut self, rng: &mut Rng, draft: &mut Draft) {
        let partition = rng.pick(&self.notes).partition.clone();
        let key = RowKey { table: MESSAGES, partition, clustering: Bytes::new() };
        let cells = vec![CellOp::Put { column: ColumnId(0), value: self.unique() }];
        draft.row(key, [], WriteOp::Cells { insert: true, cells });
    }

    fn draw_transfer(&mut self, rng: &mut Rng, draft: &mut Draft) {
        let mut keys = self.draw_rows(rng, 2, Some(ACCOUNTS));
        if keys.len() < 2 {
            let other = self.accounts[rng.index(self.accounts.len())].clone();
            keys.push(other);
            keys.dedup();
        }
        if keys.len() == 2 && rng.coin() {
            keys.swap(0, 1);
        }
        let amount = 1 + rng.below(60) as i64;
        let enough = ConditionKind::Compare {
            column: BALANCE,
            op: CompareOp::Ge,
            value: Some(number(amount)),
        };
        let open = ConditionKind::Compare { column: BALANCE, op: CompareOp::Ne, value: None };
        let mut keys = keys.into_iter();
        if let (Some(from), Some(to)) = (keys.next(), keys.next()) {
            draft.row(from, [enough], Self::add(BALANCE, -amount));
            draft.row(to, [open], Self::add(BALANCE, amount));
        } else {
            draft.row(self.notes[0].clone(), [], Self::add(COUNT, 1));
        }
    }

    fn draw_deletes(&mut self, rng: &mut Rng, draft: &mut Draft) {
        for key in self.draw_rows(rng, 3, None) {
            let conditions = rng.coin().then_some(ConditionKind::Exists);
            let column = Self::write_column(&key);
            // Rows with money are not deleted whole: their sum is checked.
            let write = if key.table == NOTES && rng.coin() {
                WriteOp::DeleteRow
            } else {
                WriteOp::Cells { insert: false, cells: vec![CellOp::Delete { column }] }
            };
            draft.row(key, conditions, write);
        }
    }

    fn draw_skew(&mut self, rng: &mut Rng, draft: &mut Draft) {
        let a = self.notes[rng.index(self.notes.len())].clone();
        let b = self.notes[rng.index(self.notes.len())].clone();
        let kind = if rng.coin() { ConditionKind::NotExists } else { ConditionKind::Exists };
        if a == b {
            draft.row(a.clone(), [kind], self.put(&a, true));
        } else {
            draft.row(a, [kind], WriteOp::None);
            let write = if rng.coin() { self.put(&b, true) } else { WriteOp::DeleteRow };
            draft.row(b, [], write);
        }
    }

    /// Blind puts into every row, for the end: they commit only if no lock is left. Each reaches over
    /// two partitions.
    pub(crate) fn probes(&mut self) -> Vec<Vec<RowOp>> {
        let accounts = self.accounts.clone();
        let notes = self.notes.clone();
        let count = accounts.len();
        (0..count)
            .map(|index| {
                let own = notes.iter().filter(|note| note.partition == accounts[index].partition);
                let mut keys = vec![accounts[index].clone(), accounts[(index + 1) % count].clone()];
                keys.extend(own.cloned());
                keys.sort();
                keys.dedup();
                let mut draft = Draft::default();
                for key in keys {
                    let write = self.put(&key, false);
                    draft.row(key, [], write);
                }
                draft.rows
            })
            .collect()
    }

    /// Routes rows to their shards and names the whole.
    pub(crate) fn transaction(
        &self,
        namespace_version: u32,
        id: TxnId,
        fingerprint: u128,
        ops: Vec<RowOp>,
    ) -> Transaction {
        let mut parts: Vec<(ShardId, Vec<RowOp>)> = Vec::new();
        for op in ops {
            let shard = self.shard_of(&op.key);
            match parts.binary_search_by_key(&shard, |(shard, _)| *shard) {
                Ok(index) => parts[index].1.push(op),
                Err(index) => parts.insert(index, (shard, vec![op])),
            }
        }
        Transaction {
            id,
            fingerprint: Fingerprint(fingerprint),
            namespace_version,
            parts: parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect(),
        }
    }
}

/// The rows of a transaction being drawn; numbers its conditions.
#[derive(Default)]
struct Draft {
    rows: Vec<RowOp>,
    conditions: u32,
}

impl Draft {
    fn row(
        &mut self,
        key: RowKey,
        conditions: impl IntoIterator<Item = ConditionKind>,
        write: WriteOp,
    ) {
        let mut numbered = Vec::new();
        for kind in conditions {
            numbered.push(Condition { index: self.conditions, kind });
            self.conditions += 1;
        }
        self.rows.push(RowOp { key, conditions: numbered, write });
    }
}
