//! JSON lines: a value a line, and back.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::error::{HistoryError, MAX_OPERATION_BYTES, Problem};
use crate::value::Value;

/// Reads one value a line; holds one line.
#[derive(Debug)]
pub(crate) struct JsonReader<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> JsonReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from: BufReader::new(from), line: Vec::new(), number: 0 }
    }

    /// Where the reader is.
    pub(crate) fn wrong(&self, problem: Problem) -> HistoryError {
        problem.at(self.number.max(1), 1)
    }

    /// The next value and where it began; `None` at the end.
    pub(crate) fn next_value(&mut self) -> Result<Option<(u64, u64, Value)>, HistoryError> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut bounded = (&mut self.from).take(MAX_OPERATION_BYTES as u64 + 1);
            match bounded.read_until(b'\n', &mut self.line) {
                Ok(0) => return Ok(None),
                Ok(count) if count > MAX_OPERATION_BYTES => {
                    return Err(Problem::TooLong.at(self.number, MAX_OPERATION_BYTES as u64));
                }
                Ok(_) => {}
                Err(error) => return Err(self.wrong(Problem::Io(error.to_string()))),
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let value = serde_json::from_slice(&self.line).map_err(|error| {
                let column = u64::try_from(error.column()).unwrap_or(u64::MAX).max(1);
                let whole = self.line.ends_with(b"\n");
                let problem = match error.classify() {
                    serde_json::error::Category::Eof if !whole => Problem::CutOff,
                    _ => Problem::Syntax(format!("not JSON: {}", reason(&error))),
                };
                problem.at(self.number, column)
            })?;
            return Ok(Some((self.number, 1, value)));
        }
    }
}

/// Without the place, which counts within the line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Int(it))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<Value, E> {
        let fits = i64::try_from(it);
        fits.map(Value::Int).map_err(|_| E::custom(format!("{it} has more than 63 bits")))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(Value::Real(format!("{it:?}")))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::Text(it.to_owned()))
    }

    fn visit_string<E>(self, it: String) -> Result<Value, E> {
        Ok(Value::Text(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            map.push((Value::Text(key), value));
        }
        Ok(Value::Map(map))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(it) => serializer.serialize_bool(*it),
            Self::Int(it) => serializer.serialize_i64(*it),
            Self::Real(it) => match it.parse::<f64>() {
                Ok(number) if number.is_finite() => serializer.serialize_f64(number),
                _ => serializer.serialize_str(it),
            },
            Self::Text(it) | Self::Keyword(it) | Self::Symbol(it) => serializer.serialize_str(it),
            Self::List(items) | Self::Set(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    match key.name() {
                        Some(name) => map.serialize_entry(name, value)?,
                        None => map.serialize_entry(&key.to_string(), value)?,
                    }
                }
                map.end()
            }
            Self::Tagged(_, inner) => inner.serialize(serializer),
        }
    }
}
