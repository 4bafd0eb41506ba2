//! From tokens to a checked statement.

use super::lexer::{Kind, Token, tokens};
use super::{
    CqlError, CreateTable, MAX_COLUMN_NAME, MAX_TABLE_NAME, OptionValue, Order, TableOption,
    options,
};
use crate::limits::MAX_COLUMNS;
use crate::nearest::suggestion;
use crate::value::ColumnType;

/// Words that Cassandra does not take as names without quotes.
pub(super) const RESERVED: &[&str] = &[
    "add",
    "allow",
    "alter",
    "and",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "default",
    "delete",
    "desc",
    "describe",
    "drop",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "limit",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "primary",
    "rename",
    "replace",
    "revoke",
    "schema",
    "select",
    "set",
    "table",
    "to",
    "token",
    "truncate",
    "unlogged",
    "unset",
    "update",
    "use",
    "using",
    "view",
    "where",
    "with",
];
/// How deep the maps of an option may nest.
const MAX_DEPTH: usize = 4;

pub(super) fn parse(text: &str) -> Result<CreateTable, CqlError> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0 };
    parser.statement()
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

/// A name and where it stands.
struct Name {
    name: String,
    offset: usize,
}

/// What stands between the parentheses.
#[derive(Default)]
struct Definitions {
    columns: Vec<(String, ColumnType)>,
    /// The columns of the partition key and the clustering columns.
    key: Option<(Vec<Name>, Vec<Name>)>,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        // The last token is `End`, and it is never passed.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn fail<T>(&self, offset: usize, message: impl Into<String>) -> Result<T, CqlError> {
        Err(CqlError::at(self.text, offset, message))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, Kind::Word(found) if found == word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.peek().kind == Kind::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect_words(&mut self, words: &[&str]) -> Result<(), CqlError> {
        for word in words {
            if !self.take_word(word) {
                let expected = word.to_uppercase();
                return self.unexpected(&format!("expected {expected}"));
            }
        }
        Ok(())
    }

