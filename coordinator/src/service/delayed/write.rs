//! From what a client wants later to rows.

use delivery::Name;
use handfast_proto::v1::{self, due};
use prost::Message as _;
use wal_core::build::{Batch, Check, Mutation, RowCondition, Write};
use wal_core::namespace::Namespace;
use wal_core::value::Value;
use wal_core::{Millis, RowVersion, Transaction, TxnId};

use super::key_of;
use crate::service::convert;
use crate::service::draw::mixed;
use crate::service::errors::{ServiceError, Violation};

/// Parts that one transaction schedules at most.
const MAX_DELAYED: usize = 1_000;

/// The rows of what a transaction schedules.
pub(in crate::service) fn rows(
    namespace: &Namespace,
    id: TxnId,
    delayed: Vec<v1::Delayed>,
) -> Result<Vec<Mutation>, ServiceError> {
    const FIELD: &str = "transaction.delayed";
    if delayed.is_empty() {
        return Ok(Vec::new());
    }
    let Some(table) = namespace.delayed_table() else {
        return Err(ServiceError::invalid(FIELD, no_delays(namespace)));
    };
    if delayed.len() > MAX_DELAYED {
        let got = delayed.len();
        let description =
            format!("a transaction schedules at most {MAX_DELAYED} others, got {got}");
        return Err(ServiceError::invalid(FIELD, description));
    }
    let mut rows = Vec::with_capacity(delayed.len());
    for (index, v1::Delayed { due, transaction }) in delayed.into_iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let name = Name { id, index: u16::try_from(index).expect("at most MAX_DELAYED") };
        let due = due_of(namespace, name, id, due, &format!("{field}.due"))?;
        let body = transaction.ok_or_else(|| {
            ServiceError::invalid(format!("{field}.transaction"), "it is missing")
        })?;
        // As it would be done now: what is wrong is told now, and not when it is due.
        let tried = due_transaction(namespace, id, name, RowVersion(0), body.clone());
        tried.map_err(|error| below(error, &format!("{field}.transaction")))?;
        rows.push(Mutation {
            table: table.full_name().to_owned(),
            key: key_of(name),
            write: Write::Insert(vec![
                ("due".to_owned(), Some(timestamp(due))),
                ("body".to_owned(), Some(Value::Blob(body.encode_to_vec().into()))),
            ]),
        });
    }
    Ok(rows)
}

/// The change of a part that was asked for by its name.
pub(in crate::service) fn change(
    namespace: &Namespace,
    id: TxnId,
    name: &str,
    change: Option<v1::change_delayed_request::Change>,
) -> Result<Batch, ServiceError> {
    use v1::change_delayed_request::Change;
    let Some(table) = namespace.delayed_table() else {
        return Err(ServiceError::invalid("namespace", no_delays(namespace)));
    };
    let name: Name = name.parse().map_err(|error| ServiceError::invalid("name", error))?;
    let write = match change {
        Some(Change::Cancel(v1::CancelDelayed {})) => Write::DeleteRow,
        Some(Change::Due(due)) => scheduled_anew(due_of(namespace, name, id, Some(due), "due")?),
        None => {
            return Err(ServiceError::invalid("change", "say what becomes of it: cancel, or due"));
        }
    };
    let table = table.full_name().to_owned();
    let exists = RowCondition { table: table.clone(), key: key_of(name), check: Check::Exists };
    let mutation = Mutation { table, key: key_of(name), write };
    Ok(Batch { mutations: vec![mutation], conditions: vec![exists], ..Batch::default() })
}

/// One that was refused is pending again.
fn scheduled_anew(due: Millis) -> Write {
    Write::Put(vec![("due".to_owned(), Some(timestamp(due))), ("problem".to_owned(), None)])
}

