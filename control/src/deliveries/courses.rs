//! Who delivers what, and how far it is.

use std::sync::Arc;

use delivery::{Claim, Course, Mark, Owner, Ticket};
use sqlx::{Any, AnyPool, Transaction};
use uuid::Uuid;
use wal_core::{Position, ShardId};

use super::{Problem, text};
use crate::plane::ControlPlane;

/// A mark as it is stored: log, dealt with, hold, reading place.
type MarkRow = (String, i64, i64, String);
/// Target, shard, owner, generation, and a mark.
type OwnerRow = (String, i64, String, i64, String, i64, i64, String);

pub(super) async fn beat(plane: &ControlPlane, process: Uuid) -> Result<Vec<(Uuid, u64)>, Problem> {
    let turn = plane.turn().await;
    sqlx::query(
        "INSERT INTO deliverers (process, beats) VALUES ($1, 1) \
         ON CONFLICT (process) DO UPDATE SET beats = deliverers.beats + 1",
    )
    .bind(process.to_string())
    .execute(&plane.pool)
    .await?;
    drop(turn);
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT process, beats FROM deliverers ORDER BY process")
            .fetch_all(&plane.pool)
            .await?;
    let beats = |(process, beats): (String, i64)| {
        Ok((text::process(&process)?, text::number(beats, "a number of beats")?))
    };
    rows.into_iter().map(beats).collect()
}

pub(super) async fn leave(plane: &ControlPlane, process: Uuid) -> Result<(), Problem> {
    let process = process.to_string();
    let _turn = plane.turn().await;
    let mut txn = plane.pool.begin().await?;
    sqlx::query("DELETE FROM deliverers WHERE process = $1")
        .bind(&process)
        .execute(&mut *txn)
        .await?;
    let mut held: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT namespace, target, shard FROM deliveries WHERE owner = $1")
            .bind(&process)
            .fetch_all(&mut *txn)
            .await?;
    // One by one, in the order in which marks are stored: two transactions never wait for each other.
    held.sort();
    for (namespace, target, shard) in held {
        sqlx::query(
            "UPDATE deliveries SET owner = '' \
             WHERE namespace = $1 AND target = $2 AND shard = $3 AND owner = $4",
        )
        .bind(namespace)
        .bind(target)
        .bind(shard)
        .bind(&process)
        .execute(&mut *txn)
        .await?;
    }
    txn.commit().await?;
    Ok(())
}

pub(super) async fn owners(pool: &AnyPool, namespace: Arc<str>) -> Result<Vec<Owner>, Problem> {
    let rows: Vec<OwnerRow> = sqlx::query_as(
        "SELECT target, shard, owner, generation, log, dealt_with, hold, reading_place \
         FROM deliveries WHERE namespace = $1 ORDER BY target, shard",
    )
    .bind(&*namespace)
    .fetch_all(pool)
    .await?;
    let mut owners = Vec::with_capacity(rows.len());
    for (target, shard, owner, generation, log, dealt_with, hold, place) in rows {
        let shard = ShardId(text::number(shard, "a shard")?);
        owners.push(Owner {
            course: Course { namespace: namespace.clone(), target: target.into(), shard },
            process: match &*owner {
                "" => None,
                owner => Some(text::process(owner)?),
            },
            generation: text::number(generation, "a generation")?,
            mark: read_mark((log, dealt_with, hold, place))?,
        });
    }
    Ok(owners)
}

pub(super) async fn claim(
    plane: &ControlPlane,
    course: Course,
    process: Uuid,
    generation: u64,
) -> Result<Option<Claim>, Problem> {
    let next = text::exactly(generation.saturating_add(1), "the generation")?;
    let statement = match generation {
        0 => {
            "INSERT INTO deliveries \
             (namespace, target, shard, owner, generation, log, dealt_with, hold, reading_place) \
             VALUES ($1, $2, $3, $4, $5, '', 0, 0, '') \
             ON CONFLICT (namespace, target, shard) DO NOTHING \
             RETURNING log, dealt_with, hold, reading_place"
        }
        _ => {
            "UPDATE deliveries SET owner = $4, generation = $5 \
             WHERE namespace = $1 AND target = $2 AND shard = $3 AND generation = $5 - 1 \
             RETURNING log, dealt_with, hold, reading_place"
        }
    };
    let _turn = plane.turn().await;
    let mut txn = plane.pool.begin().await?;
    let claimed: Option<MarkRow> = sqlx::query_as(statement)
        .bind(&*course.namespace)
        .bind(&*course.target)
        .bind(i64::from(course.shard.0))
        .bind(process.to_string())
        .bind(next)
        .fetch_optional(&mut *txn)
        .await?;
    let Some(row) = claimed else {
        txn.rollback().await?;
        return Ok(None);
    };
    let mark = read_mark(row)?;
    // Whoever had it before writes no more: what is read now stays so, but for wishes, which only move tickets.
    let settled = settled(&mut txn, &course, mark.as_ref()).await?;
    txn.commit().await?;
    Ok(Some(Claim { generation: generation + 1, mark, settled }))
}

