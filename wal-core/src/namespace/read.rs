//! Reading a namespace file: all problems at once, each with its path.

mod delay;
mod own_table;
mod region;
mod table;
mod target;

use std::sync::Arc;

use toml::Value as Toml;

use super::kafka::wrong_topic;
use super::settings::{Numbers, Word};
use super::{
    DEFAULT_REPLICATION, KafkaSettings, Limits, LogKind, LogSettings, MAX_NAME, MAX_REPLICATION,
    Namespace, NamespaceError, Policy, Problem, QuotaSettings, Setting, StoreKind, StoreSettings,
};
use crate::cql::{CreateTable, MAX_TABLE_NAME};
use crate::id::TableId;
use crate::limits::{DEFAULT_SHARDS, MAX_SHARDS, MAX_TABLES};
use crate::nearest::suggestion;
use crate::record::{NEWEST_WRITE_VERSION, OLDEST_WRITE_VERSION, REGIONS_SINCE};
use crate::schema::{Ownership, Table};
use delay::read_delay;
use region::read_region;
use target::{read_brokers, read_client, read_targets};

pub use delay::DELAYED_CQL;
pub use region::ARRIVED_CQL;

impl Namespace {
    /// Reads and checks a namespace file. Its version is 1.
    pub fn from_toml(text: &str) -> Result<Self, NamespaceError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| NamespaceError {
            problems: vec![Problem {
                path: String::new(),
                message: error.to_string().trim_end().to_owned(),
            }],
        })?;
        let mut problems = Vec::new();
        let namespace = read(Section::new(String::new(), table), &mut problems);
        if problems.is_empty() { Ok(namespace) } else { Err(NamespaceError { problems }) }
    }
}

/// Reads everything; the result is meaningful only if no problem was found.
fn read(mut root: Section, problems: &mut Vec<Problem>) -> Namespace {
    let name = root.text("name", problems).unwrap_or_else(|| {
        root.missing("name", "a namespace needs a name, as in name = \"bank\"", problems);
        String::new()
    });
    if !is_name(&name) && !problems.iter().any(|problem| problem.path == "name") {
        let message = format!(
            "{name:?} is not a name: 1 to {MAX_NAME} lower-case letters, digits, '_' and '-', a \
             letter first"
        );
        root.problem("name", message, problems);
    }
    let write_version = read_write_version(&mut root, problems);
    let shards = root.number("shards", 1..=u64::from(MAX_SHARDS), problems);
    let mut log = LogSettings::default();
    if let Some(mut section) = root.section("log", problems) {
        if let Some(kind) = section.word("kind", problems) {
            log.kind = kind;
        }
        let mut words = vec!["kind"];
        if log.kind == LogKind::Kafka {
            words.extend(KAFKA_WORDS);
            log.kafka = read_kafka(&mut section, &name, problems);
        }
        section.numbers(&mut log, problems);
        section.finish(&words, LogSettings::SETTINGS, problems);
    }
    let store = read_store(&mut root, problems);
    let mut limits = Limits::default();
    if let Some(mut section) = root.section("limits", problems) {
        section.numbers(&mut limits, problems);
        section.finish(&[], Limits::SETTINGS, problems);
    }
    let mut quota = QuotaSettings::default();
    if let Some(mut section) = root.section("quota", problems) {
        section.numbers(&mut quota, problems);
        section.finish(&[], QuotaSettings::SETTINGS, problems);
    }
    let mut policy = Policy::default();
    if let Some(mut section) = root.section("policy", problems) {
        if let Some(wait) = section.word("wait", problems) {
            policy.wait = wait;
        }
        section.numbers(&mut policy, problems);
        section.finish(&["wait"], Policy::SETTINGS, problems);
    }
    let tables = read_tables(&mut root, problems);
    check_keyspaces(&store, &tables, problems);
    let targets = read_targets(&mut root, (&store, &tables), problems);
    let delay = read_delay(&mut root, &tables, problems);
    let region = read_region(&mut root, &tables, delay.as_ref(), problems);
    if region.is_some() {
        check_regions(&root, write_version, shards, problems);
    }
    let known = [
        "name",
        "write_version",
        "shards",
        "log",
        "store",
        "limits",
        "quota",
        "policy",
        "table",
        "target",
        "delay",
        "region",
    ];
    root.finish(&known, &[], problems);
    Namespace {
        by_name: index(&tables),
        name,
        version: 1,
        write_version,
        shards: shards.map_or(DEFAULT_SHARDS, |shards| shards as u16),
        log,
        store,
        limits,
        quota,
        policy,
        tables,
        targets,
        delay,
        region,
    }
}