/// Refuses what a client may not write to the table of what is due later by itself. It may delete a row, and
/// change when it is due, if it also says that the row exists: so these go together with other writes.
pub(in crate::service) fn check_direct(
    namespace: &Namespace,
    batch: &mut Batch,
) -> Result<(), ServiceError> {
    let Some(table) = namespace.delayed_table() else { return Ok(()) };
    let mut violations = Vec::new();
    let is_it = |name: &str| namespace.find_table(name).is_some_and(|it| it.id() == table.id());
    for (index, mutation) in batch.mutations.iter_mut().enumerate() {
        if !is_it(&mutation.table) {
            continue;
        }
        let mut refuse = |what: &str| {
            let field = format!("transaction.mutations[{index}]");
            violations.push(Violation::new(
                field,
                format!("{} keeps what is due later: {what}", mutation.table),
            ));
        };
        match &mut mutation.write {
            Write::DeleteRow => {}
            Write::Put(columns) => match &columns[..] {
                [(name, Some(Value::Timestamp(_)))] if name == "due" => {
                    columns.push(("problem".to_owned(), None));
                }
                _ => {
                    refuse("only `due` may be written, or the row deleted; schedule with `delayed`")
                }
            },
            Write::Insert(_) | Write::DeleteColumns(_) | Write::Add(_) => {
                refuse("only `due` may be written, or the row deleted; schedule with `delayed`");
            }
        }
        let says_it_exists = batch.conditions.iter().any(|condition| {
            is_it(&condition.table)
                && condition.key == mutation.key
                && matches!(condition.check, Check::Exists | Check::Version(_))
        });
        if !says_it_exists {
            refuse(
                "add the condition that the row exists, which says whether it was pending still",
            );
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(violations)) }
}

/// What is done when a part is due: what it says, if its row is as it was read, and the row is gone.
pub(in crate::service) fn due_transaction(
    namespace: &Namespace,
    id: TxnId,
    name: Name,
    version: RowVersion,
    body: v1::Transaction,
) -> Result<Transaction, ServiceError> {
    if !body.delayed.is_empty() {
        let what = "what is done later delays nothing itself";
        return Err(ServiceError::invalid("transaction.delayed", what));
    }
    if !body.namespace.is_empty() && body.namespace != namespace.name() {
        let what = "it is of the namespace of the transaction that schedules it: leave this empty";
        return Err(ServiceError::invalid("transaction.namespace", what));
    }
    if !body.id.is_empty() {
        let what = "it gets an id when it is done: leave this empty";
        return Err(ServiceError::invalid("transaction.id", what));
    }
    if body.mutations.is_empty() && body.conditions.is_empty() && body.messages.is_empty() {
        return Err(ServiceError::invalid(
            "transaction",
            "nothing is to be done: name a mutation or a message",
        ));
    }
    let mut batch = convert::batch(namespace, body)?;
    check_direct(namespace, &mut batch)?;
    let table = namespace.delayed_table().map_or("", |table| table.full_name()).to_owned();
    let check = Check::Version(version);
    batch.conditions.push(RowCondition { table: table.clone(), key: key_of(name), check });
    batch.mutations.push(Mutation { table, key: key_of(name), write: Write::DeleteRow });
    convert::built(namespace, id, &batch)
}

/// When a part is due. The same every time that the same transaction is sent: it counts from the time in the
/// transaction's id, and its jitter is drawn from its name.
fn due_of(
    namespace: &Namespace,
    name: Name,
    id: TxnId,
    due: Option<v1::Due>,
    field: &str,
) -> Result<Millis, ServiceError> {
    let settings = namespace.delay().expect("the table was found");
    let v1::Due { when, jitter_ms } = due.unwrap_or_default();
    let from = id.time().0;
    let at = match when {
        Some(due::When::AtMs(at)) => at,
        Some(due::When::AfterMs(after)) => from.saturating_add(after),
        None => from.saturating_add(settings.after_ms),
    };
    let most = jitter_ms.unwrap_or(settings.jitter_ms);
    // Held against the latest that it may become: chance decides when it is done, not whether it is taken.
    let latest = at.saturating_add(most).saturating_sub(from);
    if latest > settings.longest_ms {
        let longest = settings.longest_ms;
        let of_it = if most == 0 { String::new() } else { format!(", {most} of them jitter") };
        let description = format!(
            "it may be due {latest} ms after the time in the id{of_it}, and the namespace allows {longest} \
             (delay.longest_ms)"
        );
        return Err(ServiceError::invalid(field, description));
    }
    let drawn = mixed(name.id.0 as u64 ^ mixed(name.index.into())) % most.saturating_add(1);
    let due = at.saturating_add(drawn);
    Ok(Millis(due))
}

