//! Reading a `[[target]]` of tables: the words of `[store]`, and the statements.

use toml::Value as Toml;

use super::target::Own;
use super::{OF_A_CLUSTER, Section};
use crate::namespace::settings::{Numbers as _, Word as _};
use crate::namespace::{Login, Namespace, Problem, StoreKind, StoreSettings, TargetPlace};

/// The words that `[store]` does not have.
const WORDS: [&str; 3] = ["tables", "user", "password"];
/// The port of a contact point that names none.
const USUAL_PORT: &str = ":9042";

/// The words of `[store]` that say where tables are, and how they are asked.
fn store_words() -> impl Iterator<Item = &'static str> {
    OF_A_CLUSTER.into_iter().chain(StoreSettings::SETTINGS.iter().map(|setting| setting.name))
}

/// The words of a target of tables.
pub(super) fn table_words() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().chain(store_words())
}

/// `None` if something was missing, which is told.
pub(super) fn read_table(
    section: &mut Section,
    own: Own<'_>,
    problems: &mut Vec<Problem>,
) -> Option<TargetPlace> {
    let before = problems.len();
    let cql = section.texts("tables", problems).unwrap_or_default();
    if cql.is_empty() {
        let message = "a table target needs tables = [\"CREATE TABLE …\"]";
        section.missing("tables", message, problems);
    }
    let login = read_login(section, problems);
    let mut store = toml::Table::new();
    store.insert("kind".to_owned(), StoreKind::Cassandra.word().into());
    for word in store_words() {
        if let Some(value) = section.table.remove(word) {
            store.insert(word.to_owned(), value);
        }
    }
    let given: Vec<String> = store.keys().cloned().collect();
    let mut found = Vec::new();
    let tables = super::read(as_namespace(store, &cql), &mut found);
    for problem in found {
        tell(section, &given, cql.is_empty(), problem, problems);
    }
    if problems.len() == before {
        refuse_own(section, own, &tables, problems);
    }
    Some(TargetPlace::Table { tables: tables.into(), login })
}

/// A namespace file of nothing but the store and the tables.
fn as_namespace(store: toml::Table, cql: &[String]) -> Section {
    let table = |cql: &String| {
        // Others than the target may write them.
        let words = [("cql", cql.as_str()), ("ownership", "shared")];
        words.into_iter().map(|(key, word)| (key.to_owned(), word.into())).collect::<toml::Table>()
    };
    let tables: Vec<Toml> = cql.iter().map(|cql| Toml::Table(table(cql))).collect();
    let mut root = toml::Table::new();
    root.insert("name".to_owned(), "target".into());
    root.insert("store".to_owned(), Toml::Table(store));
    root.insert("table".to_owned(), Toml::Array(tables));
    Section::new(String::new(), root)
}

/// Tells a problem of that namespace file with the words of the target.
fn tell(
    section: &mut Section,
    given: &[String],
    without_tables: bool,
    Problem { path, message }: Problem,
    problems: &mut Vec<Problem>,
) {
    if let Some(key) = path.strip_prefix("store.") {
        match store_words().find(|word| *word == key && !given.iter().any(|it| it == word)) {
            Some(word) => section.missing(word, &message, problems),
            None => section.problem(key, message, problems),
        }
        return;
    }
    if without_tables {
        return; // which was told
    }
    let path = path.replacen("table", "tables", 1);
    let message = message.replace("set store.keyspace", "set keyspace");
    section.problem(path.strip_suffix(".cql").unwrap_or(&path), message, problems);
}

fn read_login(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Login> {
    let user = section.text("user", problems);
    let password = section.text("password", problems);
    match (user, password) {
        (Some(user), Some(password)) => Some(Login { user, password }),
        (None, None) => None,
        (user, _) => {
            let key = if user.is_some() { "password" } else { "user" };
            let message = "who logs in has a user and a password, as in password = \"env:NAME\"";
            section.missing(key, message, problems);
            None
        }
    }
}

/// What the namespace itself keeps in the same cluster is written by its transactions alone: they would not see
/// what a target writes, and go on from what was there before.
fn refuse_own(
    section: &Section,
    (store, own): Own<'_>,
    tables: &Namespace,
    problems: &mut Vec<Problem>,
) {
    let address = |point: &String| {
        let has_port = point.rsplit_once(':').is_some_and(|(host, _)| {
            // An address of version 6 has colons of its own.
            !host.contains(':') || host.ends_with(']')
        });
        let port = if has_port { "" } else { USUAL_PORT };
        format!("{}{port}", point.to_ascii_lowercase())
    };
    let there = &tables.store().contact_points;
    let is_same = |point: &String| there.iter().any(|other| address(other) == address(point));
    let same_cluster =
        store.kind == StoreKind::Cassandra && store.contact_points.iter().any(is_same);
    for (index, table) in tables.tables().iter().enumerate() {
        let Some(keyspace) = tables.keyspace_of(table) else { continue };
        let mut of_own = own.iter().filter_map(|own| own.keyspace().or(store.keyspace.as_deref()));
        let is_own = keyspace == tables.store().own_keyspace;
        let whose = if is_own || (same_cluster && keyspace == store.own_keyspace) {
            "where Handfast says whose tables are whose"
        } else if same_cluster && of_own.any(|own| own == keyspace) {
            "where the namespace has its own tables: a transaction writes those itself"
        } else {
            continue;
        };
        let message = format!("{} is in the keyspace {keyspace:?}, {whose}", table.name());
        section.problem(&format!("tables[{index}]"), message, problems);
    }
}
