//! Dead letters: stored, listed, counted.

use std::sync::Arc;

use delivery::{
    Burial, Chosen, Course, DeadLetter, LetterCount, LetterPlace, LetterState, Selection,
};
use sqlx::{Any, AnyPool, AssertSqlSafe, FromRow, Transaction};
use wal_core::{Millis, ShardId, Timestamp};

use super::courses::read_ticket;
use super::filter::Filter;
use super::{Problem, Turn, fence, take_turn, text};
use crate::plane::ControlPlane;

/// A dead letter as it is stored.
#[derive(FromRow)]
struct Row {
    target: String,
    shard: i64,
    name: String,
    log: String,
    position: i64,
    ticket_index: i64,
    committed_at_us: i64,
    message_key: String,
    message: String,
    cause: String,
    tries: i64,
    history: String,
    buried_at_ms: i64,
    state: String,
}

impl Row {
    fn read(self, namespace: &Arc<str>) -> Result<DeadLetter, Problem> {
        let shard = ShardId(text::number(self.shard, "a shard")?);
        Ok(DeadLetter {
            course: Course { namespace: namespace.clone(), target: self.target.into(), shard },
            name: text::name(&self.name)?,
            log: text::log(&self.log)?,
            ticket: read_ticket((self.position, self.ticket_index))?,
            timestamp: Timestamp(self.committed_at_us),
            key: text::key(&self.message_key)?,
            message: text::bytes(&self.message, "a message")?,
            cause: text::cause(&self.cause)?,
            tries: text::number(self.tries, "a number of tries")?,
            history: text::history(&self.history)?,
            buried_at: Millis(text::number(self.buried_at_ms, "the time of a burial")?),
            state: text::state(&self.state)?,
        })
    }
}

pub(super) async fn bury(
    plane: &ControlPlane,
    letter: DeadLetter,
    generation: u64,
    limit: u64,
) -> Result<Burial, Problem> {
    let _turn = plane.letters_turn().await;
    let mut txn = plane.pool.begin().await?;
    take_turn(&mut txn, Turn::DeadLetters, &letter.course.namespace).await?;
    let burial = if !fence(&mut txn, &letter.course, generation).await? {
        Burial::Deposed
    } else if is_buried(&mut txn, &letter).await? {
        Burial::Stored
    } else if !count_one_more(&mut txn, &letter, limit).await? {
        Burial::Full
    } else {
        insert(&mut txn, &letter).await?;
        txn.commit().await?;
        return Ok(Burial::Stored);
    };
    txn.rollback().await?;
    Ok(burial)
}

/// Whether it is in the dead letters, or was: a burial may be repeated when somebody has discarded the letter
/// already.
async fn is_buried(txn: &mut Transaction<'_, Any>, letter: &DeadLetter) -> Result<bool, Problem> {
    let (found,): (i64,) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM dead_letters \
                 WHERE namespace = $1 AND target = $2 AND name = $3) \
              + (SELECT COUNT(*) FROM settled_tickets \
                 WHERE namespace = $1 AND target = $2 AND shard = $4 \
                 AND log = $5 AND position = $6 AND ticket_index = $7)",
    )
    .bind(&*letter.course.namespace)
    .bind(&*letter.course.target)
    .bind(text::of_name(letter.name))
    .bind(i64::from(letter.course.shard.0))
    .bind(text::of_log(letter.log))
    .bind(text::exactly(letter.ticket.position.0, "the position")?)
    .bind(i64::from(letter.ticket.index))
    .fetch_one(&mut **txn)
    .await?;
    Ok(found > 0)
}

/// Counts one more letter of a target, if it may have one more.
async fn count_one_more(
    txn: &mut Transaction<'_, Any>,
    letter: &DeadLetter,
    limit: u64,
) -> Result<bool, Problem> {
    if limit == 0 {
        return Ok(false);
    }
    let counted = sqlx::query(
        "INSERT INTO dead_letter_counts (namespace, target, letters, redriving) \
         VALUES ($1, $2, 1, $3) \
         ON CONFLICT (namespace, target) DO UPDATE \
         SET letters = dead_letter_counts.letters + 1, \
             redriving = dead_letter_counts.redriving + excluded.redriving \
         WHERE dead_letter_counts.letters < $4",
    )
    .bind(&*letter.course.namespace)
    .bind(&*letter.course.target)
    .bind(i64::from(letter.state == LetterState::Redriving))
    .bind(text::at_most(limit))
    .execute(&mut **txn)
    .await?;
    Ok(counted.rows_affected() == 1)
}

