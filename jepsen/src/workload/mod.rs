//! What clients do, and what must hold of it.

mod append;
mod bank;
mod counter;
mod delayed;
mod deliveries;
mod read_skew;
mod regions;
mod register;
mod set;

use std::pin::Pin;
use std::time::Duration;

use handfast_checker::{Model, Value};
use handfast_client::{ArrivedFrom, Client, Key, Row, Transaction};
use rand::rngs::StdRng;

use crate::ground::Place;

/// What is there later.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lists that are read and appended to, several in one transaction.
    ListAppend,
    /// Registers that are read, written, or both, several in one transaction.
    Register,
    /// Transfers between accounts.
    Bank,
    /// Insertions of pairs of rows.
    Set,
    /// Pairs of rows that are always equal.
    ReadSkew,
    /// Increments of one hot row.
    HotCounter,
    /// What is done later.
    Delayed,
    /// Messages to an endpoint that refuses some of them.
    Deliveries,
    /// Rows that are written in two regions.
    Regions,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ListAppend,
        Self::Register,
        Self::Bank,
        Self::Set,
        Self::ReadSkew,
        Self::HotCounter,
        Self::Delayed,
        Self::Deliveries,
        Self::Regions,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListAppend => "list-append",
            Self::Register => "register",
            Self::Bank => "bank",
            Self::Set => "set",
            Self::ReadSkew => "read-skew",
            Self::HotCounter => "hot-counter",
            Self::Delayed => "delayed",
            Self::Deliveries => "deliveries",
            Self::Regions => "regions",
        }
    }

    /// What must hold of it, for `--help`.
    pub const fn help(self) -> &'static str {
        match self {
            Self::ListAppend => "lists read and appended to: strictly serializable",
            Self::Register => "registers read and written, blindly too: strictly serializable",
            Self::Bank => "transfers: the total never changes, each has its row or nothing of it",
            Self::Set => "pairs of rows inserted: every acknowledged one is there, and never half",
            Self::ReadSkew => "pairs of rows written at once: never read unequal, never stale",
            Self::HotCounter => "increments of one row: its value is the number that committed",
            Self::Delayed => "what is due later: never early, never twice, never lost or half",
            Self::Deliveries => {
                "messages: taken or dead letters, in order of their key, none if aborted"
            }
            Self::Regions => "two regions: whole transactions up to a watermark, equal in the end",
        }
    }

    /// Whether it can be run there. An endpoint and a second region are on this machine's own network, which the
    /// servers of a cluster do not share.
    pub const fn is_on(self, place: Place) -> bool {
        !matches!((self, place), (Self::Deliveries | Self::Regions, Place::Cluster))
    }

    /// The workload, in a namespace that nobody else writes to, on servers whose clocks may be so far ahead.
    pub(crate) async fn workload(
        self,
        namespace: String,
        ahead: Duration,
    ) -> anyhow::Result<Box<dyn Workload>> {
        Ok(match self {
            Self::ListAppend => Box::new(append::Append::new(namespace)),
            Self::Register => Box::new(register::Register::new(namespace)),
            Self::Bank => Box::new(bank::Bank { namespace }),
            Self::Set => Box::new(set::Set::new(namespace)),
            Self::ReadSkew => Box::new(read_skew::ReadSkew::new(namespace)),
            Self::HotCounter => Box::new(counter::Counter { namespace }),
            Self::Delayed => Box::new(delayed::Delayed::new(namespace, ahead)),
            Self::Deliveries => Box::new(deliveries::Deliveries::start(namespace).await?),
            Self::Regions => Box::new(regions::Regions::new(namespace)),
        })
    }
}

