//! `[delay]`: transactions that are due later.

use std::sync::Arc;

use super::Section;
use crate::cql::CreateTable;
use crate::namespace::settings::{DelaySettings, Numbers as _};
use crate::problem::Problem;
use crate::schema::{Ownership, Table};

/// The table that keeps what is due later, as it must be declared, but for its name: one row for each part of a
/// transaction that is, from the commit that scheduled it to the one that did it.
///
/// | column | what |
/// |---|---|
/// | `id`, `place` | the transaction that scheduled it, and its place among what that one scheduled |
/// | `due` | when |
/// | `body` | what: a `handfast.v1.Transaction` in protobuf |
/// | `problem` | why it was refused when it was due; null while it is pending |
pub const DELAYED_CQL: &str = "CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, \
                               PRIMARY KEY ((id, place)))";

/// Reads `[delay]`.
pub(super) fn read_delay(
    root: &mut Section,
    tables: &[Arc<Table>],
    problems: &mut Vec<Problem>,
) -> Option<DelaySettings> {
    let mut section = root.section("delay", problems)?;
    let mut delay = DelaySettings::default();
    section.numbers(&mut delay, problems);
    match section.text("table", problems) {
        None => {
            let message = format!(
                "name the table that keeps what is due later, table = \"later\", and declare it: {DELAYED_CQL}"
            );
            section.missing("table", &message, problems);
        }
        Some(name) => {
            let named = |table: &&Arc<Table>| table.full_name() == name || table.name() == name;
            match tables.iter().find(named) {
                Some(table) => {
                    if let Some(message) = wrong_table(table) {
                        section.problem("table", message, problems);
                    }
                    delay.table = table.full_name().to_owned();
                }
                None => {
                    let message = format!("{name:?} is not declared: add {DELAYED_CQL}");
                    section.problem("table", message, problems);
                }
            }
        }
    }
    if delay.after_ms.saturating_add(delay.jitter_ms) > delay.longest_ms {
        let message = "what holds where nothing is said is beyond longest_ms".to_owned();
        section.problem("after_ms", message, problems);
    }
    section.finish(&["table"], DelaySettings::SETTINGS, problems);
    Some(delay)
}

/// Why a table cannot keep what is due later, if so.
fn wrong_table(table: &Table) -> Option<String> {
    let expected = DELAYED_CQL.parse::<CreateTable>().expect("a good statement");
    let expected = Table::new(table.id(), expected, Ownership::Owned);
    if table.columns() != expected.columns() {
        return Some(format!(
            "{} does not have the columns that it needs: {DELAYED_CQL}",
            table.full_name()
        ));
    }
    (table.ownership() != Ownership::Owned)
        .then(|| format!("{} must be owned: nobody else may write to it", table.full_name()))
}
