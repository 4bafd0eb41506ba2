//! What deliveries keep, and what is due when: the ports [`Store`] and [`Index`] on the same database.
//!
//! Three locks make its promises hold on both databases, whose transactions see each other differently:
//!
//! * whatever is said under a generation first writes to the course's row, if that still has this generation
//!   ([`fence`]). So a claim comes before all of it or behind all of it;
//! * whatever changes the dead letters of a namespace first raises a number of that namespace
//!   ([`take_turn`]). So they change one transaction after another;
//! * whatever changes what is due in a namespace raises another number of it.
//!
//! The first statement of each transaction writes: on SQLite one that only looked first might not write any more.

mod courses;
mod delays;
mod filter;
mod letters;
mod text;
mod wishes;

use std::sync::Arc;

use delivery::schedule::{self, Entry, EntryCount, Index, Noted};
use delivery::{
    Burial, Chosen, Claim, Course, DeadLetter, LetterCount, LetterPlace, Mark, Name, Owner,
    Redriven, Selection, Store, StoreError, Stored, Wish,
};
use sqlx::{Any, Transaction};
use tokio::sync::MutexGuard;
use uuid::Uuid;
use wal_core::Millis;

use self::letters::{Page, Read};
use crate::error::is_unreachable;
use crate::plane::ControlPlane;

pub use filter::MAX_NAMES;

/// Why a question was not answered.
#[derive(Debug)]
enum Problem {
    /// The database failed.
    Database(sqlx::Error),
    /// What is stored is not what this program stores.
    Damaged(String),
    /// It is beyond what can be asked or kept.
    Beyond(String),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Problem {
    /// As it is told: which database, what happened.
    fn told(&self, address: &str) -> StoreError {
        StoreError(match self {
            Self::Database(error) if is_unreachable(error) => {
                format!("cannot reach the control database {address}: {error}")
            }
            Self::Database(error) => format!("the control database {address} failed: {error}"),
            Self::Damaged(what) => format!("the control database {address} is damaged: {what}"),
            Self::Beyond(what) => what.clone(),
        })
    }
}

impl ControlPlane {
    /// Waits for the turn to change dead letters. They change one after another anyway: who waits here has no
    /// connection meanwhile, which a beat or a mark may need.
    async fn letters_turn(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// The answer to come, with any problem told.
    fn later<'a, T>(
        &'a self,
        answer: impl Future<Output = Result<T, Problem>> + Send + 'a,
    ) -> Stored<'a, T> {
        Box::pin(async move { answer.await.map_err(|problem| problem.told(&self.address)) })
    }
}

impl Store for ControlPlane {
    fn beat(&self, process: Uuid) -> Stored<'_, Vec<(Uuid, u64)>> {
        self.later(courses::beat(self, process))
    }

    fn leave(&self, process: Uuid) -> Stored<'_, ()> {
        self.later(courses::leave(self, process))
    }

    fn owners(&self, namespace: &str) -> Stored<'_, Vec<Owner>> {
        self.later(courses::owners(&self.pool, namespace.into()))
    }

    fn claim(&self, course: Course, process: Uuid, generation: u64) -> Stored<'_, Option<Claim>> {
        self.later(courses::claim(self, course, process, generation))
    }

    fn release(&self, course: Course, generation: u64) -> Stored<'_, ()> {
        self.later(courses::release(self, course, generation))
    }

    fn mark(&self, marks: Vec<(Course, u64, Mark)>) -> Stored<'_, Vec<bool>> {
        self.later(courses::mark(self, marks))
    }

    fn bury(&self, letter: DeadLetter, generation: u64, limit: u64) -> Stored<'_, Burial> {
        self.later(letters::bury(self, letter, generation, limit))
    }

    fn letters(
        &self,
        namespace: &str,
        selection: Selection,
        after: Option<LetterPlace>,
        limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>> {
        let page = Page { selection, after, limit };
        self.later(letters::list(&self.pool, namespace.into(), page, Read::Whole))
    }

    fn outlines(
        &self,
        namespace: &str,
        selection: Selection,
        after: Option<LetterPlace>,
        limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>> {
        let page = Page { selection, after, limit };
        self.later(letters::list(&self.pool, namespace.into(), page, Read::Outline))
    }

    fn count_chosen(&self, namespace: &str, selection: Selection) -> Stored<'_, Chosen> {
        self.later(letters::count_chosen(&self.pool, namespace.into(), selection))
    }

    fn count(&self, namespace: &str) -> Stored<'_, Vec<LetterCount>> {
        self.later(letters::count(&self.pool, namespace.to_owned()))
    }

    fn wish(&self, namespace: &str, selection: Selection, wish: Wish) -> Stored<'_, u64> {
        self.later(wishes::wish(self, Arc::from(namespace), selection, wish))
    }

    fn redriving(&self, course: Course, limit: u32) -> Stored<'_, Vec<DeadLetter>> {
        self.later(letters::redriving(&self.pool, course, limit))
    }

    fn redriven(
        &self,
        course: Course,
        generation: u64,
        name: Name,
        how: Redriven,
    ) -> Stored<'_, ()> {
        self.later(wishes::redriven(self, course, generation, name, how))
    }
}

impl Index for ControlPlane {
    fn note(&self, namespace: &str, changes: Vec<Noted>) -> Stored<'_, ()> {
        self.later(delays::note(self, namespace.to_owned(), changes))
    }

    fn entries(
        &self,
        namespace: &str,
        filter: schedule::Filter,
        after: Option<(Millis, Name)>,
        limit: u32,
    ) -> Stored<'_, Vec<Entry>> {
        self.later(delays::entries(&self.pool, namespace.to_owned(), filter, after, limit))
    }

    fn count(&self, namespace: &str) -> Stored<'_, EntryCount> {
        self.later(delays::count(&self.pool, namespace.to_owned()))
    }
}

/// Whether the course's generation is still this one; if so, it is until the end of the transaction. What is
/// written is what was there: both databases lock what a statement writes, and PostgreSQL alone can lock what
/// one reads.
async fn fence(
    txn: &mut Transaction<'_, Any>,
    course: &Course,
    generation: u64,
) -> Result<bool, Problem> {
    let held = sqlx::query(
        "UPDATE deliveries SET generation = generation \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND generation = $4",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(text::at_most(generation))
    .execute(&mut **txn)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// What changes one transaction after another: the table that counts the changes of each namespace.
#[derive(Clone, Copy, Debug)]
enum Turn {
    DeadLetters,
    Delays,
}

/// The first statement of whatever changes the dead letters of a namespace, or what is due in it. What a statement
/// over many rows locks first is the database's choice: without this, two of them might each have what the other
/// waits for.
async fn take_turn(
    txn: &mut Transaction<'_, Any>,
    turn: Turn,
    namespace: &str,
) -> Result<(), Problem> {
    let statement = match turn {
        Turn::DeadLetters => {
            "INSERT INTO dead_letter_changes (namespace, changes) VALUES ($1, 1) \
             ON CONFLICT (namespace) DO UPDATE SET changes = dead_letter_changes.changes + 1"
        }
        Turn::Delays => {
            "INSERT INTO delay_changes (namespace, changes) VALUES ($1, 1) \
             ON CONFLICT (namespace) DO UPDATE SET changes = delay_changes.changes + 1"
        }
    };
    sqlx::query(statement).bind(namespace).execute(&mut **txn).await?;
    Ok(())
}
