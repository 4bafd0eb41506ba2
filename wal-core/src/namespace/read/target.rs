//! Reading `[[target]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table::{read_table, table_words};
use super::{Section, is_name};
use crate::namespace::kafka::{reserved_setting, wrong_brokers, wrong_topic};
use crate::namespace::settings::{DeliverySettings, Numbers as _};
use crate::namespace::target::{MAX_PREFIX, TargetKind};
use crate::namespace::{
    MAX_MEMCACHED_SERVERS, MAX_NAME, MAX_TARGETS, MAX_TTL_S, StoreSettings, Target, TargetPlace,
};
use crate::problem::Problem;
use crate::schema::Table;

/// The words of every target.
const WORDS: [&str; 4] = ["name", "kind", "paused", "retired"];
const HTTP_WORDS: [&str; 2] = ["url", "headers"];
const KAFKA_WORDS: [&str; 3] = ["brokers", "topic", "client"];
const NAMESPACE_WORDS: [&str; 2] = ["namespace", "to"];
const MEMCACHED_WORDS: [&str; 3] = ["servers", "prefix", "ttl_s"];

/// Tries at once of a shard whose target is a topic: a Kafka producer gathers for milliseconds before it sends.
const KAFKA_IN_FLIGHT: u64 = 1_024;

/// Bytes of the name by which clients know a server of memcached.
const MAX_SERVER_NAME: usize = 255;

/// Where the namespace's own tables are, and which they are.
pub(super) type Own<'a> = (&'a StoreSettings, &'a [Arc<Table>]);

pub(super) fn read_targets(
    root: &mut Section,
    own: Own<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Target> {
    let sections = root.sections("target", problems);
    if sections.len() > MAX_TARGETS {
        let count = sections.len();
        let message = format!("a namespace has at most {MAX_TARGETS} targets, this has {count}");
        root.problem("target", message, problems);
        return Vec::new();
    }
    let mut targets: Vec<Target> = Vec::new();
    for section in sections {
        let path = section.path_of("name");
        let Some(target) = read_target(section, own, problems) else { continue };
        if targets.iter().any(|other| other.name == target.name) {
            let message = format!("the target {:?} is declared twice", target.name);
            problems.push(Problem { path, message });
        }
        targets.push(target);
    }
    targets
}

/// `None` if something was missing, which is told.
fn read_target(mut section: Section, own: Own<'_>, problems: &mut Vec<Problem>) -> Option<Target> {
    let name = section.text("name", problems);
    match name.as_deref() {
        None => {
            let message = "a target needs a name, as in name = \"shipping\": messages call it so";
            section.missing("name", message, problems);
        }
        Some(name) if !is_name(name) => {
            let message = format!(
                "{name:?} is not a name: 1 to {MAX_NAME} lower-case letters, digits, '_' and '-', a \
                 letter first"
            );
            section.problem("name", message, problems);
        }
        Some(_) => {}
    }
    let kind = section.word::<TargetKind>("kind", problems);
    if kind.is_none() {
        let message = "a target is something: kind = \"http\", \"kafka\", \"memcached\", \"namespace\" or \
                       \"table\"";
        section.missing("kind", message, problems);
    }
    let place = match kind {
        Some(TargetKind::Http) => read_http(&mut section, problems),
        Some(TargetKind::Kafka) => read_kafka(&mut section, problems),
        Some(TargetKind::Namespace) => read_namespace(&mut section, problems),
        Some(TargetKind::Memcached) => read_memcached(&mut section, problems),
        Some(TargetKind::Table) => read_table(&mut section, own, problems),
        None => None,
    };
    let paused = section.flag("paused", problems).unwrap_or(false);
    let retired = section.flag("retired", problems).unwrap_or(false);
    let mut delivery = delivery_to(kind);
    section.numbers(&mut delivery, problems);
    let of_tables: Vec<&str> = table_words().collect();
    let words = match kind {
        Some(TargetKind::Http) => &HTTP_WORDS[..],
        Some(TargetKind::Kafka) => &KAFKA_WORDS[..],
        Some(TargetKind::Namespace) => &NAMESPACE_WORDS[..],
        Some(TargetKind::Memcached) => &MEMCACHED_WORDS[..],
        Some(TargetKind::Table) => &of_tables,
        None => {
            // What else it says is right for one of them.
            for word in HTTP_WORDS
                .iter()
                .chain(&KAFKA_WORDS)
                .chain(&MEMCACHED_WORDS)
                .chain(&NAMESPACE_WORDS)
                .chain(&of_tables)
            {
                section.table.remove(*word);
            }
            &[]
        }
    };
    let words: Vec<&str> = WORDS.iter().chain(words).copied().collect();
    section.finish(&words, DeliverySettings::SETTINGS, problems);
    Some(Target { name: name?, place: place?, paused, retired, delivery })
}

/// How messages are delivered to a target that says nothing of it.
fn delivery_to(kind: Option<TargetKind>) -> DeliverySettings {
    let mut settings = DeliverySettings::default();
    if kind == Some(TargetKind::Kafka) {
        settings.in_flight = KAFKA_IN_FLIGHT;
    }
    settings
}

fn read_http(section: &mut Section, problems: &mut Vec<Problem>) -> Option<TargetPlace> {
    let url = section.text("url", problems);
    match url.as_deref() {
        None => {
            let message = "an HTTP target needs url = \"https://host/path\"";
            section.missing("url", message, problems);
        }
        Some(url) => {
            if let Some(message) = wrong_url(url) {
                section.problem("url", message, problems);
            }
        }
    }
    let headers = section.section("headers", problems);
    let headers = headers.map_or_else(Vec::new, |mut headers| {
        let values = headers.plain_values(problems);
        for (name, value) in &values {
            if let Some(message) = wrong_header(name, value) {
                headers.problem(name, message, problems);
            }
        }
        values
    });
    let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    Some(TargetPlace::Http { url: url?, headers: headers.collect() })
}

/// Why a text cannot be where messages are posted to, if so.
fn wrong_url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Some(format!("{url:?} does not begin with http:// or https://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let message = "a user or password may not stand here: put an authorization into headers, as \
                       \"env:NAME\"";
        return Some(message.to_owned());
    }
    let plain = |letter: char| letter.is_ascii_graphic();
    (authority.is_empty() || authority.starts_with(':') || !url.chars().all(plain))
        .then(|| format!("{url:?} is not an address: write https://host/path"))
}

/// Why a header cannot be said with every request, if so.
fn wrong_header(name: &str, value: &str) -> Option<String> {
    const OURS: [&str; 8] = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "idempotency-key",
        "te",
        "upgrade",
    ];
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || lower.starts_with("handfast-") {
        return Some("may not be set: Handfast says it itself".to_owned());
    }
    let token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    if name.is_empty() || !name.chars().all(token) {
        return Some(format!("{name:?} is not the name of a header"));
    }
    let plain = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    (!value.chars().all(plain)).then(|| "its value has other than plain characters".to_owned())
}

