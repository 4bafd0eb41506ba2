//! Values of a history, as EDN and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

/// A value of a history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Int(i64),
    Text(String),
    Keyword(&'static str),
    List(Vec<Value>),
    /// In the order given.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Appends it as EDN.
    pub(crate) fn write_edn(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("nil"),
            Self::Int(it) => write!(out, "{it}").expect("a string takes all"),
            // JSON's escapes are among EDN's.
            Self::Text(it) => out.push_str(&Json::from(it.as_str()).to_string()),
            Self::Keyword(it) => write!(out, ":{it}").expect("a string takes all"),
            Self::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(' ');
                    }
                    item.write_edn(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (number, (key, value)) in entries.iter().enumerate() {
                    if number > 0 {
                        out.push_str(", ");
                    }
                    key.write_edn(out);
                    out.push(' ');
                    value.write_edn(out);
                }
                out.push('}');
            }
        }
    }

    /// It as JSON: keywords are text, and keys of maps too.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Int(it) => Json::from(*it),
            Self::Text(it) => Json::from(it.as_str()),
            Self::Keyword(it) => Json::from(*it),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(entries) => {
                let key = |key: &Self| match key.to_json() {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                let entries = entries.iter().map(|(k, v)| (key(k), v.to_json()));
                Json::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Nil, Self::Int)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_elle_reads_them() {
        let append = [Value::Keyword("append"), 1.into(), 2.into()];
        let read = [Value::Keyword("r"), 1.into(), Value::List(vec![1.into(), 2.into()])];
        let both = Value::List(vec![Value::List(append.to_vec()), Value::List(read.to_vec())]);
        let value = Value::Map(vec![
            (Value::Keyword("value"), both),
            (3.into(), Value::Text("a \"quoted\"\nline".to_owned())),
            (Value::Text("x".to_owned()), Value::Nil),
        ]);
        let mut edn = String::new();
        value.write_edn(&mut edn);
        let expected =
            "{:value [[:append 1 2] [:r 1 [1 2]]], 3 \"a \\\"quoted\\\"\\nline\", \"x\" nil}";
        assert_eq!(edn, expected);
        let json = r#"{"value":[["append",1,2],["r",1,[1,2]]],"3":"a \"quoted\"\nline","x":null}"#;
        assert_eq!(value.to_json().to_string(), json);
    }
}
