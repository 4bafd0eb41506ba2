//! Delivery to tables of another keyspace or another cluster: each message writes a row.
//!
//! # The message
//!
//! Its payload is one mutation as in a batch ([`wal_core::json`]), of a table that is declared for the target:
//!
//! | payload | writes |
//! |---|---|
//! | `{"put": {"table": …, "key": {…}, "columns": {…}}}` | columns; null deletes one |
//! | `{"insert": {"table": …, "key": {…}, "columns": {…}}}` | columns, and that the row exists; none are needed |
//! | `{"delete": {"table": …, "key": {…}, "columns": […]}}` | that columns are gone; without `columns`, that the row is |
//!
//! An `add` fails for good: a repeat would add again. A table has no place for anything else: key, content type,
//! headers and name of the message do not go with the row.
//!
//! # A repeat
//!
//! changes nothing, however late it comes, because everything is written with the commit timestamp of the message's
//! transaction as its write time, and the last write wins: nobody need tell it from the first, so that names do
//! not go with rows (clause 3 has nothing to tell). Neither does it matter in which order the messages of a row
//! arrive: those of different keys leave the same behind. Between two of one transaction a deletion wins, then
//! the greater value.
//!
//! # The answer
//!
//! | answer | is | because |
//! |---|---|---|
//! | the store has applied it | delivered | there is nothing more to do |
//! | the payload is no mutation; unknown table or column, value of another type; the store refuses it | permanent | it will never be taken as it is |
//! | the store cannot be opened: away, no login, tables that are not as declared | overloaded | so it is for every message |
//! | the store takes nothing for now | overloaded | it says so |
//! | any other failure, no answer in time | transient | it may be about this row: its replicas are away |
//!
//! # A future that is dropped
//!
//! ends its try if that has not begun. A call of the store cannot be taken back: what has begun may still be
//! applied, and, as any late repeat, overwrites nothing that is newer.

mod door;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use participant::store::{StoreError, TableStore};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use wal_core::namespace::Namespace;

use self::door::Door;
use super::{Later, Target, TargetError};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;

/// The target as a whole takes nothing.
const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };

/// Opens the store, or says why it cannot be opened. Blocks. Tried again for as long as it fails.
pub type OpenTables = Box<dyn Fn() -> Result<Arc<dyn TableStore>, String> + Send + Sync>;

/// Options of a [`TableTarget`].
pub struct TableOptions {
    /// The tables, as [`TargetPlace::Table`](wal_core::namespace::TargetPlace::Table) has them.
    pub tables: Arc<Namespace>,
    /// How they are opened, which is done when the first message comes.
    pub open: OpenTables,
    /// Rows that may be on their way at once, at least 1, each on a thread. More wait for half of the time-out,
    /// and then say that the target is overloaded.
    pub max_requests: usize,
    /// How long a try may take. More than 0.
    pub timeout: Duration,
}

impl fmt::Debug for TableOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableOptions").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// A target of tables. See the module.
pub struct TableTarget {
    tables: Arc<Namespace>,
    door: Arc<Door>,
    turns: Arc<Semaphore>,
    max_requests: usize,
    timeout: Duration,
}

impl fmt::Debug for TableTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableTarget").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// A call of the store on a thread of its own; one that has not begun never does once nobody waits for it.
struct Call(JoinHandle<Result<(), StoreError>>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TableTarget {
    /// Prepares the target; opens nothing yet.
    ///
    /// # Errors
    /// [`TargetError`] says which option cannot be as it is, and what to write instead.
    pub fn new(options: TableOptions) -> Result<Self, TargetError> {
        let TableOptions { tables, open, max_requests, timeout } = options;
        let setting = |name: &str, why: &str| TargetError::Setting {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        if timeout.is_zero() {
            return Err(setting("the time-out", "a try takes some time; give it 10 s"));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&max_requests) {
            return Err(setting("the number of requests at once", "write 1 or more"));
        }
        Ok(Self {
            tables,
            door: Arc::new(Door::new(open)),
            turns: Arc::new(Semaphore::new(max_requests)),
            max_requests,
            timeout,
        })
    }

    async fn deliver(&self, outgoing: Outgoing) -> Answer {
        match self.try_once(&outgoing).await {
            Ok(()) => Answer::Delivered,
            Err((class, text)) => Answer::Failed(Failure { class, text: text.into() }),
        }
    }

    async fn try_once(&self, outgoing: &Outgoing) -> Result<(), (ErrorClass, String)> {
        let mutation =
            row::of(&self.tables, outgoing).map_err(|why| (ErrorClass::Permanent, why))?;
        let began = Instant::now();
        let end = began + self.timeout;
        let store = match timeout_at(end, self.door.store()).await {
            Ok(opened) => opened.map_err(|why| (AWAY, why.to_string()))?,
            Err(_) => {
                let text = format!("the tables are not open within {:?}", self.timeout);
                return Err((AWAY, text));
            }
        };
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(turn) = timeout_at(began + self.timeout / 2, turn).await else {
            let text = format!("{} rows are on their way already", self.max_requests);
            return Err((AWAY, text));
        };
        let turn = turn.expect("nobody closes it");
        let mut call = Call(tokio::task::spawn_blocking(move || {
            let _turn = turn; // as long as the thread is at work, also if nobody waits for it any more
            store.apply(&[mutation])
        }));
        match timeout_at(end, &mut call.0).await {
            Ok(Ok(applied)) => applied.map_err(judge),
            Ok(Err(error)) => match error.try_into_panic() {
                // Whoever sends says what a target is that panics.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err((ErrorClass::Transient, "this process stops".to_owned())),
            },
            Err(_) => {
                Err((ErrorClass::Transient, format!("not applied within {:?}", self.timeout)))
            }
        }
    }
}

/// What the store's failure is, and what to say of it.
fn judge(error: StoreError) -> (ErrorClass, String) {
    match error {
        StoreError::Refused(mut refused) if !refused.is_empty() => {
            (ErrorClass::Permanent, refused.swap_remove(0).why)
        }
        error @ StoreError::Overloaded { .. } => (AWAY, error.to_string()),
        // A refusal that names nothing, too: it is not known to be this row's.
        error @ (StoreError::Refused(_) | StoreError::Transient { .. }) => {
            (ErrorClass::Transient, error.to_string())
        }
    }
}

impl Target for TableTarget {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(self.deliver(outgoing))
    }
}