/// The tickets that are not delivered again. One statement: a letter that is discarded meanwhile is in one of
/// the two tables whenever it looks.
async fn settled(
    txn: &mut Transaction<'_, Any>,
    course: &Course,
    mark: Option<&Mark>,
) -> Result<Vec<Ticket>, Problem> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT position, ticket_index FROM dead_letters \
         WHERE namespace = $1 AND target = $2 AND shard = $3 \
         AND ($4 = '' OR (log = $4 AND position >= $5)) \
         UNION \
         SELECT position, ticket_index FROM settled_tickets \
         WHERE namespace = $1 AND target = $2 AND shard = $3 \
         AND ($4 = '' OR (log = $4 AND position >= $5)) \
         ORDER BY position, ticket_index",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(mark.map_or_else(String::new, |mark| text::of_log(mark.log)))
    .bind(mark.map_or(0, |mark| text::at_most(mark.dealt_with.0)))
    .fetch_all(&mut **txn)
    .await?;
    rows.into_iter().map(read_ticket).collect()
}

pub(super) async fn release(
    plane: &ControlPlane,
    course: Course,
    generation: u64,
) -> Result<(), Problem> {
    let _turn = plane.turn().await;
    sqlx::query(
        "UPDATE deliveries SET owner = '' \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND generation = $4",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(text::at_most(generation))
    .execute(&plane.pool)
    .await?;
    Ok(())
}

pub(super) async fn mark(
    plane: &ControlPlane,
    marks: Vec<(Course, u64, Mark)>,
) -> Result<Vec<bool>, Problem> {
    let mut stored = vec![false; marks.len()];
    if marks.is_empty() {
        return Ok(stored);
    }
    // Always in the same order: two transactions never wait for each other.
    let mut marks: Vec<_> = marks.into_iter().enumerate().collect();
    marks.sort_by(|(_, one), (_, other)| one.0.cmp(&other.0));
    let _turn = plane.turn().await;
    let mut txn = plane.pool.begin().await?;
    for (at, (course, generation, mark)) in marks {
        stored[at] = mark_one(&mut txn, &course, generation, &mark).await?;
    }
    txn.commit().await?;
    Ok(stored)
}

async fn mark_one(
    txn: &mut Transaction<'_, Any>,
    course: &Course,
    generation: u64,
    mark: &Mark,
) -> Result<bool, Problem> {
    let log = text::of_log(mark.log);
    let dealt_with = text::exactly(mark.dealt_with.0, "the position")?;
    let held = sqlx::query(
        "UPDATE deliveries SET log = $5, dealt_with = $6, hold = $7, reading_place = $8 \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND generation = $4",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(text::at_most(generation))
    .bind(&log)
    .bind(dealt_with)
    .bind(text::exactly(mark.hold.0, "the position")?)
    .bind(text::of_bytes(&mark.place))
    .execute(&mut **txn)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "DELETE FROM settled_tickets \
         WHERE namespace = $1 AND target = $2 AND shard = $3 AND (log <> $4 OR position < $5)",
    )
    .bind(&*course.namespace)
    .bind(&*course.target)
    .bind(i64::from(course.shard.0))
    .bind(&log)
    .bind(dealt_with)
    .execute(&mut **txn)
    .await?;
    Ok(true)
}

fn read_mark((log, dealt_with, hold, place): MarkRow) -> Result<Option<Mark>, Problem> {
    if log.is_empty() {
        return Ok(None);
    }
    Ok(Some(Mark {
        log: text::log(&log)?,
        dealt_with: Position(text::number(dealt_with, "a position")?),
        hold: Position(text::number(hold, "a position")?),
        place: text::bytes(&place, "the place of a mark")?,
    }))
}

pub(super) fn read_ticket((position, index): (i64, i64)) -> Result<Ticket, Problem> {
    let position = Position(text::number(position, "a position")?);
    Ok(Ticket { position, index: text::number(index, "the index of a ticket")? })
}
