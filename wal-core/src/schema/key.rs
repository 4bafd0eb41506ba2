//! The keys of rows: from typed values to bytes and back.
//!
//! ```text
//! partition, one column      value
//! partition, more columns    (length u16, value, 0x00) …      as Cassandra serialises it
//! clustering                 (length u32, value) …
//! ```
//!
//! Two keys of the same row must be the same bytes, or their locks would miss each other. Cassandra
//! tells partitions apart by their bytes, but clustering values by their order, in which 1.0 and 1.00
//! are one value and so are all NaN: clustering values are brought to one form here.

use bytes::Bytes;

use super::{Column, Table};
use crate::row::RowKey;
use crate::value::{ColumnType, NotOfType, Value, WrongType};

/// Bytes of a partition key, and of all clustering values of a row together. Cassandra allows 65,535 of
/// each; the embedded store keeps both in one key of that length, so that each may have half.
pub const MAX_KEY_BYTES: usize = 32_760;

/// Bytes of the digits of a decimal in a clustering column: it must be brought to one form, and that
/// takes time that grows with the square of their number.
const MAX_DECIMAL_BYTES: usize = 1_024;

/// Why values are not the key of a row, or bytes not an encoded key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct KeyError {
    /// The key column where it went wrong, if it was one of them.
    pub column: Option<String>,
    /// What went wrong.
    pub problem: KeyProblem,
}

/// What is said of a key that names whole partitions, but no rows of them.
pub const NO_RANGES: &str =
    "it names a range of rows, and ranges are not supported yet: name each row by its whole key";

