//! `[delay]`: transactions that are due later.

use std::sync::Arc;

use super::Section;
use super::own_table::read_own_table;
use crate::namespace::settings::{DelaySettings, Numbers as _};
use crate::problem::Problem;
use crate::schema::Table;

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
    let (what, example) = ("keeps what is due later", "later");
    delay.table = read_own_table(&mut section, tables, what, example, DELAYED_CQL, problems);
    if delay.after_ms.saturating_add(delay.jitter_ms) > delay.longest_ms {
        let message = "what holds where nothing is said is beyond longest_ms".to_owned();
        section.problem("after_ms", message, problems);
    }
    section.finish(&["table"], DelaySettings::SETTINGS, problems);
    Some(delay)
}
