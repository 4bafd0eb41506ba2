//! The canonical namespace file: every setting spelled out, so that a stored version means the same
//! whatever the defaults of the program that reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::region::{RegionMember, word_of};
use super::settings::{Numbers, Word};
use super::{
    KafkaSettings, Login, Namespace, RegionSettings, StoreKind, StoreSettings, Target, TargetPlace,
};

impl Namespace {
    /// The canonical file. Reading it gives this namespace, as version 1.
    pub fn to_toml(&self) -> String {
        let mut out = format!("name = {}\nshards = {}\n", basic(&self.name), self.shards);
        if let Some(write_version) = self.write_version {
            writeln!(out, "write_version = {write_version}").expect("a string takes all");
        }
        let kind = [("kind", self.log.kind.word())];
        section(&mut out, "log", &kind, &self.log);
        if let Some(kafka) = &self.log.kafka {
            write_kafka(&mut out, kafka);
        }
        let store = &self.store;
        section(&mut out, "store", &[("kind", store.kind.word())], store);
        if store.kind == StoreKind::Cassandra {
            for (key, value) in cluster_words(store) {
                writeln!(out, "{key} = {value}").expect("a string takes all");
            }
        }
        section(&mut out, "limits", &[], &self.limits);
        section(&mut out, "quota", &[], &self.quota);
        section(&mut out, "policy", &[("wait", self.policy.wait.word())], &self.policy);
        if let Some(delay) = &self.delay {
            section(&mut out, "delay", &[("table", &delay.table)], delay);
        }
        if let Some(region) = &self.region {
            write_region(&mut out, region);
        }
        for table in &self.tables {
            let cql = table.statement().to_string();
            let ownership = basic(table.ownership().word());
            write!(out, "\n[[table]]\ncql = {}\nownership = {ownership}\n", multi_line(&cql))
                .expect("a string takes all");
        }
        for target in &self.targets {
            write_target(&mut out, target);
        }
        out
    }
}

fn write_region(out: &mut String, region: &RegionSettings) {
    let words =
        [("here", &*region.here), ("home", word_of(&region.homes.home)), ("table", &*region.table)];
    section(out, "region", &words, region);
    let homes =
        region.homes.tables.iter().map(|(table, home)| (table.clone(), word_of(home).to_owned()));
    plain_section(out, "region.tables", &homes.collect());
    for RegionMember { name, servers } in &region.members {
        write!(out, "\n[[region.all]]\nname = {}\nservers = {}\n", basic(name), list(servers))
            .expect("a string takes all");
    }
}

/// What only a cluster has, as far as it says it.
fn cluster_words(store: &StoreSettings) -> Vec<(&'static str, String)> {
    let mut words = vec![
        ("contact_points", list(&store.contact_points)),
        ("datacenter", store.datacenter.as_deref().map_or_else(String::new, basic)),
        ("keyspace", store.keyspace.as_deref().map_or_else(String::new, basic)),
        ("own_keyspace", basic(&store.own_keyspace)),
        ("tls_ca", store.tls_ca.as_deref().map_or_else(String::new, basic)),
        ("create_tables", store.create_tables.to_string()),
    ];
    words.retain(|(_, value)| !value.is_empty());
    words
}

fn write_target(out: &mut String, target: &Target) {
    let Target { name, place, paused, retired, delivery } = target;
    write!(
        out,
        "\n[[target]]\nname = {}\nkind = {}\npaused = {paused}\nretired = {retired}\n",
        basic(name),
        basic(place.kind())
    )
    .expect("a string takes all");
    numbers(out, delivery);
    let none = BTreeMap::new();
    let (words, section, plain) = match place {
        TargetPlace::Http { url, headers } => (vec![("url", basic(url))], "headers", headers),
        TargetPlace::Kafka { brokers, topic, client } => {
            (vec![("brokers", basic(brokers)), ("topic", basic(topic))], "client", client)
        }
        TargetPlace::Memcached { servers, prefix, ttl_s } => {
            let words = [
                ("servers", list(servers)),
                ("prefix", basic(prefix)),
                ("ttl_s", ttl_s.to_string()),
            ];
            (words.into(), "", &none)
        }
        TargetPlace::Table { tables, login } => {
            numbers(out, tables.store());
            let mut words = cluster_words(tables.store());
            if let Some(Login { user, password }) = login {
                words.extend([("user", basic(user)), ("password", basic(password))]);
            }
            let cql = tables.tables().iter().map(|it| multi_line(&it.statement().to_string()));
            words.push(("tables", format!("[{}]", cql.collect::<Vec<_>>().join(", "))));
            (words, "", &none)
        }
        TargetPlace::Namespace { namespace, to } => {
            let to: Vec<String> = to.iter().map(|target| basic(target)).collect();
            writeln!(out, "namespace = {}\nto = [{}]", basic(namespace), to.join(", "))
                .expect("a string takes all");
            return;
        }
    };
    for (key, word) in words {
        writeln!(out, "{key} = {word}").expect("a string takes all");
    }
    plain_section(out, &format!("target.{section}"), plain);
}

/// A section of texts; nothing if there are none.
fn plain_section(out: &mut String, name: &str, values: &BTreeMap<String, String>) {
    if !values.is_empty() {
        write!(out, "\n[{name}]\n").expect("a string takes all");
    }
    for (name, value) in values {
        writeln!(out, "{} = {}", basic(name), basic(value)).expect("a string takes all");
    }
}

fn section<N: Numbers>(out: &mut String, name: &str, words: &[(&str, &str)], numbers: &N) {
    write!(out, "\n[{name}]\n").expect("a string takes all");
    for (key, word) in words {
        writeln!(out, "{key} = {}", basic(word)).expect("a string takes all");
    }
    self::numbers(out, numbers);
}

fn numbers<N: Numbers>(out: &mut String, numbers: &N) {
    for (index, setting) in N::SETTINGS.iter().enumerate() {
        writeln!(out, "{} = {}", setting.name, numbers.get(index)).expect("a string takes all");
    }
}

/// The rest of `[log]`, which stands last in `out`.
fn write_kafka(out: &mut String, kafka: &KafkaSettings) {
    let KafkaSettings { brokers, topic, replication, development, client } = kafka;
    write!(
        out,
        "brokers = {}\ntopic = {}\nreplication = {replication}\ndevelopment = {development}\n",
        basic(brokers),
        basic(topic)
    )
    .expect("a string takes all");
    plain_section(out, "log.client", client);
}

/// A basic string of TOML.
fn basic(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A list of basic strings.
fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| basic(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A string over several lines, as people write statements, unless a character forbids it.
fn multi_line(text: &str) -> String {
    let plain = |letter: char| letter == '\n' || !letter.is_control();
    if text.chars().all(plain)
        && !text.contains("\"\"\"")
        && !text.contains('\\')
        && !text.ends_with('"')
    {
        format!("\"\"\"\n{text}\"\"\"")
    } else {
        basic(text)
    }
}