fn timestamp(at: Millis) -> Value {
    Value::Timestamp(i64::try_from(at.0).unwrap_or(i64::MAX))
}

pub(super) fn no_delays(namespace: &Namespace) -> String {
    format!(
        "the namespace {:?} has no [delay]: add it, with a table that keeps what is due later",
        namespace.name()
    )
}

/// Problems whose paths begin with `transaction` as those of something else.
fn below(error: ServiceError, root: &str) -> ServiceError {
    match error {
        ServiceError::Invalid(violations) => {
            let moved = violations.into_iter().map(|mut violation| {
                if let Some(rest) = violation.field.strip_prefix("transaction") {
                    violation.field = format!("{root}{rest}");
                }
                violation
            });
            ServiceError::Invalid(moved.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST_MS: u64 = 10_000;

    fn namespace() -> Namespace {
        let table = "CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, \
                     PRIMARY KEY ((id, place)))";
        let file = format!(
            "name = \"n\"\n[[table]]\ncql = \"{table}\"\n[delay]\ntable = \"later\"\n\
             longest_ms = {LONGEST_MS}\nafter_ms = 1000\njitter_ms = 50\n"
        );
        Namespace::from_toml(&file).expect("a namespace")
    }

    /// When a part is due, in milliseconds after the time in its id.
    fn due_after(
        number: u128,
        when: Option<due::When>,
        jitter_ms: Option<u64>,
    ) -> Result<u64, String> {
        let id = TxnId::from_parts(Millis(1_760_000_000_000), number);
        let (name, due) = (Name { id, index: 0 }, v1::Due { when, jitter_ms });
        match due_of(&namespace(), name, id, Some(due), "due") {
            Ok(at) => Ok(at.0 - id.time().0),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_bound_of_the_jitter_decides_whether_it_is_too_late_and_never_what_was_drawn() {
        let after = |after_ms| Some(due::When::AfterMs(after_ms));
        for number in 0..1_000 {
            let due =
                due_after(number, after(LONGEST_MS - 100), Some(100)).expect("at most longest");
            assert!((LONGEST_MS - 100..=LONGEST_MS).contains(&due), "{due}");
            let refused =
                due_after(number, after(LONGEST_MS - 100), Some(101)).expect_err("beyond");
            let said =
                "due: it may be due 10001 ms after the time in the id, 101 of them jitter, and";
            assert!(refused.starts_with(said), "{refused}");
        }
        assert_eq!(due_after(1, after(LONGEST_MS), Some(0)), Ok(LONGEST_MS));
        assert!(due_after(1, after(LONGEST_MS + 1), Some(0)).is_err());
        for huge in [u64::MAX - 1, u64::MAX] {
            assert!(due_after(1, after(huge), None).is_err());
            assert!(due_after(1, after(0), Some(huge)).is_err());
            assert!(due_after(1, Some(due::When::AtMs(huge)), Some(huge)).is_err());
        }
    }

    #[test]
    fn jitter_is_spread_over_its_range_and_the_same_for_the_same_name() {
        let drawn: Vec<u64> =
            (0..1_000).map(|number| due_after(number, None, None).expect("the default")).collect();
        let again: Vec<u64> =
            (0..1_000).map(|number| due_after(number, None, None).expect("the default")).collect();
        assert_eq!(drawn, again);
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1_000), Some(&1_050)));
    }
}
