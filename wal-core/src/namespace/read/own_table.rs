//! Tables of a namespace that the servers write themselves.

use std::sync::Arc;

use super::Section;
use crate::cql::CreateTable;
use crate::problem::Problem;
use crate::schema::{Ownership, Table};

/// The table of that name, with its keyspace or without.
pub(super) fn table_named<'a>(tables: &'a [Arc<Table>], name: &str) -> Option<&'a Arc<Table>> {
    tables.iter().find(|table| table.full_name() == name || table.name() == name)
}

/// Reads which table a section needs, and checks that it is declared as `cql` says, but for its name. The full name
/// of the table, if it is one. `what` the table does, and how it may be called, are for who has not named one.
pub(super) fn read_own_table(
    section: &mut Section,
    tables: &[Arc<Table>],
    what: &str,
    example: &str,
    cql: &str,
    problems: &mut Vec<Problem>,
) -> String {
    let Some(name) = section.text("table", problems) else {
        let message =
            format!("name the table that {what}, table = \"{example}\", and declare it: {cql}");
        section.missing("table", &message, problems);
        return String::new();
    };
    let Some(table) = table_named(tables, &name) else {
        section.problem("table", format!("{name:?} is not declared: add {cql}"), problems);
        return name;
    };
    let expected = cql.parse::<CreateTable>().expect("a good statement");
    let expected = Table::new(table.id(), expected, Ownership::Owned);
    let full_name = table.full_name();
    if table.columns() != expected.columns() {
        let message = format!("{full_name} does not have the columns that it needs: {cql}");
        section.problem("table", message, problems);
    } else if table.ownership() != Ownership::Owned {
        let message = format!("{full_name} must be owned: nobody else may write to it");
        section.problem("table", message, problems);
    }
    full_name.to_owned()
}
