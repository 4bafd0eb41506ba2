//! What is to become of dead letters, and what became of them.

use std::sync::Arc;

use delivery::{Course, LetterState, Name, Redriven, Selection, Try, Wish};
use sqlx::{Any, AssertSqlSafe, Transaction};

use super::filter::Filter;
use super::{Problem, Turn, fence, take_turn, text};
use crate::plane::ControlPlane;

pub(super) async fn wish(
    plane: &ControlPlane,
    namespace: Arc<str>,
    selection: Selection,
    wish: Wish,
) -> Result<u64, Problem> {
    let filter = Filter::new(&namespace, &selection)?;
    let _turn = plane.letters_turn().await;
    let mut txn = plane.pool.begin().await?;
    take_turn(&mut txn, Turn::DeadLetters, &namespace).await?;
    let changed = match wish {
        Wish::Redrive => set_state(&mut txn, filter, LetterState::Redriving).await?,
        Wish::Cancel => set_state(&mut txn, filter, LetterState::Dead).await?,
        Wish::Discard => settle(&mut txn, &filter).await?,
    };
    txn.commit().await?;
    Ok(changed)
}

/// Only those that have another state are counted: it is said of them for the first time.
async fn set_state(
    txn: &mut Transaction<'_, Any>,
    mut filter: Filter,
    state: LetterState,
) -> Result<u64, Problem> {
    let is_redriven = state == LetterState::Redriving;
    let state = text::of_state(state);
    filter.and("state <>", state);
    let selected = selected(&filter, "");
    let sign = if is_redriven { '+' } else { '-' };
    set_counts(txn, &filter, &format!("redriving = redriving {sign} {selected}")).await?;
    let statement = format!("UPDATE dead_letters SET state = '{state}' WHERE {}", filter.sql());
    let changed = sqlx::query_with(AssertSqlSafe(statement), filter.values())
        .persistent(false)
        .execute(&mut **txn)
        .await?;
    Ok(changed.rows_affected())
}

/// How many letters of a target a condition selects, and `more`, as a part of a statement about its counts.
fn selected(filter: &Filter, more: &'static str) -> String {
    format!(
        "(SELECT COUNT(*) FROM dead_letters letter \
          WHERE {} AND letter.target = dead_letter_counts.target {more})",
        filter.sql()
    )
}

/// Changes the counts of a namespace's targets, before something is done with what the condition selects.
async fn set_counts(
    txn: &mut Transaction<'_, Any>,
    filter: &Filter,
    counts: &str,
) -> Result<(), Problem> {
    let statement = format!("UPDATE dead_letter_counts SET {counts} WHERE namespace = $1");
    sqlx::query_with(AssertSqlSafe(statement), filter.values())
        .persistent(false)
        .execute(&mut **txn)
        .await?;
    Ok(())
}

/// Deletes letters, and remembers the tickets that no mark has passed. Of a log that the mark is not of they
/// are remembered too: the next mark may be of that log, and forgets them if it is not.
async fn settle(txn: &mut Transaction<'_, Any>, filter: &Filter) -> Result<u64, Problem> {
    let statement = format!(
        "INSERT INTO settled_tickets (namespace, target, shard, log, position, ticket_index) \
         SELECT namespace, target, shard, log, position, ticket_index FROM dead_letters letter \
         WHERE {} AND NOT EXISTS ( \
             SELECT 1 FROM deliveries mark \
             WHERE mark.namespace = letter.namespace AND mark.target = letter.target \
             AND mark.shard = letter.shard AND mark.log = letter.log \
             AND mark.dealt_with > letter.position) \
         ON CONFLICT (namespace, target, shard, log, position, ticket_index) DO NOTHING",
        filter.sql()
    );
    sqlx::query_with(AssertSqlSafe(statement), filter.values())
        .persistent(false)
        .execute(&mut **txn)
        .await?;
    let (all, redriving) =
        (selected(filter, ""), selected(filter, "AND letter.state = 'redriving'"));
    let counts = format!("letters = letters - {all}, redriving = redriving - {redriving}");
    set_counts(txn, filter, &counts).await?;
    let statement = format!("DELETE FROM dead_letters WHERE {}", filter.sql());
    let deleted = sqlx::query_with(AssertSqlSafe(statement), filter.values())
        .persistent(false)
        .execute(&mut **txn)
        .await?;
    Ok(deleted.rows_affected())
}

pub(super) async fn redriven(
    plane: &ControlPlane,
    course: Course,
    generation: u64,
    name: Name,
    how: Redriven,
) -> Result<(), Problem> {
    let _turn = plane.letters_turn().await;
    let mut txn = plane.pool.begin().await?;
    take_turn(&mut txn, Turn::DeadLetters, &course.namespace).await?;
    if !fence(&mut txn, &course, generation).await? {
        txn.rollback().await?;
        return Ok(());
    }
    match how {
        Redriven::Delivered => {
            let target = Some(course.target.as_ref().to_owned());
            let selection = Selection { target, names: vec![name], ..Selection::default() };
            let mut filter = Filter::new(&course.namespace, &selection)?;
            filter.and("shard =", i64::from(course.shard.0));
            settle(&mut txn, &filter).await?;
        }
        Redriven::Failed(failed) => add_try(&mut txn, &course, name, failed).await?,
    }
    txn.commit().await?;
    Ok(())
}

/// Buries a letter again with one more try, unless its last is this one: then this was said before.
async fn add_try(
    txn: &mut Transaction<'_, Any>,
    course: &Course,
    name: Name,
    failed: Try,
) -> Result<(), Problem> {
    let found: Option<(i64, String, String)> = sqlx::query_as(
        "SELECT tries, history, state FROM dead_letters \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND name = $4",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(text::of_name(name))
    .fetch_optional(&mut **txn)
    .await?;
    let Some((tries, history, state)) = found else { return Ok(()) };
    let mut history = text::history(&history)?;
    if history.last() == Some(&failed) {
        return Ok(());
    }
    if text::state(&state)? == LetterState::Redriving {
        sqlx::query(
            "UPDATE dead_letter_counts SET redriving = redriving - 1 \
             WHERE namespace = $1 AND target = $2",
        )
        .bind(&*course.namespace)
        .bind(&*course.target)
        .execute(&mut **txn)
        .await?;
    }
    history.push(failed);
    let tries: u32 = text::number(tries, "a number of tries")?;
    sqlx::query(
        "UPDATE dead_letters SET state = 'dead', tries = $5, history = $6 \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND name = $4",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(text::of_name(name))
    .bind(i64::from(tries.saturating_add(1)))
    .bind(text::of_history(&history))
    .execute(&mut **txn)
    .await?;
    Ok(())
}