/// What a namespace in several regions needs beside its section.
fn check_regions(
    root: &Section,
    write_version: Option<u32>,
    shards: Option<u64>,
    problems: &mut Vec<Problem>,
) {
    if let Some(stated) = write_version.filter(|stated| *stated < REGIONS_SINCE) {
        let message = format!(
            "it is {stated}, and regions need {REGIONS_SINCE}: raise it once every server has been upgraded"
        );
        root.problem("write_version", message, problems);
    }
    if shards == Some(1) {
        let message = "a namespace in several regions has two shards or more".to_owned();
        root.problem("shards", message, problems);
    }
}

fn read_write_version(root: &mut Section, problems: &mut Vec<Problem>) -> Option<u32> {
    const KEY: &str = "write_version";
    let newest = i64::from(NEWEST_WRITE_VERSION);
    if root.table.get(KEY).and_then(Toml::as_integer).is_some_and(|stated| stated > newest) {
        root.table.remove(KEY);
        let message = format!(
            "this program knows write versions up to {newest}, and could not read such a log: upgrade it first"
        );
        root.problem(KEY, message, problems);
    }
    let known = u64::from(OLDEST_WRITE_VERSION)..=u64::from(NEWEST_WRITE_VERSION);
    root.number(KEY, known, problems).map(|stated| stated as u32)
}

const KAFKA_WORDS: [&str; 5] = ["brokers", "topic", "replication", "development", "client"];

/// What `[log]` says of Kafka; `None` if something was missing, which is told.
fn read_kafka(
    section: &mut Section,
    namespace: &str,
    problems: &mut Vec<Problem>,
) -> Option<KafkaSettings> {
    let brokers = read_brokers(section, "a log in Kafka", problems);
    let topic = section.text("topic", problems).unwrap_or(format!("handfast-{namespace}"));
    if let Some(message) = wrong_topic(&topic) {
        section.problem("topic", message, problems);
    }
    let development = section.flag("development", problems).unwrap_or(false);
    let replication = section.number("replication", 1..=u64::from(MAX_REPLICATION), problems);
    let replication = replication.map_or(DEFAULT_REPLICATION, |copies| copies as u16);
    if replication < DEFAULT_REPLICATION && !development {
        let message = format!(
            "{replication} copies of a record may be lost with a broker: {DEFAULT_REPLICATION} or more, or \
             development = true"
        );
        section.problem("replication", message, problems);
    }
    let client = read_client(section, problems);
    Some(KafkaSettings { brokers: brokers?, topic, replication, development, client })
}

fn is_name(name: &str) -> bool {
    let rest = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' || letter == '-'
    };
    name.len() <= MAX_NAME
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.chars().all(rest)
}

/// The words of `[store]` that only a cluster has.
const OF_A_CLUSTER: [&str; 6] =
    ["contact_points", "datacenter", "keyspace", "own_keyspace", "tls_ca", "create_tables"];

fn read_store(root: &mut Section, problems: &mut Vec<Problem>) -> StoreSettings {
    let mut store = StoreSettings::default();
    let Some(mut section) = root.section("store", problems) else { return store };
    if let Some(kind) = section.word("kind", problems) {
        store.kind = kind;
    }
    match store.kind {
        StoreKind::Embedded => {
            for key in OF_A_CLUSTER {
                if section.table.remove(key).is_some() {
                    let message = "only a cluster has this: set kind = \"cassandra\"";
                    section.problem(key, message.to_owned(), problems);
                }
            }
        }
        StoreKind::Cassandra => read_cluster(&mut section, &mut store, problems),
    }
    section.numbers(&mut store, problems);
    let words: Vec<&str> = ["kind"].into_iter().chain(OF_A_CLUSTER).collect();
    section.finish(&words, StoreSettings::SETTINGS, problems);
    store
}

