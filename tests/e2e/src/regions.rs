//! Servers in several regions, with a way from each to each other that can be cut.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{Client, Outcome, Transaction, v1};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::command::{Said, http_get, run};
use crate::server::Server;
use crate::surroundings::Surroundings;
use crate::way::Way;

/// How long anything may take that comes by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

const ARRIVED: &str = "CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, \
                       transactions bigint)";

/// A server in each region, and a client of it. What one region sends to another goes by the way between them.
#[derive(Debug)]
pub struct Regions {
    folder: TempDir,
    names: Vec<&'static str>,
    /// By number, as everything here.
    pub servers: Vec<Server>,
    /// One that knows the server of its region only.
    pub clients: Vec<Client>,
    ways: BTreeMap<(usize, usize), Way>,
}

impl Regions {
    /// Starts the servers, without a namespace.
    pub async fn start(names: &[&'static str]) -> anyhow::Result<Self> {
        Self::start_in(names, |_| Surroundings::default()).await
    }

    /// As [`Self::start`], each in surroundings of its own.
    pub async fn start_in(
        names: &[&'static str],
        surroundings: impl Fn(&str) -> Surroundings,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for name in names {
            let place = folder.path().join(name);
            std::fs::create_dir(&place)?;
            let server = Server::start_in(&place, &[], surroundings(name)).await?;
            clients.push(server.client().await?);
            servers.push(server);
        }
        let mut ways = BTreeMap::new();
        for (from, _) in names.iter().enumerate() {
            for (to, server) in servers.iter().enumerate().filter(|(to, _)| *to != from) {
                let way = Way::start().await?;
                way.lead_to(server.how().ports.0);
                ways.insert((from, to), way);
            }
        }
        Ok(Self { folder, names: names.to_vec(), servers, clients, ways })
    }

    /// The end of a namespace file, which makes it one of these regions: `lines` are those of `[region]`, and
    /// may end with the section `[region.tables]`.
    pub fn section(&self, here: usize, lines: &str) -> String {
        let all = self.names.iter().enumerate().map(|(to, name)| {
            let server =
                self.ways.get(&(here, to)).map_or_else(|| self.servers[to].endpoint(), Way::url);
            format!("[[region.all]]\nname = \"{name}\"\nservers = [\"{server}\"]\n")
        });
        format!(
            "\n[[table]]\ncql = \"{ARRIVED}\"\n\n[region]\nhere = \"{}\"\ntable = \"arrived\"\n{lines}\n{}",
            self.names[here],
            all.collect::<String>()
        )
    }

    /// Makes a namespace of this definition in every region.
    pub async fn create(&self, definition: &str, lines: &str) -> anyhow::Result<()> {
        for (here, client) in self.clients.iter().enumerate() {
            let file = format!("{definition}{}", self.section(here, lines));
            client.admin().create_namespace(&file).await?;
        }
        Ok(())
    }

    /// The way by which one region sends to another.
    pub fn way(&self, from: usize, to: usize) -> &Way {
        &self.ways[&(from, to)]
    }

    /// Runs `handfast region` against the server of a region.
    pub async fn command(&self, here: usize, arguments: &[&str]) -> anyhow::Result<Said> {
        let endpoint = self.servers[here].endpoint();
        let mut all = vec!["--endpoint", &endpoint, "-o", "json", "region"];
        all.extend_from_slice(arguments);
        run(&all).await
    }

    /// How a region sees another.
    pub async fn seen(&self, here: usize, other: usize) -> anyhow::Result<v1::Region> {
        let mut listed = self.clients[here].admin().list_regions("bank").await?;
        Ok(listed.regions.swap_remove(other))
    }

    /// Waits until everything of a region has arrived in another that committed there up to a time.
    pub async fn until_arrived(&self, from: usize, to: usize, at_us: i64) -> anyhow::Result<()> {
        let what = format!("what {} has committed is not in {}", self.names[from], self.names[to]);
        until(&what, async || {
            let seen = self.seen(to, from).await?;
            Ok((seen.arrived_us >= at_us).then_some(()))
        })
        .await
    }

    /// How long the oldest transaction of any shard waits for another region, as a region's metrics say, as soon as
    /// they do.
    pub async fn lag(&self, here: usize, other: usize) -> anyhow::Result<f64> {
        until("no lag is served", async || {
            let lags = lags(&self.servers[here]).await?;
            let of_it = lags.iter().filter(|((region, _), _)| region == self.names[other]);
            Ok(of_it.map(|(_, lag)| *lag).reduce(f64::max))
        })
        .await
    }

    /// The data folder of a region's server.
    pub fn data(&self, here: usize) -> std::path::PathBuf {
        self.folder.path().join(self.names[here]).join("data")
    }

    /// Stops all servers in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.stop().await?;
        }
        Ok(())
    }
}

/// What `handfast_region_lag_seconds` says, by region and shard.
pub async fn lags(server: &Server) -> anyhow::Result<BTreeMap<(String, u16), f64>> {
    let (status, metrics) = http_get(server.http(), "/metrics").await?;
    ensure!(status == 200, "/metrics: {status}");
    let samples = metrics.lines().filter_map(|it| it.strip_prefix("handfast_region_lag_seconds{"));
    let lags = samples.map(|sample| {
        let (labels, value) = sample.split_once("} ").context("a sample without a value")?;
        let label = |name: &str| {
            let mut all = labels.split(',').filter_map(|it| it.split_once('='));
            let found = all.find(|(it, _)| *it == name);
            found.map(|(_, value)| value.trim_matches('"')).with_context(|| format!("no {name}"))
        };
        anyhow::Ok(((label("region")?.to_owned(), label("shard")?.parse()?), value.parse()?))
    });
    lags.collect()
}

/// Commits a transaction: when it did.
pub async fn commit(client: &Client, transaction: &Transaction) -> anyhow::Result<i64> {
    match client.submit(transaction).await? {
        Outcome::Committed(committed) => Ok(committed.timestamp_us),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Asks again and again until there is an answer.
pub async fn until<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
