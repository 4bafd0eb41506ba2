//! What clients do, and what must hold of it.

pub(crate) mod append;
mod bank;
mod counter;
mod set;

use clap::ValueEnum;
use handfast_checker::Value;
use handfast_client::{Key, Row, Transaction};
use rand::rngs::StdRng;

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Transfers between accounts: the total never changes, and every transfer has its row or none of it
    Bank,
    /// Increments of one hot row: its value is the number of those that committed
    Counter,
    /// Insertions of pairs of rows: every acknowledged one is there, and never half of it
    Set,
    /// Lists that are read and appended to, several in one transaction: strictly serializable
    Append,
}

impl Kind {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Append => "append",
        }
    }

    pub(crate) fn workload(self) -> Box<dyn Workload> {
        match self {
            Self::Bank => Box::new(bank::Bank),
            Self::Counter => Box::new(counter::Counter),
            Self::Set => Box::<set::Set>::default(),
            Self::Append => Box::<append::Append>::default(),
        }
    }
}

/// What one client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The operation's name in the history.
    pub(crate) f: &'static str,
    pub(crate) detail: Detail,
    /// The rows that it reads first, at one point.
    pub(crate) rows: Vec<(&'static str, Key)>,
    /// What it writes, if that does not depend on what it reads.
    pub(crate) transaction: Option<Transaction>,
}

/// What a task is about, for its own workload.
#[derive(Clone, Debug)]
pub(crate) enum Detail {
    /// Everything is read.
    All,
    /// Money moves.
    Transfer { from: usize, to: usize, amount: i64 },
    /// The counter grows.
    Add(i64),
    /// Elements are inserted or read.
    Elements(Vec<i64>),
    /// Lists are read and appended to.
    Micros(Vec<Micro>),
}

/// A part of a list transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Micro {
    Read(i64),
    Append(i64, i64),
}

/// What became of a task, once that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It wrote, and committed at this time.
    Committed(i64),
    /// It only read.
    Read,
    /// It did not happen.
    Failed,
}

/// A task that is over.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) task: Task,
    /// When it was asked for, nanoseconds since the run began.
    pub(crate) invoked: u64,
    /// When it was certain.
    pub(crate) completed: u64,
    /// What it read.
    pub(crate) rows: Vec<Row>,
    /// What it submitted.
    pub(crate) transaction: Option<Transaction>,
    pub(crate) end: End,
}

impl Done {
    pub(crate) fn has_happened(&self) -> bool {
        match self.end {
            End::Committed(_) | End::Read => true,
            End::Failed => false,
        }
    }

    pub(crate) fn has_committed(&self) -> bool {
        matches!(self.end, End::Committed(_))
    }
}

/// A workload.
pub(crate) trait Workload: Send + Sync {
    /// The namespace's tables, as a namespace file without its name.
    fn tables(&self) -> &'static str;
    /// The namespace's name.
    fn namespace(&self) -> &'static str {
        "jepsen"
    }
    /// What is written before the clients begin.
    fn open(&self) -> Vec<Transaction> {
        Vec::new()
    }
    /// What a client asks next.
    fn next(&self, rng: &mut StdRng) -> Task;
    /// Reads of everything, after the faults.
    fn last(&self, ran: &[Done]) -> Vec<Task>;
    /// What a task writes, given what it read.
    fn then(&self, _task: &Task, _rows: &[Row]) -> Option<Transaction> {
        None
    }
    /// The task as the history shows it, with what it read if it has.
    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value;
    /// What does not hold of the tasks. `last` are the ends of the tasks of [`Workload::last`].
    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String>;
}
