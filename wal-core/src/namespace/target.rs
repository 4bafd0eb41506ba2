//! `[[target]]`: where messages are delivered to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Namespace;
use super::settings::{DeliverySettings, Word};

/// Targets of a namespace.
pub const MAX_TARGETS: usize = 64;

/// Servers of one memcached target.
pub const MAX_MEMCACHED_SERVERS: usize = 256;
/// The longest time that an item in memcached may live, seconds: a year.
pub const MAX_TTL_S: u64 = 365 * 24 * 60 * 60;
/// Bytes of what all keys in memcached begin with.
pub(super) const MAX_PREFIX: usize = 200;

/// A target of a namespace: messages that name it are delivered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name: what messages call it.
    pub name: String,
    /// What it is, and where.
    pub place: TargetPlace,
    /// Whether nothing is sent for now. What names it is taken, kept in the log, and sent later.
    pub paused: bool,
    /// Whether it takes no new messages: what is there is delivered still, and the next version may leave it
    /// out.
    pub retired: bool,
    /// Bounds and pauses.
    pub delivery: DeliverySettings,
}

/// What a target is, and where.
#[derive(Clone, PartialEq, Eq)]
pub enum TargetPlace {
    /// An HTTP endpoint: one POST for each message.
    Http {
        /// `http://…` or `https://…`.
        url: String,
        /// What is said with every request, such as `authorization`. A value `env:NAME` is read from the
        /// server's environment, so that a password need not stand here.
        headers: BTreeMap<String, String>,
    },
    /// A topic in Kafka: one record for each message.
    Kafka {
        /// Brokers to start from, `host:port`, with commas between.
        brokers: String,
        /// The topic.
        topic: String,
        /// Settings of the client library by its own names, as in [`KafkaSettings`](super::KafkaSettings).
        client: BTreeMap<String, String>,
    },
    /// Another namespace of the same installation: one message in its log for each message (chained logs).
    Namespace {
        /// Its name.
        namespace: String,
        /// Its targets that the message names there.
        to: Vec<String>,
    },
    /// Servers of memcached: each message sets an item of one of them, or deletes it.
    Memcached {
        /// `host:port`, and behind a blank the name by which keys are spread, if it is another.
        servers: Vec<String>,
        /// What every key begins with.
        prefix: String,
        /// After how many seconds items are gone whose messages do not say; 0: when the server needs the room.
        ttl_s: u64,
    },
    /// Tables of another keyspace or another cluster: each message writes a row of one of them.
    Table {
        /// Where they are and what they are like, as a namespace of nothing but a store and tables: so what is
        /// written to them is read and checked as for the tables of any namespace.
        tables: Arc<Namespace>,
        /// Who logs in there; `None`: who logs in to the clusters of namespaces.
        login: Option<Login>,
    },
}

/// Who logs in somewhere. A value `env:NAME` is read from the server's environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl TargetPlace {
    /// What it is, as a namespace file says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => TargetKind::Http.word(),
            Self::Kafka { .. } => TargetKind::Kafka.word(),
            Self::Namespace { .. } => TargetKind::Namespace.word(),
            Self::Memcached { .. } => TargetKind::Memcached.word(),
            Self::Table { .. } => TargetKind::Table.word(),
        }
    }
}

impl fmt::Debug for TargetPlace {
    // Headers and the client's settings may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, headers } => {
                let names = headers.keys();
                f.debug_struct("Http").field("url", url).field("headers", &names).finish()
            }
            Self::Kafka { brokers, topic, client } => {
                let mut shown = f.debug_struct("Kafka");
                shown.field("brokers", brokers).field("topic", topic);
                shown.field("client", &client.keys()).finish()
            }
            Self::Namespace { namespace, to } => {
                f.debug_struct("Namespace").field("namespace", namespace).field("to", to).finish()
            }
            Self::Memcached { servers, prefix, ttl_s } => {
                let mut shown = f.debug_struct("Memcached");
                shown.field("servers", servers).field("prefix", prefix);
                shown.field("ttl_s", ttl_s).finish()
            }
            Self::Table { tables, login } => {
                f.debug_struct("Table").field("tables", tables).field("login", login).finish()
            }
        }
    }
}

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetKind {
    Http,
    Kafka,
    Memcached,
    Namespace,
    Table,
}

impl Word for TargetKind {
    const ALL: &'static [Self] =
        &[Self::Http, Self::Kafka, Self::Memcached, Self::Namespace, Self::Table];

    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Kafka => "kafka",
            Self::Namespace => "namespace",
            Self::Memcached => "memcached",
            Self::Table => "table",
        }
    }
}
