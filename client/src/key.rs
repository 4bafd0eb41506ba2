//! Keys and columns, written briefly.

use std::net::IpAddr;

use bytes::Bytes;
use handfast_proto::v1::{Column, Value};
use uuid::Uuid;

/// The primary key of a row: the values of the partition key's columns, then of the clustering columns,
/// in the order of the table's `PRIMARY KEY`.
///
/// Made from one value (`"alice"`), a tuple (`("alice", 7)`), or a list of [`Value`]s.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(pub(crate) Vec<Value>);

impl From<Vec<Value>> for Key {
    fn from(values: Vec<Value>) -> Self {
        Self(values)
    }
}

impl From<Value> for Key {
    fn from(value: Value) -> Self {
        Self(vec![value])
    }
}

macro_rules! key_of_one {
    ($($ty:ty),*) => {$(
        impl From<$ty> for Key {
            fn from(value: $ty) -> Self {
                Self(vec![value.into()])
            }
        }
    )*};
}
key_of_one!(&str, String, bool, i8, i16, i32, i64, Uuid, IpAddr, Bytes);

macro_rules! key_of_tuple {
    ($($name:ident),*) => {
        impl<$($name: Into<Value>),*> From<($($name,)*)> for Key {
            fn from(($($name,)*): ($($name,)*)) -> Self {
                Self(vec![$($name.into()),*])
            }
        }
    };
}
#[allow(non_snake_case)]
mod tuples {
    use super::{Key, Value};
    key_of_tuple!(A);
    key_of_tuple!(A, B);
    key_of_tuple!(A, B, C);
    key_of_tuple!(A, B, C, D);
    key_of_tuple!(A, B, C, D, E);
}

/// Columns and their values.
///
/// Made from one pair (`("balance", 5)`), an array of pairs of one type (`[("a", 1), ("b", 2)]`), or,
/// for values of several types, an array whose values are [`Value`]s (`[("a", 1.into()), …]`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub(crate) Vec<Column>);

fn pair(name: impl Into<String>, value: impl Into<Value>) -> Column {
    Column { name: name.into(), value: Some(value.into()) }
}

impl<V: Into<Value>> From<(&str, V)> for Columns {
    fn from((name, value): (&str, V)) -> Self {
        Self(vec![pair(name, value)])
    }
}

impl<V: Into<Value>, const N: usize> From<[(&str, V); N]> for Columns {
    fn from(columns: [(&str, V); N]) -> Self {
        Self(columns.into_iter().map(|(name, value)| pair(name, value)).collect())
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Columns {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(columns: I) -> Self {
        Self(columns.into_iter().map(|(name, value)| pair(name, value)).collect())
    }
}
