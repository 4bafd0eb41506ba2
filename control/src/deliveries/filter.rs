//! Conditions and values, as SQL.

use delivery::Selection;
use sqlx::Arguments;
use sqlx::any::AnyArguments;

use super::{Problem, text};

/// Names in one selection of dead letters: SQLite takes 32,766 values in a statement.
pub const MAX_NAMES: usize = 10_000;

/// A condition, its values as numbered parameters; `$1` is the namespace. The texts that it is made of stand in
/// this crate; whatever comes from outside is a value.
pub(super) struct Filter {
    sql: String,
    values: Values,
}

/// What the numbered parameters of a statement stand for, from `$1` on.
#[derive(Default)]
pub(super) struct Values(Vec<Value>);

impl Values {
    /// The parameter that stands for one more value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    /// For the statement.
    pub(super) fn arguments(&self) -> AnyArguments {
        let mut arguments = AnyArguments::default();
        for value in &self.0 {
            let added = match value {
                Value::Text(text) => arguments.add(text.as_str()),
                Value::Number(number) => arguments.add(*number),
            };
            added.expect("any database takes texts and numbers");
        }
        arguments
    }
}

/// What a parameter stands for.
pub(super) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Filter {
    /// Whatever a namespace has.
    pub(super) fn of_namespace(namespace: &str) -> Self {
        let mut values = Values::default();
        let first = values.bind(namespace);
        Self { sql: format!("namespace = {first}"), values }
    }

    /// What a selection says. Only what was given is a condition, so that the databases see which index serves.
    pub(super) fn new(namespace: &str, selection: &Selection) -> Result<Self, Problem> {
        let Selection { target, key, names, state, buried_before, buried_since } = selection;
        if names.len() > MAX_NAMES {
            let got = names.len();
            return Err(Problem::Beyond(format!(
                "{got} dead letters were named, at most {MAX_NAMES} may be at once"
            )));
        }
        let mut filter = Self::of_namespace(namespace);
        if let Some(target) = target {
            filter.and("target =", target.as_str());
        }
        if key.is_some() {
            filter.and("message_key =", text::of_key(key.as_ref()));
        }
        if let Some(state) = state {
            filter.and("state =", text::of_state(*state));
        }
        if let Some(before) = buried_before {
            filter.and("buried_at_ms <", text::at_most(before.0));
        }
        if let Some(since) = buried_since {
            filter.and("buried_at_ms >=", text::at_most(since.0));
        }
        if !names.is_empty() {
            let names: Vec<String> =
                names.iter().map(|name| filter.bind(text::of_name(*name))).collect();
            filter.sql += &format!(" AND name IN ({})", names.join(", "));
        }
        Ok(filter)
    }

    /// Adds a condition: a column, a comparison, and behind it this value.
    pub(super) fn and(&mut self, comparison: &'static str, value: impl Into<Value>) {
        let parameter = self.bind(value);
        self.sql += &format!(" AND {comparison} {parameter}");
    }

    /// Adds a condition on several columns together, as rows are ordered by them.
    pub(super) fn and_all<const N: usize>(&mut self, comparison: &'static str, values: [Value; N]) {
        let values = values.map(|value| self.bind(value)).join(", ");
        self.sql += &format!(" AND {comparison} ({values})");
    }

    /// The parameter that stands for one more value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.bind(value)
    }

    /// The condition.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// What its parameters stand for.
    pub(super) fn values(&self) -> AnyArguments {
        self.values.arguments()
    }
}
