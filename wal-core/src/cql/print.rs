//! The canonical text of a statement.

use std::fmt;

use super::parser::RESERVED;
use super::{CreateTable, OptionValue, Order};

/// A name, quoted if it must be.
pub(super) struct Named<'a>(pub(super) &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let plain = name.bytes().all(letter) && name.starts_with(|c: char| c.is_ascii_lowercase());
        if plain && !RESERVED.contains(name) {
            f.write_str(name)
        } else {
            write!(f, "\"{}\"", name.replace('"', "\"\""))
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Boolean(value) => value.fmt(f),
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// The canonical statement, over several lines, with a semicolon.
impl fmt::Display for CreateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CREATE TABLE ")?;
        if let Some(keyspace) = &self.keyspace {
            write!(f, "{}.", Named(keyspace))?;
        }
        writeln!(f, "{} (", Named(&self.name))?;
        for (name, ty) in &self.columns {
            writeln!(f, "    {} {ty},", Named(name))?;
        }
        f.write_str("    PRIMARY KEY ((")?;
        for (index, column) in self.partition.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Named(&self.columns[*column].0))?;
        }
        f.write_str(")")?;
        for (column, _) in &self.clustering {
            write!(f, ", {}", Named(&self.columns[*column].0))?;
        }
        f.write_str(")\n)")?;
        self.fmt_with(f)?;
        f.write_str(";")
    }
}

impl CreateTable {
    fn fmt_with(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = " WITH";
        if self.clustering.iter().any(|(_, order)| *order == Order::Descending) {
            f.write_str(" WITH CLUSTERING ORDER BY (")?;
            for (index, (column, order)) in self.clustering.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                let order = match order {
                    Order::Ascending => "ASC",
                    Order::Descending => "DESC",
                };
                write!(f, "{comma}{} {order}", Named(&self.columns[*column].0))?;
            }
            f.write_str(")")?;
            word = "\n    AND";
        }
        for option in &self.options {
            write!(f, "{word} {} = {}", option.name, option.value)?;
            word = "\n    AND";
        }
        Ok(())
    }
}
