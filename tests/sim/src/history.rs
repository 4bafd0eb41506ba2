//! What clients did and what they were told.

use std::sync::Arc;

use wal_core::{AbortReason, Row, RowKey, Timestamp, Transaction};

use crate::failure::{Failure, ensure};
use crate::workload::Kind;

/// What a client was told for good.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is committed.
    Committed(Timestamp),
    /// It will never commit.
    Aborted(AbortReason),
    /// A shard knew its id for other content at that moment. That is no outcome: if the other content
    /// came to nothing, this may commit yet.
    IdReused,
    /// Its id may have been forgotten.
    TooOld,
}

/// One transaction, over all its submissions.
pub(crate) struct TxnHistory {
    pub(crate) txn: Arc<Transaction>,
    pub(crate) kind: Kind,
    /// What the client wanted done: it must be done at most once. (The index of its first transaction.)
    pub(crate) operation: usize,
    /// When it was first sent; `u64::MAX` before.
    pub(crate) first_sent_us: u64,
    /// When somebody was first told the outcome.
    pub(crate) told_us: Option<u64>,
    /// Somebody was told that it is durable and will be driven.
    pub(crate) logged: bool,
    /// Somebody asked that it never commit.
    pub(crate) fenced: bool,
    /// How often it was submitted.
    pub(crate) sent: u32,
    pub(crate) verdict: Option<Verdict>,
    /// A client was told that its id is from the future: it may yet commit, or never.
    pub(crate) from_future: bool,
    /// A client was told that there was no room, or no leader, and that nothing was logged.
    pub(crate) denied: bool,
    /// A message that carries it was repeated by the network.
    pub(crate) repeated: bool,
    /// One of the writes at the end, which must commit.
    pub(crate) probe: bool,
    /// Another transaction with the same id, or -1.
    pub(crate) twin: Option<usize>,
}

/// One read that was answered with rows.
pub(crate) struct ReadHistory {
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
    pub(crate) keys: Vec<RowKey>,
    pub(crate) rows: Vec<Row>,
}

/// Everything that clients did.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) txns: Vec<TxnHistory>,
    pub(crate) reads: Vec<ReadHistory>,
}

impl History {
    /// Adds a transaction; gives its index.
    pub(crate) fn add(&mut self, txn: Transaction, kind: Kind, twin: Option<usize>) -> usize {
        let index = self.txns.len();
        self.txns.push(TxnHistory {
            txn: Arc::new(txn),
            kind,
            operation: index,
            first_sent_us: u64::MAX,
            told_us: None,
            logged: false,
            fenced: false,
            sent: 0,
            verdict: None,
            from_future: false,
            denied: false,
            repeated: false,
            probe: false,
            twin,
        });
        if let Some(other) = twin {
            self.txns[other].twin = Some(index);
        }
        index
    }

    /// Notes what somebody was told; what was told before must not change.
    pub(crate) fn tell(
        &mut self,
        index: usize,
        at_us: u64,
        verdict: Verdict,
    ) -> Result<(), Failure> {
        let txn = &mut self.txns[index];
        let final_now = matches!(verdict, Verdict::Committed(_) | Verdict::Aborted(_));
        match (&txn.verdict, &verdict) {
            (Some(Verdict::Committed(_) | Verdict::Aborted(_)), Verdict::TooOld) => return Ok(()),
            (Some(Verdict::TooOld | Verdict::IdReused) | None, _) => {}
            // Of two contents under one id, none may have been told exactly why it is not the one.
            (Some(old), new)
                if txn.twin.is_some()
                    && !matches!(old, Verdict::Committed(_))
                    && !matches!(new, Verdict::Committed(_)) =>
            {
                return Ok(());
            }
            (Some(old), new) => {
                ensure!(old == new, TwoAnswers, "{}: first {old:?}, then {new:?}", txn.txn.id);
            }
        }
        if final_now {
            txn.told_us.get_or_insert(at_us);
        }
        txn.verdict = Some(verdict);
        Ok(())
    }
}