/// How often something happened.
pub(crate) type Figure = (&'static str, usize);

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
    /// Registers are read and written.
    Registers(Vec<RegisterMicro>),
    /// Pairs are read.
    Pairs(Vec<i64>),
    /// Both rows of these pairs get this value.
    WritePairs(Vec<i64>, i64),
    /// Something is to be done later.
    Schedule(Scheduled),
    /// What is due later is changed.
    Change(Change),
    /// An order, and messages about it.
    Order(i64, Vec<deliveries::Sent>),
    /// Rows are written or read in a region.
    InRegion(regions::InRegion),
}

/// What is to be done later, of a key that nothing else is done of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheduled {
    pub(crate) key: i64,
    /// Milliseconds since 1970.
    pub(crate) due_ms: u64,
    /// Whether something is written at once, too.
    pub(crate) with_order: bool,
}

/// A change of what is due later. It is asked for by a call of its own, under the id of the task's transaction.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: i64,
    /// Which, as `ID/PLACE`.
    pub(crate) name: String,
    /// When it is due then, milliseconds since 1970; `None` cancels it.
    pub(crate) due_ms: Option<u64>,
}

/// A part of a list transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Micro {
    Read(i64),
    Append(i64, i64),
}

/// A part of a register transaction: reads of a register come before its write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RegisterMicro {
    Read(i64),
    Write(i64, i64),
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
    /// What had arrived from other regions when it read, if that was asked.
    pub(crate) arrived: Vec<ArrivedFrom>,
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
    fn tables(&self) -> &str;
    /// The namespace's name.
    fn namespace(&self) -> &str;
    /// The regions that the namespace is in; none if its file has no `[region]`. If there are some, the file
    /// ends with that section, and the ground adds to it which region is where.
    fn regions(&self) -> &'static [&'static str] {
        &[]
    }
    /// The number of the region in which a task is asked for.
    fn region(&self, _task: &Task) -> usize {
        0
    }
    /// If a read is to tell what has arrived from other regions: what must have arrived before.
    fn not_before(&self, _task: &Task) -> Option<Vec<ArrivedFrom>> {
        None
    }
    /// What is written before the clients begin.
    fn open(&self) -> Vec<Transaction> {
        Vec::new()
    }
    /// The history begins: times of tasks count from this time of the clients' wall clock, microseconds.
    fn begins(&self, _wall_us: i64) {}
    /// What a client asks next.
    fn next(&self, rng: &mut StdRng) -> Task;
    /// The same of the client in this lane, if it does not do everything.
    fn next_of(&self, _lane: u16, rng: &mut StdRng) -> Task {
        self.next(rng)
    }
    /// A task is over, and it is certain how.
    fn over(&self, _done: &Done) {}
    /// Rows that go by themselves, some time after the faults: everything is read when they are gone, or have
    /// had the time to.
    fn passing(&self, _ran: &[Done]) -> Vec<(&'static str, Key)> {
        Vec::new()
    }
    /// Does what is done once, after the faults and before everything is read, with a client of each region; and
    /// waits until what the servers then do by themselves is done, or could have been.
    fn settle<'a>(
        &'a self,
        _clients: &'a [Client],
        _ran: &'a [Done],
    ) -> Later<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }
    /// Reads of everything, after the faults.
    fn last(&self, ran: &[Done]) -> Vec<Task>;
    /// What a task writes, given what it read.
    fn then(&self, _task: &Task, _rows: &[Row]) -> Option<Transaction> {
        None
    }
    /// The task as the history shows it, with what it read if it has.
    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value;
    /// What the common checker judges it as; `None` if it does not know such histories.
    fn model(&self) -> Option<Model> {
        None
    }
    /// What must have happened for the run to tell anything, beyond what every run counts, and how often it did.
    fn figures(&self, _ran: &[Done]) -> Vec<Figure> {
        Vec::new()
    }
    /// What does not hold of the tasks, beyond what the common checker finds. `last` are the ends of the
    /// tasks of [`Workload::last`].
    fn check(&self, _ran: &[Done], _last: &[Done]) -> Vec<String> {
        Vec::new()
    }
}
