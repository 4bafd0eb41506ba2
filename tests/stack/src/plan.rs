//! What a stack consists of: enough to write every configuration and every command line again.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::stack::{Jit, StackSpec};

/// The number of this file format.
const FORMAT: u32 = 1;
const FILE: &str = "stack.json";

/// Kept in the stack's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    format: u32,
    pub(crate) network: Network,
    pub(crate) kafka: usize,
    pub(crate) cassandra: usize,
    pub(crate) postgres: bool,
    pub(crate) jit: Jit,
    pub(crate) kafka_properties: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) cassandra_settings: Vec<(String, String)>,
    /// Kafka's, 22 characters.
    pub(crate) cluster_id: String,
    /// PostgreSQL's, of the owner of the database.
    pub(crate) password: String,
}

impl Plan {
    pub(crate) fn new(spec: &StackSpec, network: Network) -> anyhow::Result<Self> {
        for (title, count) in [("Kafka brokers", spec.kafka), ("Cassandra nodes", spec.cassandra)] {
            ensure!(matches!(count, 0 | 1 | 3), "{count} {title} were asked for: choose 0, 1 or 3");
        }
        ensure!(
            spec.kafka + spec.cassandra > 0 || spec.postgres,
            "nothing was asked for: choose brokers, nodes or PostgreSQL"
        );
        Ok(Self {
            format: FORMAT,
            network,
            kafka: spec.kafka,
            cassandra: spec.cassandra,
            postgres: spec.postgres,
            jit: spec.jit,
            kafka_properties: spec.kafka_properties.clone(),
            cassandra_settings: spec.cassandra_settings.clone(),
            // Base64 of 128 bits: of the last character only two bits count, and `A` has none set.
            cluster_id: format!("{}A", letters(21)),
            password: letters(24),
        })
    }

    /// Whether it is what `spec` asks for.
    pub(crate) fn check(&self, spec: &StackSpec) -> anyhow::Result<()> {
        let found = (self.kafka, self.cassandra, self.postgres);
        let asked = (spec.kafka, spec.cassandra, spec.postgres);
        let words = |(kafka, cassandra, postgres): (usize, usize, bool)| {
            let postgres = if postgres { "PostgreSQL" } else { "no PostgreSQL" };
            format!("{kafka} brokers, {cassandra} nodes, {postgres}")
        };
        ensure!(found == asked, "it has {}, not {}", words(found), words(asked));
        let network = spec.network.is_none_or(|network| network == self.network);
        ensure!(network, "it has the network {:?}", self.network.0);
        ensure!(self.jit == spec.jit, "its Java compiles by {:?}", self.jit);
        ensure!(
            self.kafka_properties == spec.kafka_properties,
            "its brokers have other properties"
        );
        ensure!(
            self.cassandra_settings == spec.cassandra_settings,
            "its nodes have other settings"
        );
        Ok(())
    }

    /// The plan of a stack's folder, if there is one.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let plan: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: wipe the stack", path.display()))?;
        let found = plan.format;
        ensure!(
            found == FORMAT,
            "{} has format {found}, not {FORMAT}: wipe the stack",
            path.display()
        );
        Ok(Some(plan))
    }

    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("a plan is JSON")?;
        let making = folder.join(".stack.json");
        fs::write(&making, text).with_context(|| format!("cannot write {}", making.display()))?;
        fs::rename(&making, folder.join(FILE)).context("cannot rename the plan")
    }

    /// The address of server `index` of any kind; kinds differ by port.
    pub(crate) fn host(&self, index: usize) -> IpAddr {
        let number = u8::try_from(index + 1).expect("there are at most three servers of a kind");
        self.network.host(number)
    }

    /// What every Java server gets.
    pub(crate) fn java_flags(&self) -> Vec<String> {
        let mut flags = vec!["-XX:+UseSerialGC".to_owned(), "-XX:-UsePerfData".to_owned()];
        if self.jit == Jit::QuickStart {
            flags.push("-XX:TieredStopAtLevel=1".to_owned());
        }
        flags
    }
}

fn letters(count: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect()
}
