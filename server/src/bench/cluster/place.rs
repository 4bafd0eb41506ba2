//! What the benchmark makes in a cluster: a namespace, and beside it a topic and two tables of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use handfast_client::{AdminError, Client, Level, Options, Outcome};
use participant::store::cassandra::{ClusterOptions, Credentials, PlainTables};
use toml::{Table, Value};
use wal_core::build::Batch;
use wal_core::log::kafka::{Identity, KafkaOptions, MemoryHints, PlainTopic};
use wal_core::namespace::{KafkaSettings, Namespace};

use super::ClusterBenchArgs;
use crate::bench::wire::transaction_of;
use crate::bench::workload::{self, TABLES};

/// What the namespace calls the topic that messages are delivered to.
pub(super) const TOPIC: &str = "topic";

/// How long a producer lingers that gathers records: what Kafka's clients do by themselves.
const LINGER: Duration = Duration::from_millis(5);

/// The namespace that is measured.
pub(super) struct Target {
    pub(super) name: String,
    /// What its tables are called, in the order of [`TABLES`].
    pub(super) tables: [String; 2],
    pub(super) namespace: Namespace,
}

/// Everything that was made.
pub(super) struct Place {
    pub(super) target: Arc<Target>,
    /// One for each endpoint, which it turns to first.
    pub(super) clients: Vec<Client>,
    pub(super) topic: Arc<PlainTopic>,
    /// The same topic, by a producer that lingers.
    pub(super) gathering: Arc<PlainTopic>,
    pub(super) plain: Arc<PlainTables>,
    /// The topic that messages are delivered to.
    delivered: Arc<PlainTopic>,
}

impl Target {
    /// The namespace of the file, with another name, topic and other tables.
    fn read(args: &ClusterBenchArgs) -> anyhow::Result<Self> {
        let text = read_file(&args.definition)?;
        let given = Namespace::from_toml(&text)
            .with_context(|| format!("{} is not a namespace file", args.definition.display()))?;
        if given.log().kafka.is_none() || given.store().contact_points.is_empty() {
            bail!(
                "{} keeps its log or its tables elsewhere than in Kafka and Cassandra; `handfast bench` \
                 alone measures that",
                args.definition.display()
            );
        }
        let name = args.name.clone();
        let prefix = name.replace('-', "_");
        let tables = TABLES.map(|table| format!("{prefix}_{table}"));
        let mut file: Table = text.parse().context("the file was read above")?;
        file.insert("name".to_owned(), name.clone().into());
        if let Some(shards) = args.shards {
            file.insert("shards".to_owned(), i64::from(shards).into());
        }
        let section = |file: &mut Table, name: &str, key: &str, value: Option<Value>| {
            if let Some(section) = file.get_mut(name).and_then(Value::as_table_mut) {
                section.remove(key);
                section.extend(value.map(|value| (key.to_owned(), value)));
            }
        };
        section(&mut file, "log", "topic", None);
        section(&mut file, "store", "create_tables", Some(true.into()));
        let made = tables.iter().map(|table| {
            let cql =
                format!("CREATE TABLE {table} (id bigint PRIMARY KEY, balance bigint, value blob)");
            Value::Table(Table::from_iter([("cql".to_owned(), Value::from(cql))]))
        });
        file.insert("table".to_owned(), Value::Array(made.collect()));
        file.insert("target".to_owned(), Value::Array(vec![delivered_to(&given, &name)?]));
        let definition = toml::to_string(&file)?;
        let namespace = Namespace::from_toml(&definition)?;
        Ok(Self { name, tables, namespace })
    }

    pub(super) fn keyspace(&self) -> &str {
        self.namespace.store().keyspace.as_deref().unwrap_or_default()
    }

    /// The transaction of a batch of the benchmark.
    pub(super) fn transaction(&self, batch: &Batch) -> handfast_client::Transaction {
        let named = |table: &str| self.tables[usize::from(table == TABLES[1])].as_str();
        transaction_of(&self.name, batch, named)
    }
}