    fn expect_sign(&mut self, sign: char, after: &str) -> Result<(), CqlError> {
        if self.take_sign(sign) {
            Ok(())
        } else {
            self.unexpected(&format!("expected {sign:?} {after}"))
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, CqlError> {
        let token = self.peek();
        let found = match &token.kind {
            Kind::Word(word) => format!("{word:?}"),
            Kind::Quoted(name) => format!("the name {name:?}"),
            Kind::Text(_) => "a string".to_owned(),
            Kind::Number(number) => format!("the number {number}"),
            Kind::Sign(sign) => format!("{sign:?}"),
            Kind::End => "the end of the statement".to_owned(),
        };
        self.fail(token.offset, format!("{expected}, found {found}"))
    }

    /// Refuses `CREATE` of what there is not, with a way out.
    fn refuse_other_statements(&self) -> Result<(), CqlError> {
        let word = |ahead: usize| match self.tokens.get(self.next + ahead).map(|it| &it.kind) {
            Some(Kind::Word(word)) => word.as_str(),
            _ => "",
        };
        let what = match (word(0), word(1)) {
            ("create", "index" | "custom") => "secondary indices are not supported yet",
            ("create", "materialized") => "materialized views are not supported",
            _ => return Ok(()),
        };
        let way_out = "declare a table whose primary key is what is looked up, and write to it in the same \
                       transactions";
        self.fail(self.peek().offset, format!("{what}: {way_out}"))
    }

    fn statement(&mut self) -> Result<CreateTable, CqlError> {
        self.refuse_other_statements()?;
        self.expect_words(&["create", "table"])?;
        if self.take_word("if") {
            self.expect_words(&["not", "exists"])?;
        }
        let first = self.table_name()?;
        let (keyspace, name) =
            if self.take_sign('.') { (Some(first), self.table_name()?) } else { (None, first) };
        self.expect_sign('(', "before the columns")?;
        let definitions = self.definitions()?;
        let (partition, clustering) = self.key(&definitions)?;
        let mut table = CreateTable {
            keyspace,
            name,
            columns: definitions.columns,
            partition,
            clustering: clustering.into_iter().map(|column| (column, Order::default())).collect(),
            options: Vec::new(),
        };
        if self.take_word("with") {
            self.with(&mut table)?;
        }
        self.take_sign(';');
        self.refuse_other_statements()?;
        if self.peek().kind != Kind::End {
            return self.unexpected("expected the end: one statement declares one table");
        }
        Ok(table)
    }

    fn name(&mut self, what: &str) -> Result<Name, CqlError> {
        let offset = self.peek().offset;
        match &self.peek().kind {
            Kind::Word(word) if RESERVED.contains(&word.as_str()) => {
                let message = format!("{word:?} is a reserved word: put it in double quotes");
                self.fail(offset, message)
            }
            Kind::Word(name) | Kind::Quoted(name) => {
                let name = name.clone();
                self.advance();
                Ok(Name { name, offset })
            }
            Kind::Text(_) | Kind::Number(_) | Kind::Sign(_) | Kind::End => {
                self.unexpected(&format!("expected {what}"))
            }
        }
    }

    fn table_name(&mut self) -> Result<String, CqlError> {
        let Name { name, offset } = self.name("the name of a table")?;
        let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if plain && (1..=MAX_TABLE_NAME).contains(&name.len()) {
            return Ok(name);
        }
        self.fail(
            offset,
            format!("a table's name has 1 to {MAX_TABLE_NAME} letters, digits and underscores"),
        )
    }

    fn definitions(&mut self) -> Result<Definitions, CqlError> {
        let mut definitions = Definitions::default();
        loop {
            if self.is_word("primary") {
                let offset = self.peek().offset;
                self.expect_words(&["primary", "key"])?;
                let key = self.key_clause()?;
                self.set_key(&mut definitions, key, offset)?;
            } else {
                self.column(&mut definitions)?;
            }
            // CQL allows a comma after the last one.
            let more = self.take_sign(',');
            if self.take_sign(')') {
                return Ok(definitions);
            }
            if !more {
                return self.unexpected("expected ',' or ')' after a column");
            }
        }
    }

    fn set_key(
        &self,
        definitions: &mut Definitions,
        key: (Vec<Name>, Vec<Name>),
        offset: usize,
    ) -> Result<(), CqlError> {
        if definitions.key.replace(key).is_some() {
            return self.fail(offset, "a table has one primary key: this is the second");
        }
        Ok(())
    }

    fn column(&mut self, definitions: &mut Definitions) -> Result<(), CqlError> {
        let Name { name, offset } = self.name("the name of a column or PRIMARY KEY")?;
        if name.is_empty() || name.len() > MAX_COLUMN_NAME {
            let message = format!("a column's name has 1 to {MAX_COLUMN_NAME} bytes");
            return self.fail(offset, message);
        }
        if definitions.columns.iter().any(|(other, _)| *other == name) {
            return self.fail(offset, format!("the column {name:?} is declared twice"));
        }
        if definitions.columns.len() == MAX_COLUMNS {
            return self.fail(offset, format!("a table has at most {MAX_COLUMNS} columns"));
        }
        let ty = self.column_type()?;
        if self.is_word("static") {
            return self.fail(
                self.peek().offset,
                "static columns are not supported yet: keep what a partition shares in a table of \
                 its own, with the same partition key",
            );
        }
        definitions.columns.push((name.clone(), ty));
        let key_offset = self.peek().offset;
        if self.take_word("primary") {
            self.expect_words(&["key"])?;
            self.set_key(definitions, (vec![Name { name, offset }], Vec::new()), key_offset)?;
        }
        Ok(())
    }

    fn column_type(&mut self) -> Result<ColumnType, CqlError> {
        let token = self.advance();
        let name = match token.kind {
            Kind::Word(name) => name,
            Kind::Quoted(_) => {
                return self.fail(
                    token.offset,
                    "user-defined types are not supported yet: use \
                     a column for each of their fields",
                );
            }
            Kind::Text(_) | Kind::Number(_) | Kind::Sign(_) | Kind::End => {
                return self
                    .fail(token.offset, "expected the type of the column, as in int or text");
            }
        };
        if let Some(ty) = ColumnType::from_name(&name) {
            return Ok(ty);
        }
        let message = match name.as_str() {
            "counter" => {
                "a counter cannot be written twice without counting twice: use bigint and \
                          the mutation `add`, which can"
                    .to_owned()
            }
            "list" | "set" | "map" | "frozen" | "tuple" | "vector" => format!(
                "{name} is not supported yet: use a table of its own with a clustering column, or a \
                 blob or text column that holds the whole"
            ),
            "duration" => "duration is not supported: use bigint and a unit of your own".to_owned(),
            _ => {
                let known = ColumnType::ALL.iter().map(|ty| ty.name());
                let near = suggestion(&name, known);
                let way_out = if near.is_empty() {
                    ": user-defined types are not supported yet, use a column for each of their fields"
                } else {
                    ""
                };
                format!("unknown type {name:?}{near}{way_out}")
            }
        };
        self.fail(token.offset, message)
    }

    /// `(a, b)` or `((a, b), c, d)`.
    fn key_clause(&mut self) -> Result<(Vec<Name>, Vec<Name>), CqlError> {
        self.expect_sign('(', "after PRIMARY KEY")?;
        let partition = if self.take_sign('(') {
            let names = self.names()?;
            self.expect_sign(')', "after the partition key")?;
            names
        } else {
            vec![self.name("the name of a column")?]
        };
        let clustering = if self.take_sign(',') { self.names()? } else { Vec::new() };
        self.expect_sign(')', "after the primary key")?;
        Ok((partition, clustering))
    }

    fn names(&mut self) -> Result<Vec<Name>, CqlError> {
        let mut names = vec![self.name("the name of a column")?];
        while self.take_sign(',') {
            names.push(self.name("the name of a column")?);
        }
        Ok(names)
    }

    /// The key's columns as indices.
    fn key(&self, definitions: &Definitions) -> Result<(Vec<usize>, Vec<usize>), CqlError> {
        let Some((partition, clustering)) = &definitions.key else {
            return self.unexpected_key();
        };
        let mut seen: Vec<usize> = Vec::new();
        for Name { name, offset } in partition.iter().chain(clustering) {
            let index = self.column_index(&definitions.columns, name, *offset)?;
            if seen.contains(&index) {
                let message = format!("the column {name:?} is in the primary key twice");
                return self.fail(*offset, message);
            }
            seen.push(index);
        }
        let clustering = seen.split_off(partition.len());
        Ok((seen, clustering))
    }

    fn unexpected_key<T>(&self) -> Result<T, CqlError> {
        let close = self.tokens[self.next - 1].offset;
        self.fail(close, "the table has no primary key: add PRIMARY KEY (...) before this")
    }

    fn column_index(
        &self,
        columns: &[(String, ColumnType)],
        name: &str,
        offset: usize,
    ) -> Result<usize, CqlError> {
        match columns.iter().position(|(other, _)| other == name) {
            Some(index) => Ok(index),
            None => {
                let near = suggestion(name, columns.iter().map(|(name, _)| name.as_str()));
                self.fail(offset, format!("the table has no column {name:?}{near}"))
            }
        }
    }

    fn with(&mut self, table: &mut CreateTable) -> Result<(), CqlError> {
        let mut ordered = false;
        loop {
            let offset = self.peek().offset;
            if self.take_word("clustering") {
                self.expect_words(&["order", "by"])?;
                if std::mem::replace(&mut ordered, true) {
                    return self.fail(offset, "CLUSTERING ORDER BY stands here twice");
                }
                self.clustering_order(table, offset)?;
            } else if self.is_word("compact") {
                return self.fail(offset, "COMPACT STORAGE is not supported: leave it out");
            } else {
                let option = self.option(offset)?;
                if table.options.iter().any(|other| other.name == option.name) {
                    return self.fail(offset, format!("{} stands here twice", option.name));
                }
                table.options.push(option);
            }
            if !self.take_word("and") {
                return Ok(());
            }
        }
    }

    fn clustering_order(&mut self, table: &mut CreateTable, at: usize) -> Result<(), CqlError> {
        self.expect_sign('(', "after CLUSTERING ORDER BY")?;
        let mut named = 0;
        loop {
            let Name { name, offset } = self.name("the name of a clustering column")?;
            let index = self.column_index(&table.columns, &name, offset)?;
            if table.clustering.get(named).map(|(column, _)| *column) != Some(index) {
                return self.fail(
                    offset,
                    format!(
                        "{name:?} is not clustering column number {}: name them all, in the \
                             order of the primary key",
                        named + 1
                    ),
                );
            }
            if self.take_word("desc") {
                table.clustering[named].1 = Order::Descending;
            } else {
                self.take_word("asc");
            }
            named += 1;
            if !self.take_sign(',') {
                break;
            }
        }
        self.expect_sign(')', "after the clustering order")?;
        if named < table.clustering.len() {
            let message = "CLUSTERING ORDER BY names all clustering columns or is left out";
            return self.fail(at, message);
        }
        Ok(())
    }

    fn option(&mut self, offset: usize) -> Result<TableOption, CqlError> {
        let Name { name, .. } = self.name("a table option")?;
        if !options::KNOWN.contains(&name.as_str()) {
            let near = suggestion(&name, options::KNOWN.iter().copied());
            return self.fail(offset, format!("unknown table option {name:?}{near}"));
        }
        self.expect_sign('=', "after the option's name")?;
        let value = self.option_value(0)?;
        let option = TableOption { name, value };
        options::check(self.text, offset, &option)?;
        Ok(option)
    }

    fn option_value(&mut self, depth: usize) -> Result<OptionValue, CqlError> {
        let token = self.peek().clone();
        let value = match token.kind {
            Kind::Number(number) => OptionValue::Number(number),
            Kind::Text(text) => OptionValue::Text(text),
            Kind::Word(word) if word == "true" => OptionValue::Boolean(true),
            Kind::Word(word) if word == "false" => OptionValue::Boolean(false),
            Kind::Sign('{') if depth < MAX_DEPTH => {
                self.advance();
                return self.option_map(depth);
            }
            Kind::Word(_) | Kind::Quoted(_) | Kind::Sign(_) | Kind::End => {
                return self.unexpected("expected a number, a string, true, false or a map");
            }
        };
        self.advance();
        Ok(value)
    }

    fn option_map(&mut self, depth: usize) -> Result<OptionValue, CqlError> {
        let mut entries = Vec::new();
        if self.take_sign('}') {
            return Ok(OptionValue::Map(entries));
        }
        loop {
            let key = self.option_value(depth + 1)?;
            self.expect_sign(':', "between key and value")?;
            entries.push((key, self.option_value(depth + 1)?));
            if !self.take_sign(',') {
                self.expect_sign('}', "after the map")?;
                return Ok(OptionValue::Map(entries));
            }
        }
    }
}
