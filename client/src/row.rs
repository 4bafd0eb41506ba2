//! Rows as they were read.

use handfast_proto::v1;
use handfast_proto::v1::Value;

/// An opaque version of a row: it changes whenever the row does. Absent rows have one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowVersion(pub [u8; 16]);

/// A row at one point of the serial order.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whether it exists.
    pub exists: bool,
    /// Its version, for [`crate::unchanged`].
    pub version: RowVersion,
    /// The columns that have a value, key columns left out, in the table's order.
    pub columns: Vec<(String, Value)>,
}

impl Row {
    /// The column's value, if it has one.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, value)| value)
    }

    /// The column's value as a whole number, if it is one (tinyint to bigint).
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.get(column)?.as_integer()
    }

    /// The column's value as text, if it is one.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column)?.as_text()
    }
}

impl TryFrom<v1::Row> for Row {
    type Error = &'static str;

    fn try_from(row: v1::Row) -> Result<Self, Self::Error> {
        let version =
            row.version.as_ref().try_into().map_err(|_| "a row's version is not 16 bytes")?;
        let columns = row.columns.into_iter();
        Ok(Self {
            exists: row.exists,
            version: RowVersion(version),
            columns: columns.map(|c| (c.name, c.value.unwrap_or(Value::null()))).collect(),
        })
    }
}