async fn insert(txn: &mut Transaction<'_, Any>, letter: &DeadLetter) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO dead_letters \
         (namespace, target, shard, name, log, position, ticket_index, committed_at_us, message_key, \
          message, cause, tries, history, buried_at_ms, state) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(&*letter.course.namespace)
    .bind(&*letter.course.target)
    .bind(i64::from(letter.course.shard.0))
    .bind(text::of_name(letter.name))
    .bind(text::of_log(letter.log))
    .bind(text::exactly(letter.ticket.position.0, "the position")?)
    .bind(i64::from(letter.ticket.index))
    .bind(letter.timestamp.0)
    .bind(text::of_key(letter.key.as_ref()))
    .bind(text::of_bytes(&letter.message))
    .bind(text::of_cause(letter.cause))
    .bind(i64::from(letter.tries))
    .bind(text::of_history(&letter.history))
    .bind(text::exactly(letter.buried_at.0, "the time")?)
    .bind(text::of_state(letter.state))
    .execute(&mut **txn)
    .await?;
    Ok(())
}

/// What of letters is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// All of them.
    Whole,
    /// All but their messages.
    Outline,
}

impl Read {
    /// What is selected as the message.
    const fn message(self) -> &'static str {
        match self {
            Self::Whole => "message",
            Self::Outline => "'' AS message",
        }
    }
}

/// Which letters, and from where on.
pub(super) struct Page {
    pub(super) selection: Selection,
    pub(super) after: Option<LetterPlace>,
    pub(super) limit: u32,
}

pub(super) async fn list(
    pool: &AnyPool,
    namespace: Arc<str>,
    page: Page,
    read: Read,
) -> Result<Vec<DeadLetter>, Problem> {
    let Page { selection, after, limit } = page;
    let mut filter = Filter::new(&namespace, &selection)?;
    if let Some(LetterPlace { buried_at, name, target }) = after {
        let buried_at = text::at_most(buried_at.0);
        let last = [buried_at.into(), text::of_name(name).into(), target.as_ref().into()];
        filter.and_all("(buried_at_ms, name, target) >", last);
    }
    select(pool, &namespace, filter, ("buried_at_ms, name, target", limit), read).await
}

pub(super) async fn count_chosen(
    pool: &AnyPool,
    namespace: Arc<str>,
    selection: Selection,
) -> Result<Chosen, Problem> {
    let filter = Filter::new(&namespace, &selection)?;
    let statement = format!(
        "SELECT state, COUNT(*), MAX(buried_at_ms) FROM dead_letters WHERE {} GROUP BY state",
        filter.sql()
    );
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as_with(AssertSqlSafe(statement), filter.values())
            .persistent(false)
            .fetch_all(pool)
            .await?;
    let mut chosen = Chosen::default();
    for (state, count, newest) in rows {
        let count = text::number(count, "a number of dead letters")?;
        match text::state(&state)? {
            LetterState::Dead => chosen.dead = count,
            LetterState::Redriving => chosen.redriving = count,
        }
        let newest = Millis(text::number(newest, "the time of a burial")?);
        chosen.newest = chosen.newest.max(Some(newest));
    }
    Ok(chosen)
}

pub(super) async fn redriving(
    pool: &AnyPool,
    course: Course,
    limit: u32,
) -> Result<Vec<DeadLetter>, Problem> {
    let selection = Selection {
        target: Some(course.target.as_ref().to_owned()),
        state: Some(LetterState::Redriving),
        ..Selection::default()
    };
    let mut filter = Filter::new(&course.namespace, &selection)?;
    filter.and("shard =", i64::from(course.shard.0));
    // By log first: positions of two logs do not compare, and a nonce begins with the time of its making.
    let order = ("log, position, ticket_index", limit);
    select(pool, &course.namespace, filter, order, Read::Whole).await
}

async fn select(
    pool: &AnyPool,
    namespace: &Arc<str>,
    mut filter: Filter,
    (order, limit): (&'static str, u32),
    read: Read,
) -> Result<Vec<DeadLetter>, Problem> {
    let limit = filter.bind(i64::from(limit));
    let message = read.message();
    let statement = format!(
        "SELECT target, shard, name, log, position, ticket_index, committed_at_us, message_key, {message}, \
                cause, tries, history, buried_at_ms, state \
         FROM dead_letters WHERE {} ORDER BY {order} LIMIT {limit}",
        filter.sql()
    );
    let rows: Vec<Row> = sqlx::query_as_with(AssertSqlSafe(statement), filter.values())
        .persistent(false)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(|row| row.read(namespace)).collect()
}

pub(super) async fn count(pool: &AnyPool, namespace: String) -> Result<Vec<LetterCount>, Problem> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT target, letters - redriving, redriving FROM dead_letter_counts \
         WHERE namespace = $1 ORDER BY target",
    )
    .bind(namespace)
    .fetch_all(pool)
    .await?;
    let mut counts = Vec::new();
    for (target, dead, redriving) in rows {
        for (state, count) in [(LetterState::Dead, dead), (LetterState::Redriving, redriving)] {
            let count = text::number(count, "a number of dead letters")?;
            if count > 0 {
                counts.push(LetterCount { target: target.clone(), state, count });
            }
        }
    }
    Ok(counts)
}