fn read_cluster(section: &mut Section, store: &mut StoreSettings, problems: &mut Vec<Problem>) {
    store.contact_points = section.texts("contact_points", problems).unwrap_or_default();
    if store.contact_points.is_empty() {
        let message = "name a node or two, as in contact_points = [\"10.0.0.1:9042\"]";
        section.missing("contact_points", message, problems);
    }
    for point in store.contact_points.iter().filter(|point| !is_contact_point(point)) {
        let message = format!("{point:?} is not host, host:port or [address]:port");
        section.problem("contact_points", message, problems);
    }
    store.datacenter = section.text("datacenter", problems);
    if store.datacenter.as_deref().is_none_or(str::is_empty) {
        let message = "name the data centre whose replicas are read and written, as nodetool status \
                       prints it";
        section.missing("datacenter", message, problems);
    }
    store.keyspace = section.text("keyspace", problems);
    if let Some(own) = section.text("own_keyspace", problems) {
        store.own_keyspace = own;
    }
    store.tls_ca = section.text("tls_ca", problems);
    if store.tls_ca.as_deref() == Some("") {
        let message = "name a file with certificates in PEM, or leave it out: then there is no TLS";
        section.problem("tls_ca", message.to_owned(), problems);
    }
    store.create_tables = section.flag("create_tables", problems).unwrap_or(false);
    for (key, name) in
        [("keyspace", store.keyspace.as_ref()), ("own_keyspace", Some(&store.own_keyspace))]
    {
        if let Some(name) = name.filter(|name| !is_keyspace(name)) {
            let message = format!(
                "{name:?} is not a keyspace: 1 to {MAX_TABLE_NAME} letters, digits and '_'"
            );
            section.problem(key, message, problems);
        }
    }
}

fn is_keyspace(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TABLE_NAME).contains(&name.len()) && name.bytes().all(letter)
}

fn is_contact_point(point: &str) -> bool {
    let (host, port) = match point.rsplit_once(':') {
        // An address of version 6 has colons of its own: with a port it stands in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (point, None),
    };
    let plain = |letter: char| !letter.is_whitespace() && letter != '/' && letter != '@';
    !host.is_empty()
        && host.chars().all(plain)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Every table of a cluster is in some keyspace.
fn check_keyspaces(store: &StoreSettings, tables: &[Arc<Table>], problems: &mut Vec<Problem>) {
    if store.kind != StoreKind::Cassandra || store.keyspace.is_some() {
        return;
    }
    for (number, table) in tables.iter().enumerate().filter(|(_, t)| t.keyspace().is_none()) {
        let message = format!(
            "{} is in no keyspace: write CREATE TABLE keyspace.{}, or set store.keyspace",
            table.name(),
            table.name()
        );
        problems.push(Problem { path: format!("table[{number}].cql"), message });
    }
}

fn read_tables(root: &mut Section, problems: &mut Vec<Problem>) -> Vec<Arc<Table>> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    let sections = root.sections("table", problems);
    if sections.is_empty() {
        let message = "a namespace has at least one [[table]] with cql = \"CREATE TABLE …\"";
        root.missing("table", message, problems);
    }
    if sections.len() > MAX_TABLES {
        let message =
            format!("a namespace has at most {MAX_TABLES} tables, this has {}", sections.len());
        root.problem("table", message, problems);
        return tables;
    }
    for (number, mut section) in sections.into_iter().enumerate() {
        let ownership = section.word("ownership", problems).unwrap_or(Ownership::default());
        let statement = match section.text("cql", problems) {
            Some(cql) => match cql.parse::<CreateTable>() {
                Ok(statement) => Some(statement),
                Err(error) => {
                    section.problem("cql", error.to_string(), problems);
                    None
                }
            },
            None => {
                section.missing("cql", "a table needs its CREATE TABLE statement", problems);
                None
            }
        };
        if let Some(statement) = statement {
            let id = TableId(u32::try_from(number).expect("there are at most MAX_TABLES"));
            let table = Table::new(id, statement, ownership);
            if tables.iter().any(|other| other.full_name() == table.full_name()) {
                let message = format!("the table {} is declared twice", table.full_name());
                section.problem("cql", message, problems);
            }
            tables.push(Arc::new(table));
        }
        section.finish(&["cql", "ownership"], &[], problems);
    }
    tables
}

/// Full names, and bare names that only one table has, sorted.
fn index(tables: &[Arc<Table>]) -> Vec<(String, TableId)> {
    let mut names: Vec<(String, TableId)> = Vec::new();
    for table in tables {
        names.push((table.full_name().to_owned(), table.id()));
        let same = tables.iter().filter(|other| other.name() == table.name()).count();
        if same == 1 && table.keyspace().is_some() {
            names.push((table.name().to_owned(), table.id()));
        }
    }
    names.sort();
    names
}

/// A table of TOML, emptied key by key: what is left was not expected.
struct Section {
    path: String,
    table: toml::Table,
    missing: Vec<&'static str>,
}