/// What went wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// A value does not go into its column.
    #[error(transparent)]
    WrongType(#[from] WrongType),
    /// Not as many values as key columns.
    #[error("the key has {expected} parts, got {got}")]
    Count {
        /// How many columns the key has.
        expected: usize,
        /// How many values there are.
        got: usize,
    },
    /// Nothing at all as the only part of a partition key.
    #[error("the partition key may not be empty")]
    Empty,
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the key has {got} bytes, at most {MAX_KEY_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// A decimal in a clustering column with more than 1,024 bytes of digits.
    #[error("a decimal in a key has at most {MAX_DECIMAL_BYTES} bytes of digits")]
    DecimalTooLong,
    /// Encoded bytes that end early or late, or are not of the column's type.
    #[error("the bytes are not a key of this table: {0}")]
    Malformed(&'static str),
}

impl KeyError {
    fn of(column: &Column, problem: impl Into<KeyProblem>) -> Self {
        Self { column: Some(column.name.clone()), problem: problem.into() }
    }

    fn whole(problem: KeyProblem) -> Self {
        Self { column: None, problem }
    }
}

impl From<NotOfType> for KeyProblem {
    fn from(error: NotOfType) -> Self {
        Self::Malformed(error.why)
    }
}

impl Table {
    /// Appends the encoded partition key. `values` stand in the key's order.
    pub fn encode_partition(&self, values: &[&Value], out: &mut Vec<u8>) -> Result<(), KeyError> {
        check_count(self.partition.len(), values)?;
        let start = out.len();
        if let ([column], [value]) = (self.partition.as_slice(), values) {
            let column = &self.columns[usize::from(column.0)];
            value.encode_as(column.ty, out).map_err(|error| KeyError::of(column, error))?;
            if out.len() == start {
                return Err(KeyError::of(column, KeyProblem::Empty));
            }
        } else {
            for (column, value) in self.partition_key().zip(values) {
                out.extend_from_slice(&[0, 0]);
                let from = out.len();
                value.encode_as(column.ty, out).map_err(|error| KeyError::of(column, error))?;
                let got = out.len() - from;
                let length = u16::try_from(got)
                    .map_err(|_| KeyError::of(column, KeyProblem::TooLong { got }))?;
                out[from - 2..from].copy_from_slice(&length.to_be_bytes());
                out.push(0);
            }
        }
        check_length(out.len() - start)
    }

    /// Appends the encoded clustering columns. `values` stand in the key's order.
    pub fn encode_clustering(&self, values: &[&Value], out: &mut Vec<u8>) -> Result<(), KeyError> {
        check_count(self.clustering.len(), values)?;
        let start = out.len();
        for (column, value) in self.clustering_key().zip(values) {
            out.extend_from_slice(&[0; 4]);
            let from = out.len();
            value.encode_as(column.ty, out).map_err(|error| KeyError::of(column, error))?;
            if column.ty == ColumnType::Decimal && out.len() - from > 4 + MAX_DECIMAL_BYTES {
                return Err(KeyError::of(column, KeyProblem::DecimalTooLong));
            }
            make_canonical(column.ty, from, out);
            let length = u32::try_from(out.len() - from)
                .map_err(|_| KeyError::of(column, KeyProblem::TooLong { got: out.len() - from }))?;
            out[from - 4..from].copy_from_slice(&length.to_be_bytes());
        }
        check_length(out.len() - start)
    }

    /// The key of a row: values of the partition key, then of the clustering columns, in their order.
    pub fn row_key(&self, partition: &[&Value], clustering: &[&Value]) -> Result<RowKey, KeyError> {
        let mut bytes = Vec::new();
        self.encode_partition(partition, &mut bytes)?;
        let split = bytes.len();
        self.encode_clustering(clustering, &mut bytes)?;
        let mut partition = Bytes::from(bytes);
        let clustering = partition.split_off(split);
        Ok(RowKey { table: self.id, partition, clustering })
    }

    /// The values of an encoded partition key, in the key's order.
    pub fn partition_values(&self, bytes: &[u8]) -> Result<Vec<Value>, KeyError> {
        if let [column] = self.partition.as_slice() {
            let column = &self.columns[usize::from(column.0)];
            let value = Value::decode(column.ty, bytes);
            return Ok(vec![value.map_err(|error| KeyError::of(column, error))?]);
        }
        let mut rest = bytes;
        let values = self.partition_key().map(|column| {
            let early = || KeyError::of(column, KeyProblem::Malformed("they end early"));
            let (length, after) = rest.split_first_chunk::<2>().ok_or_else(early)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (value, after) = after.split_at_checked(length).ok_or_else(early)?;
            let [0, after @ ..] = after else {
                return Err(KeyError::of(column, KeyProblem::Malformed("a part has no end")));
            };
            rest = after;
            Value::decode(column.ty, value).map_err(|error| KeyError::of(column, error))
        });
        let values = values.collect::<Result<_, _>>()?;
        if rest.is_empty() { Ok(values) } else { Err(KeyError::whole(TOO_LONG)) }
    }

    /// The values of the encoded clustering columns, in their order.
    pub fn clustering_values(&self, bytes: &[u8]) -> Result<Vec<Value>, KeyError> {
        let mut rest = bytes;
        let values = self.clustering_key().map(|column| {
            let early = || KeyError::of(column, KeyProblem::Malformed("they end early"));
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(early)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (value, after) = after.split_at_checked(length).ok_or_else(early)?;
            rest = after;
            Value::decode(column.ty, value).map_err(|error| KeyError::of(column, error))
        });
        let values = values.collect::<Result<_, _>>()?;
        if rest.is_empty() { Ok(values) } else { Err(KeyError::whole(TOO_LONG)) }
    }

    /// Names and values of a whole key: partition, then clustering.
    pub fn key_values(&self, key: &RowKey) -> Result<Vec<(&str, Value)>, KeyError> {
        let values = self.partition_values(&key.partition)?.into_iter();
        let values = values.chain(self.clustering_values(&key.clustering)?);
        let columns = self.partition_key().chain(self.clustering_key());
        Ok(columns.map(|column| column.name.as_str()).zip(values).collect())
    }
}

const TOO_LONG: KeyProblem = KeyProblem::Malformed("they go on after the last part");

fn check_count(expected: usize, values: &[&Value]) -> Result<(), KeyError> {
    if values.len() == expected {
        return Ok(());
    }
    Err(KeyError::whole(KeyProblem::Count { expected, got: values.len() }))
}

fn check_length(got: usize) -> Result<(), KeyError> {
    if got <= MAX_KEY_BYTES { Ok(()) } else { Err(KeyError::whole(KeyProblem::TooLong { got })) }
}

/// Brings the value that starts at `from` to the one form of all that Cassandra holds equal.
fn make_canonical(ty: ColumnType, from: usize, out: &mut Vec<u8>) {
    match ty {
        ColumnType::Decimal => {
            if let Ok(Value::Decimal(decimal)) = Value::decode(ty, &out[from..]) {
                out.truncate(from);
                Value::Decimal(decimal.canonical()).encode_into(out);
            }
        }
        ColumnType::Float => {
            if let Ok(Value::Float(number)) = Value::decode(ty, &out[from..])
                && number.is_nan()
            {
                out.truncate(from);
                out.extend_from_slice(&0x7fc0_0000_u32.to_be_bytes());
            }
        }
        ColumnType::Double => {
            if let Ok(Value::Double(number)) = Value::decode(ty, &out[from..])
                && number.is_nan()
            {
                out.truncate(from);
                out.extend_from_slice(&0x7ff8_0000_0000_0000_u64.to_be_bytes());
            }
        }
        // Values of the others are equal only if their bytes are.
        ColumnType::Ascii
        | ColumnType::BigInt
        | ColumnType::Blob
        | ColumnType::Boolean
        | ColumnType::Int
        | ColumnType::Timestamp
        | ColumnType::Uuid
        | ColumnType::Text
        | ColumnType::Varint
        | ColumnType::TimeUuid
        | ColumnType::Inet
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::SmallInt
        | ColumnType::TinyInt => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::TableId;
    use crate::schema::Ownership;
    use crate::token::Token;
    use crate::value::tests::value_of;
    use crate::value::{Decimal, compare};

    fn table(text: &str) -> Table {
        Table::new(TableId(0), text.parse().expect("CQL"), Ownership::Owned)
    }

    /// Tables of every key type, with one or two columns in either part of the key, and values.
    fn keys() -> impl Strategy<Value = (Table, Vec<Value>, Vec<Value>)> {
        let types = proptest::collection::vec(proptest::sample::select(ColumnType::ALL), 4);
        (types, 1usize..=2, 0usize..=2).prop_flat_map(|(types, partition, clustering)| {
            let names = ["a", "b", "c", "d"];
            let columns: String =
                names.iter().zip(&types).map(|(name, ty)| format!("{name} {ty}, ")).collect();
            let clustered: String =
                names[2..2 + clustering].iter().map(|name| format!(", {name}")).collect();
            let key = names[..partition].join(", ");
            let text = format!("CREATE TABLE t ({columns}PRIMARY KEY (({key}){clustered}))");
            let values = |range: std::ops::Range<usize>| -> Vec<_> {
                range.map(|index| value_of(types[index])).collect()
            };
            (Just(table(&text)), values(0..partition), values(2..2 + clustering))
        })
    }

    proptest! {
        #[test]
        fn keys_are_encoded_and_read_back((table, partition, clustering) in keys()) {
            let refs = |values: &'_ [Value]| -> Vec<Value> { values.to_vec() };
            let (p, c) = (refs(&partition), refs(&clustering));
            let (p, c): (Vec<_>, Vec<_>) = (p.iter().collect(), c.iter().collect());
            match table.row_key(&p, &c) {
                Err(error) => prop_assert!(
                    matches!(error.problem, KeyProblem::Empty) && partition[0].encode().is_empty()
                ),
                Ok(key) => {
                    prop_assert_eq!(table.partition_values(&key.partition), Ok(partition));
                    let read = table.clustering_values(&key.clustering).expect("a key");
                    prop_assert_eq!(read.len(), clustering.len());
                    for (read, value) in read.iter().zip(&clustering) {
                        let ty = value.column_type();
                        let order = compare(ty, &read.encode(), &value.encode());
                        prop_assert_eq!(order, std::cmp::Ordering::Equal);
                    }
                }
            }
        }

        #[test]
        fn random_bytes_are_no_key_or_a_key(
            (table, ..) in keys(),
            bytes in proptest::collection::vec(0u8..4, 0..12),
        ) {
            let _ = table.partition_values(&bytes);
            let _ = table.clustering_values(&bytes);
        }
    }

    #[test]
    fn a_composite_partition_key_is_serialised_as_cassandra_does() {
        let table = table("CREATE TABLE t (a text, b int, c int, PRIMARY KEY ((a, b), c))");
        let values = (Value::from("xy"), Value::Int(1), Value::Int(7));
        let key = table.row_key(&[&values.0, &values.1], &[&values.2]).expect("a key");
        assert_eq!(key.partition.as_ref(), [0, 2, b'x', b'y', 0, 0, 4, 0, 0, 0, 1, 0]);
        assert_eq!(key.clustering.as_ref(), [0, 0, 0, 4, 0, 0, 0, 7]);
        let named = table.key_values(&key).expect("a key");
        assert_eq!(named, [("a", values.0), ("b", values.1), ("c", values.2)]);
    }

    /// Published tokens of composite keys: ScyllaDB's partitioner test ("expected value was taken from"
    /// Cassandra), and a `SELECT token(a, b, c)` of cqlsh.
    #[test]
    fn the_tokens_of_composite_keys_are_those_of_cassandra() {
        let ints = table("CREATE TABLE t (c1 int, c2 int, PRIMARY KEY ((c1, c2)))");
        let key = ints.row_key(&[&Value::Int(143), &Value::Int(234)], &[]).expect("a key");
        assert_eq!(Token::of(&key.partition), Token(4_958_784_316_840_156_970));
        let mixed = table("CREATE TABLE t (a text, b blob, c timestamp, PRIMARY KEY ((a, b, c)))");
        let values = (
            Value::from("hello"),
            Value::Blob(vec![1, 2].into()),
            Value::Timestamp(1_640_995_200_000),
        );
        let key = mixed.row_key(&[&values.0, &values.1, &values.2], &[]).expect("a key");
        assert_eq!(Token::of(&key.partition), Token(4_701_541_058_813_499_942));
    }

    #[test]
    fn clustering_values_that_cassandra_holds_equal_are_one_key() {
        let table = table("CREATE TABLE t (a int, d decimal, f float, PRIMARY KEY (a, d, f))");
        let key = |decimal: &str, float: f32| {
            let decimal = Value::Decimal(decimal.parse::<Decimal>().expect("a decimal"));
            table.row_key(&[&Value::Int(1)], &[&decimal, &Value::Float(float)]).expect("a key")
        };
        assert_eq!(key("1.50", f32::NAN), key("1.5", -f32::NAN));
        assert_ne!(key("1.50", 0.0), key("1.5", -0.0));
        let long = Value::Decimal("1".repeat(3_000).parse().expect("a decimal"));
        let error =
            table.row_key(&[&Value::Int(1)], &[&long, &Value::Float(0.0)]).expect_err("long");
        assert_eq!(error.problem, KeyProblem::DecimalTooLong);
    }

    #[test]
    fn keys_that_are_incomplete_empty_or_too_long_are_refused() {
        let table = table("CREATE TABLE t (a text, c text, PRIMARY KEY (a, c))");
        let long = Value::from("x".repeat(MAX_KEY_BYTES + 1));
        let (empty, some) = (Value::from(""), Value::from("x"));
        let problem = |partition: &[&Value], clustering: &[&Value]| {
            table.row_key(partition, clustering).expect_err("not a key").problem
        };
        assert_eq!(problem(&[&empty], &[&some]), KeyProblem::Empty);
        assert_eq!(problem(&[&some], &[]), KeyProblem::Count { expected: 1, got: 0 });
        assert_eq!(problem(&[&long], &[&some]), KeyProblem::TooLong { got: MAX_KEY_BYTES + 1 });
        assert_eq!(problem(&[&some], &[&long]), KeyProblem::TooLong { got: MAX_KEY_BYTES + 5 });
        assert!(matches!(problem(&[&Value::Int(1)], &[&some]), KeyProblem::WrongType(_)));
        assert!(table.row_key(&[&some], &[&empty]).is_ok());
    }
}