fn read_kafka(section: &mut Section, problems: &mut Vec<Problem>) -> Option<TargetPlace> {
    let brokers = read_brokers(section, "a Kafka target", problems);
    let topic = section.text("topic", problems);
    match topic.as_deref().map(wrong_topic) {
        None => section.missing("topic", "a Kafka target needs topic = \"name\"", problems),
        Some(Some(message)) => section.problem("topic", message, problems),
        Some(None) => {}
    }
    let client = read_client(section, problems);
    Some(TargetPlace::Kafka { brokers: brokers?, topic: topic?, client })
}

fn read_namespace(section: &mut Section, problems: &mut Vec<Problem>) -> Option<TargetPlace> {
    let namespace = section.text("namespace", problems);
    match namespace.as_deref() {
        None => {
            let message = "a namespace as a target needs namespace = \"name\"";
            section.missing("namespace", message, problems);
        }
        Some(name) if !is_name(name) => {
            section.problem("namespace", format!("{name:?} is not a namespace's name"), problems);
        }
        Some(_) => {}
    }
    let to = section.texts("to", problems).unwrap_or_default();
    Some(TargetPlace::Namespace { namespace: namespace?, to })
}

fn read_memcached(section: &mut Section, problems: &mut Vec<Problem>) -> Option<TargetPlace> {
    let servers = section.texts("servers", problems);
    match servers.as_deref() {
        None | Some([]) => {
            let message = "a memcached target needs servers = [\"host:port\"]";
            section.missing("servers", message, problems);
        }
        Some(servers) => {
            if let Some(message) = wrong_servers(servers) {
                section.problem("servers", message, problems);
            }
        }
    }
    let prefix = section.text("prefix", problems).unwrap_or_default();
    let plain = |byte: u8| byte > b' ' && byte != 0x7f;
    if prefix.len() > MAX_PREFIX || !prefix.bytes().all(plain) {
        let message = format!(
            "no key begins with {prefix:?}: at most {MAX_PREFIX} bytes, no blanks or control characters"
        );
        section.problem("prefix", message, problems);
    }
    let ttl_s = section.number("ttl_s", 0..=MAX_TTL_S, problems).unwrap_or(0);
    Some(TargetPlace::Memcached { servers: servers?, prefix, ttl_s })
}

/// Why texts cannot be servers of memcached, if so.
fn wrong_servers(servers: &[String]) -> Option<String> {
    if servers.len() > MAX_MEMCACHED_SERVERS {
        let count = servers.len();
        return Some(format!("at most {MAX_MEMCACHED_SERVERS} servers, this has {count}"));
    }
    let parts = |server: &str| -> (String, Option<String>) {
        let (address, name) = server.split_once(' ').map_or((server, None), |(a, n)| (a, Some(n)));
        (address.to_owned(), name.map(str::to_owned))
    };
    for (at, server) in servers.iter().enumerate() {
        let (address, name) = parts(server);
        let graphic = |name: &String| {
            (1..=MAX_SERVER_NAME).contains(&name.len())
                && name.chars().all(|letter| letter.is_ascii_graphic())
        };
        // Brokers are written as these are, with commas between.
        if address.contains(',') || wrong_brokers(&address).is_some() || !name.iter().all(graphic) {
            return Some(format!(
                "{server:?} is not a server: write host:port, or \"host:port NAME\" where clients know it by \
                 another name"
            ));
        }
        let is_same = |other: &String| {
            let (other, others) = parts(other);
            other == address || (name.is_some() && others == name)
        };
        if servers[..at].iter().any(is_same) {
            return Some(format!("{server:?} is there twice"));
        }
    }
    None
}

/// `brokers`, which `who` needs.
pub(super) fn read_brokers(
    section: &mut Section,
    who: &str,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let brokers = section.text("brokers", problems);
    match brokers.as_deref().map(wrong_brokers) {
        None => {
            let message = format!("{who} needs brokers = \"host:port,host:port\"");
            section.missing("brokers", &message, problems);
        }
        Some(Some(message)) => section.problem("brokers", message, problems),
        Some(None) => {}
    }
    brokers
}

/// `client`: settings of the client library.
pub(super) fn read_client(
    section: &mut Section,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut client = BTreeMap::new();
    if let Some(mut settings) = section.section("client", problems) {
        for (name, value) in settings.plain_values(problems) {
            match reserved_setting(&name) {
                Some(why) => settings.problem(&name, format!("may not be set: {why}"), problems),
                None => {
                    client.insert(name, value);
                }
            }
        }
    }
    client
}