impl Section {
    fn new(path: String, table: toml::Table) -> Self {
        Self { path, table, missing: Vec::new() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn problem(&self, key: &str, message: String, problems: &mut Vec<Problem>) {
        problems.push(Problem { path: self.path_of(key), message });
    }

    /// Reports a key that is not there, unless what was there has been reported already.
    fn missing(&mut self, key: &'static str, message: &str, problems: &mut Vec<Problem>) {
        if !problems.iter().any(|problem| problem.path == self.path_of(key)) {
            self.problem(key, message.to_owned(), problems);
            self.missing.push(key);
        }
    }

    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(Toml) -> Result<T, Toml>,
    ) -> Option<T> {
        match read(self.table.remove(key)?) {
            Ok(value) => Some(value),
            Err(other) => {
                let message = format!("expected {expected}, got {}", describe(&other));
                self.problem(key, message, problems);
                None
            }
        }
    }

    fn text(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<String> {
        self.take(key, "a string", problems, |value| match value {
            Toml::String(text) => Ok(text),
            other => Err(other),
        })
    }

    fn texts(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        self.take(key, "a list of strings", problems, |value| match &value {
            Toml::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                Option::ok_or(texts, value)
            }
            _ => Err(value),
        })
    }

    fn flag(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        self.take(key, "true or false", problems, |value| value.as_bool().ok_or(value))
    }

    /// Every key that is left with its value as text, whichever way it was written.
    fn plain_values(&mut self, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
        let mut plain = Vec::new();
        for (key, value) in std::mem::take(&mut self.table) {
            match value {
                Toml::String(text) => plain.push((key, text)),
                Toml::Integer(_) | Toml::Boolean(_) => plain.push((key, value.to_string())),
                other => {
                    let message = format!(
                        "expected a string, got {}; write the name in quotes, as in \"sasl.mechanism\"",
                        describe(&other)
                    );
                    self.problem(&key, message, problems);
                }
            }
        }
        plain
    }

    fn number(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Vec<Problem>,
    ) -> Option<u64> {
        let (least, most) = (*range.start(), *range.end());
        let expected = format!("a whole number from {least} to {most}");
        self.take(key, &expected, problems, |value| match value.as_integer().map(u64::try_from) {
            Some(Ok(number)) if range.contains(&number) => Ok(number),
            _ => Err(value),
        })
    }

    fn numbers<N: Numbers>(&mut self, numbers: &mut N, problems: &mut Vec<Problem>) {
        for (index, setting) in N::SETTINGS.iter().enumerate() {
            if let Some(value) = self.number(setting.name, setting.range.clone(), problems) {
                numbers.set(index, value);
            }
        }
    }

    fn word<W: Word>(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<W> {
        let words: Vec<String> = W::ALL.iter().map(|word| format!("{:?}", word.word())).collect();
        let expected = format!("one of {}", words.join(", "));
        self.take(key, &expected, problems, |value| {
            let found = W::ALL.iter().find(|word| value.as_str() == Some(word.word()));
            found.copied().ok_or(value)
        })
    }

    fn section(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<Section> {
        let path = self.path_of(key);
        let expected = format!("a section [{path}]");
        self.take(key, &expected, problems, |value| match value {
            Toml::Table(table) => Ok(Section::new(path, table)),
            other => Err(other),
        })
    }

    fn sections(&mut self, key: &str, problems: &mut Vec<Problem>) -> Vec<Section> {
        let path = self.path_of(key);
        let expected = format!("sections [[{path}]]");
        let sections = self.take(key, &expected, problems, |value| match value {
            Toml::Array(items) if items.iter().all(Toml::is_table) => Ok(items),
            other => Err(other),
        });
        let mut found = Vec::new();
        for (index, item) in sections.unwrap_or_default().into_iter().enumerate() {
            if let Toml::Table(table) = item {
                found.push(Section::new(format!("{path}[{index}]"), table));
            }
        }
        found
    }

    /// Reports every key that nothing asked for.
    fn finish(self, words: &[&str], settings: &[Setting], problems: &mut Vec<Problem>) {
        let known = || words.iter().copied().chain(settings.iter().map(|setting| setting.name));
        for key in self.table.keys() {
            // A misspelt key explains why the right one is missing: one problem, not two.
            let near = suggestion(key, known());
            for missing in &self.missing {
                if near == suggestion(missing, [*missing]) {
                    let path = self.path_of(missing);
                    problems.retain(|problem| problem.path != path);
                }
            }
            let known: Vec<&str> = known().collect();
            let hint =
                if near.is_empty() { format!(": known here: {}", known.join(", ")) } else { near };
            self.problem(key, format!("unknown key{hint}"), problems);
        }
    }
}

/// A TOML value in words, shortened.
fn describe(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("the string {:?}", text.chars().take(60).collect::<String>()),
        Toml::Integer(number) => format!("{number}"),
        Toml::Float(number) => format!("{number}"),
        Toml::Boolean(value) => format!("{value}"),
        Toml::Datetime(value) => format!("{value}"),
        Toml::Array(_) => "a list".to_owned(),
        Toml::Table(_) => "a section".to_owned(),
    }
}
