//! What is due when.

use delivery::Name;
use delivery::schedule::{Change, Entry, EntryCount, EntryState, Filter as Wanted, Noted};
use sqlx::{Any, AnyPool, AssertSqlSafe, Transaction};
use wal_core::{Millis, ShardId};

use super::filter::{Filter, Values};
use super::{Problem, Turn, take_turn, text};
use crate::plane::ControlPlane;

/// Changes that one statement writes. The databases take more values; there is nothing to win any more.
const ROWS: usize = 400;

/// A statement over the rows of `noted`, and the columns that these have. `$1` is the namespace.
struct Statement {
    columns: &'static str,
    sql: &'static str,
}

// The condition that always holds tells SQLite that `ON` begins no join.
const DUE: Statement = Statement {
    columns: "name, shard, due_ms, written_us",
    sql: "INSERT INTO delays (namespace, name, shard, due_ms, written_us, state) \
          SELECT $1, name, shard, due_ms, written_us, 'pending' FROM noted WHERE 1 = 1 \
          ON CONFLICT (namespace, name) DO UPDATE \
          SET shard = excluded.shard, due_ms = excluded.due_ms, \
              written_us = excluded.written_us, state = excluded.state \
          WHERE delays.written_us <= excluded.written_us",
};

const REFUSED: Statement = Statement {
    columns: "name, written_us",
    sql: "UPDATE delays SET state = 'refused', written_us = noted.written_us FROM noted \
          WHERE delays.namespace = $1 AND delays.name = noted.name \
          AND delays.written_us <= noted.written_us",
};

const GONE: Statement = Statement {
    columns: "name, written_us",
    sql: "DELETE FROM delays WHERE namespace = $1 AND name IN ( \
              SELECT noted.name FROM noted JOIN delays older \
              ON older.namespace = $1 AND older.name = noted.name \
              AND older.written_us <= noted.written_us)",
};

/// A change: its name, and the numbers behind it.
type Row = (String, Vec<i64>);

pub(super) async fn note(
    plane: &ControlPlane,
    namespace: String,
    mut changes: Vec<Noted>,
) -> Result<(), Problem> {
    if changes.is_empty() {
        return Ok(());
    }
    // Neighbours in the table are written together.
    changes.sort_by_key(|noted| noted.name);
    let (mut due, mut refused, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for Noted { name, shard, written, change } in changes {
        let name = text::of_name(name);
        match change {
            // What lies beyond the numbers of the database lies beyond all that anybody waits for.
            Change::Due(at) => {
                due.push((name, vec![shard.0.into(), text::at_most(at.0), written.0]));
            }
            Change::Refused => refused.push((name, vec![written.0])),
            Change::Gone => gone.push((name, vec![written.0])),
        }
    }
    let _turn = plane.turn().await;
    let mut txn = plane.pool.begin().await?;
    take_turn(&mut txn, Turn::Delays, &namespace).await?;
    for (statement, rows) in [(DUE, due), (REFUSED, refused), (GONE, gone)] {
        for rows in rows.chunks(ROWS) {
            write(&mut txn, &namespace, &statement, rows).await?;
        }
    }
    txn.commit().await?;
    Ok(())
}

async fn write(
    txn: &mut Transaction<'_, Any>,
    namespace: &str,
    Statement { columns, sql }: &Statement,
    rows: &[Row],
) -> Result<(), Problem> {
    let mut values = Values::default();
    values.bind(namespace);
    let mut noted = Vec::with_capacity(rows.len());
    for (name, numbers) in rows {
        let name = values.bind(name.as_str());
        let numbers = numbers.iter().map(|number| values.bind(*number));
        let row: Vec<String> = std::iter::once(name).chain(numbers).collect();
        noted.push(format!("({})", row.join(", ")));
    }
    let statement = format!("WITH noted ({columns}) AS (VALUES {}) {sql}", noted.join(", "));
    sqlx::query_with(AssertSqlSafe(statement), values.arguments())
        .persistent(false)
        .execute(&mut **txn)
        .await?;
    Ok(())
}

pub(super) async fn entries(
    pool: &AnyPool,
    namespace: String,
    wanted: Wanted,
    after: Option<(Millis, Name)>,
    limit: u32,
) -> Result<Vec<Entry>, Problem> {
    let Wanted { shard, state, due_before, due_since } = wanted;
    let mut filter = Filter::of_namespace(&namespace);
    if let Some(shard) = shard {
        filter.and("shard =", i64::from(shard.0));
    }
    if let Some(before) = due_before {
        filter.and("due_ms <", text::at_most(before.0));
    }
    if let Some(since) = due_since {
        filter.and("due_ms >=", text::at_most(since.0));
    }
    if let Some((due, name)) = after {
        let last = [text::at_most(due.0).into(), text::of_name(name).into()];
        filter.and_all("(due_ms, name) >", last);
    }
    let limit = filter.bind(i64::from(limit));
    // The indices have the entries of one state in order. Those of both are taken from each, and then merged.
    let of_state = |state| {
        let (name, condition) = (of_state(state), filter.sql());
        format!(
            "SELECT * FROM (SELECT due_ms, name, shard, state FROM delays \
             WHERE {condition} AND state = '{name}' ORDER BY due_ms, name LIMIT {limit}) {name}"
        )
    };
    let parts = match state {
        Some(state) => of_state(state),
        None => [EntryState::Pending, EntryState::Refused].map(of_state).join(" UNION ALL "),
    };
    let statement = format!("{parts} ORDER BY due_ms, name LIMIT {limit}");
    let rows: Vec<(i64, String, i64, String)> =
        sqlx::query_as_with(AssertSqlSafe(statement), filter.values())
            .persistent(false)
            .fetch_all(pool)
            .await?;
    let entry = |(due, name, shard, state): (i64, String, i64, String)| {
        Ok(Entry {
            due: Millis(text::number(due, "when something is due")?),
            name: text::name(&name)?,
            shard: ShardId(text::number(shard, "a shard")?),
            state: self::state(&state)?,
        })
    };
    rows.into_iter().map(entry).collect()
}

pub(super) async fn count(pool: &AnyPool, namespace: String) -> Result<EntryCount, Problem> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT state, COUNT(*) FROM delays WHERE namespace = $1 GROUP BY state ORDER BY state",
    )
    .bind(namespace)
    .fetch_all(pool)
    .await?;
    let mut counted = EntryCount::default();
    for (stored, count) in rows {
        let count = text::number(count, "a number of entries")?;
        match state(&stored)? {
            EntryState::Pending => counted.pending = count,
            EntryState::Refused => counted.refused = count,
        }
    }
    Ok(counted)
}

const fn of_state(state: EntryState) -> &'static str {
    match state {
        EntryState::Pending => "pending",
        EntryState::Refused => "refused",
    }
}

fn state(stored: &str) -> Result<EntryState, Problem> {
    match stored {
        "pending" => Ok(EntryState::Pending),
        "refused" => Ok(EntryState::Refused),
        _ => Err(Problem::Damaged(format!("{stored:?} is not what becomes of what is due"))),
    }
}