/// The target that is a topic of the same brokers.
fn delivered_to(given: &Namespace, name: &str) -> anyhow::Result<Value> {
    let kafka = given.log().kafka.as_ref().context("checked by the caller")?;
    let mut target = Table::from_iter([
        ("name".to_owned(), Value::from(TOPIC)),
        ("kind".to_owned(), "kafka".into()),
        ("brokers".to_owned(), kafka.brokers.clone().into()),
        ("topic".to_owned(), delivered_name(name).into()),
    ]);
    if !kafka.client.is_empty() {
        target.insert("client".to_owned(), Value::try_from(&kafka.client)?);
    }
    Ok(Value::Table(target))
}

fn delivered_name(namespace: &str) -> String {
    format!("handfast-{namespace}-delivered")
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes everything, and fills the tables.
pub(super) async fn make(args: &ClusterBenchArgs, endpoints: &[String]) -> anyhow::Result<Place> {
    let target = Arc::new(Target::read(args)?);
    let run = uuid::Uuid::new_v4().simple().to_string();
    let run = &run[..8];

    eprintln!("plain topic and tables …");
    let making = Arc::clone(&target);
    let plain_name = format!("handfast-{}-plain-{run}", target.name);
    let plain_tables = plain_names(&target.name, run);
    let (topics, plain) = tokio::task::spawn_blocking(move || {
        let settings = making.namespace.log().kafka.clone().context("checked above")?;
        let topic = |topic: &str, linger| {
            let options = KafkaOptions::new(
                KafkaSettings { topic: topic.to_owned(), ..settings.clone() },
                making.namespace.shards(),
                Identity::Unknown,
                Arc::new(MemoryHints::default()),
            );
            PlainTopic::create(options, linger).map(Arc::new)
        };
        let store = making.namespace.store();
        let cluster = ClusterOptions {
            contact_points: store.contact_points.clone(),
            datacenter: store.datacenter.clone().context("a cluster's data centre is checked")?,
            credentials: Credentials::from_environment(),
            tls_ca: store.tls_ca.as_ref().map(std::path::PathBuf::from),
            request_timeout: Duration::from_millis(store.request_timeout_ms),
        };
        let [left, right] = &plain_tables;
        let plain = PlainTables::create(&cluster, making.keyspace(), [left, right])?;
        let topics = [
            topic(&plain_name, Duration::ZERO)?,
            topic(&plain_name, LINGER)?,
            topic(&delivered_name(&making.name), LINGER)?,
        ];
        anyhow::Ok((topics, Arc::new(plain)))
    })
    .await??;
    let [topic, gathering, delivered] = topics;

    eprintln!("namespace {} …", target.name);
    let mut clients = Vec::new();
    for first in 0..endpoints.len() {
        let mut endpoints = endpoints.to_vec();
        endpoints.rotate_left(first);
        clients.push(Client::connect(endpoints).await?);
    }
    // New tables take their time, and so does a first epoch of each shard.
    let patient = Options { wait: Duration::from_secs(120), ..Options::default() };
    create_namespace(&clients[0].with_options(patient), &target).await?;
    let place = Place { target, clients, topic, gathering, plain, delivered };
    place.fill(args.rows).await?;
    Ok(place)
}

fn plain_names(namespace: &str, run: &str) -> [String; 2] {
    let prefix = namespace.replace('-', "_");
    TABLES.map(|table| format!("{prefix}_plain_{table}_{run}"))
}

async fn create_namespace(client: &Client, target: &Target) -> anyhow::Result<()> {
    let definition = target.namespace.to_toml();
    match client.admin().create_namespace(&definition).await {
        Ok(_) => return Ok(()),
        Err(AdminError::Conflict(_)) => {} // of an earlier run, perhaps
        Err(error) => return Err(error.into()),
    }
    let there = client.admin().describe_namespace(&target.name).await?;
    if there.definition != definition {
        bail!(
            "there is a namespace {0} already, with other settings; choose another with --name, or the \
             settings that `handfast namespace describe {0} --definition` prints",
            target.name
        );
    }
    eprintln!("  it is there since an earlier run, and used again");
    Ok(())
}

impl Place {
    /// Rows for everybody: the same in the plain tables and in the namespace's.
    async fn fill(&self, rows: u64) -> anyhow::Result<()> {
        eprintln!("{rows} rows …");
        let patient = Options { wait: Duration::from_secs(60), ..Options::default() };
        let patient = self.clients[0].with_options(patient);
        for batch in workload::preparation(rows) {
            let transaction = self.target.transaction(&batch);
            let outcome = patient.submit(&transaction).await?;
            if !matches!(outcome, Outcome::Committed(_)) {
                bail!("preparing rows: {outcome:?}");
            }
        }
        let all = workload::all_rows(rows);
        for some in all.chunks(256) {
            let index = |(table, id): &(&str, i64)| (usize::from(*table == TABLES[1]), *id);
            let some: Vec<_> = some.iter().map(index).collect();
            self.plain.write_balances(&some, workload::BALANCE).await?;
        }
        let value = Bytes::from(vec![7; 100]);
        self.plain.write_values(&[(0, 0)], &value).await?;
        Ok(())
    }

    /// Waits until everything that is committed is in the tables. Returns how long that took.
    pub(super) async fn wait_until_applied(&self, rows: u64) -> anyhow::Result<Duration> {
        const PATIENCE: Duration = Duration::from_secs(300);
        let begun = Instant::now();
        // One row of each shard: whoever waits for a commit waits for all before it on its shards.
        let shards = self.target.namespace.shards();
        let mut one_each: Vec<Option<i64>> = vec![None; usize::from(shards)];
        for (_, id) in workload::all_rows(rows) {
            let slot = &mut one_each[usize::from(workload::shard(id, shards).0)];
            slot.get_or_insert(id);
        }
        let batch = workload::values_of(one_each.into_iter().flatten());
        let client = self.clients[0].with_options(Options {
            level: Level::Applied,
            wait: PATIENCE,
            ..Options::default()
        });
        match client.submit(&self.target.transaction(&batch)).await? {
            Outcome::Committed(committed) if committed.applied => Ok(begun.elapsed()),
            other => bail!("not everything was in the tables after {PATIENCE:?}: {other:?}"),
        }
    }

    /// How many messages the topic has that they are delivered to.
    pub(super) async fn delivered(&self) -> anyhow::Result<u64> {
        let topic = Arc::clone(&self.delivered);
        Ok(tokio::task::spawn_blocking(move || topic.count()).await??)
    }

    /// Waits until the topic has so many.
    pub(super) async fn wait_until_delivered(&self, count: u64) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(300);
        let until = Instant::now() + PATIENCE;
        loop {
            let there = self.delivered().await?;
            if there >= count {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{} messages were not delivered within {PATIENCE:?}", count - there);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The sum of all balances, as Handfast reads it.
    pub(super) async fn sum(&self, rows: u64) -> anyhow::Result<i64> {
        const AT_ONCE: usize = 1_000;
        let Target { name, tables, .. } = &*self.target;
        let mut sum = 0;
        for rows in workload::all_rows(rows).chunks(AT_ONCE) {
            let rows = rows
                .iter()
                .map(|(table, id)| (tables[usize::from(*table == TABLES[1])].as_str(), *id));
            let rows = self.clients[0].read(name, rows).await?;
            sum += rows.iter().filter_map(|row| row.integer("balance")).sum::<i64>();
        }
        Ok(sum)
    }

    /// The same as an ordinary reader of the tables sees it.
    pub(super) async fn plain_sum(&self) -> anyhow::Result<i64> {
        let [left, right] = &self.target.tables;
        Ok(self.plain.sum(self.target.keyspace(), &[left, right]).await?)
    }

    /// Takes away what can be: topic and tables of the plain requests.
    pub(super) async fn clean_up(self) {
        let Self { topic, plain, target, gathering, .. } = self;
        drop(gathering);
        if let Some(plain) = Arc::into_inner(plain)
            && let Err(error) = plain.drop_tables().await
        {
            eprintln!("the plain tables are still there: {error}");
        }
        let deleted =
            tokio::task::spawn_blocking(|| Arc::into_inner(topic).map(PlainTopic::delete));
        if let Ok(Some(Err(error))) = deleted.await {
            eprintln!("the plain topic is still there: {error}");
        }
        eprintln!(
            "the namespace {} stays, for a namespace cannot be dropped: the next run uses it again",
            target.name
        );
    }
}
