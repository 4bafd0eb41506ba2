//! Several servers on real Kafka, Cassandra and PostgreSQL, each of which can be killed, paused, cut off.
//!
//! A strike wounds some parts, holds that for a while, and heals them: what strikes at the same time as
//! something else is another wound of the same strike. After a strike everything serves again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use handfast_client::Client;
use handfast_cluster::apart::Way;
use handfast_cluster::{Cluster, Member, Part};
use handfast_e2e::OffsetClock;
use handfast_stack::Server;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use tokio::time::Instant;

use super::{Blow, Ground, Place, draw};
use crate::fault::Fault;
use crate::workload::Workload;

/// What can happen to it.
pub(super) const FAULTS: &[(Fault, &str)] = &[
    (Fault::None, "nothing"),
    (Fault::Kill, "kill -9 of a participant, which is away for up to 4 s"),
    (Fault::KillAll, "kill -9 of all participants at once"),
    (Fault::KillGateway, "kill -9 of a gateway, which is away for up to 3 s"),
    (Fault::Pause, "SIGSTOP of a participant for 3 to 9 s, longer than its leases"),
    (Fault::Clock, "a participant's wall clock jumps by up to 1.5 s, forward and back"),
    (Fault::Drain, "SIGTERM of one server after the other, which must end with exit code 0"),
    (Fault::Broker, "kill -9 of a Kafka broker, which is away for up to 12 s"),
    (Fault::Node, "kill -9 of a Cassandra node, which is away for up to 8 s"),
    (Fault::Postgres, "PostgreSQL is stopped; every other time a participant is killed meanwhile"),
    (Fault::CutKafka, "a participant is cut off from Kafka for 2 to 12 s"),
    (Fault::CutCassandra, "a participant is cut off from Cassandra for 2 to 12 s"),
    (Fault::CutPostgres, "a participant is cut off from PostgreSQL for 2 to 12 s"),
    (Fault::CutPeers, "a participant is cut off from the other servers for 2 to 12 s"),
    (Fault::CutOneWay, "a participant cannot ask the other servers for 2 to 12 s; they can ask it"),
    (Fault::Everything, "all of these by turns, often two at the same time"),
];
/// Of each run's namespace.
const SHARDS: usize = 8;
/// Between two strikes, milliseconds.
const QUIET_MS: Range<u64> = 500..3_000;
/// Between two wounds of one strike, milliseconds.
const BETWEEN_WOUNDS_MS: Range<u64> = 100..1_500;
/// How long a clock stays where it jumped to, milliseconds.
const CLOCK_HELD_MS: Range<u64> = 200..1_000;
/// How far a clock jumps at first: so far ahead that it must show; then to and fro. Milliseconds.
const FIRST_JUMP_MS: Range<i64> = 700..1_500;
const JUMP_MS: Range<i64> = -1_500..1_500;
/// How far a clock is ahead at most, milliseconds.
pub(super) const MOST_JUMPED_MS: i64 = 1_500;
/// What is kept of the log of an engine, bytes.
const ENGINE_LOG_BYTES: u64 = 256 << 10;
/// How long the new namespace may take until every server serves all of it.
const SERVE_PATIENCE: Duration = Duration::from_secs(120);

/// How long a wound stays open, milliseconds.
const fn held_ms(fault: Fault) -> Range<u64> {
    match fault {
        Fault::Kill => 0..4_000,
        Fault::KillAll => 0..1_000,
        Fault::KillGateway => 0..3_000,
        Fault::Pause => 3_000..9_000,
        Fault::Broker => 500..12_000,
        Fault::Node => 500..8_000,
        Fault::Postgres => 1_000..6_000,
        _ if cut_by(fault).is_some() => 2_000..12_000,
        _ => 0..300,
    }
}

/// The way that a fault cuts.
pub(super) const fn cut_by(fault: Fault) -> Option<Way> {
    match fault {
        Fault::CutKafka => Some(Way::Kafka),
        Fault::CutCassandra => Some(Way::Cassandra),
        Fault::CutPostgres => Some(Way::Postgres),
        Fault::CutPeers => Some(Way::Peers),
        Fault::CutOneWay => Some(Way::ToPeers),
        _ => None,
    }
}

/// Parts that are not as they should be.
#[derive(Clone, Debug)]
enum Wound {
    Gone(Vec<Part>),
    Paused(Member),
    Cut(Member, Way),
    Clock(Member),
}

impl Wound {
    fn has(&self, part: Part) -> bool {
        match self {
            Self::Gone(parts) => parts.contains(&part),
            Self::Paused(member) | Self::Cut(member, _) | Self::Clock(member) => {
                part == Part::Member(*member)
            }
        }
    }
}

/// A cluster, and clocks of its participants that can be set.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) cluster: Arc<Cluster>,
    pub(super) clocks: Arc<BTreeMap<Member, OffsetClock>>,
}

/// The cluster in one run.
pub(super) struct OnCluster {
    parts: Parts,
    namespace: String,
    open: Vec<(Fault, Instant, Wound)>,
    /// What servers did that none may do.
    wrong: Vec<String>,
    missing: Vec<String>,
    /// How long each log was when the run began.
    logs: Vec<(Part, u64)>,
    /// Strikes so far.
    strikes: usize,
}

impl OnCluster {
    /// A cluster that serves, for a run in this namespace.
    pub(super) fn new(parts: Parts, namespace: &str, missing: Vec<String>) -> Self {
        let cluster = &parts.cluster;
        let length = |part| std::fs::metadata(cluster.log_path(part)).map_or(0, |it| it.len());
        let logs = cluster.parts().map(|part| (part, length(part))).collect();
        let (open, wrong) = (Vec::new(), Vec::new());
        Self { parts, namespace: namespace.to_owned(), open, wrong, missing, logs, strikes: 0 }
    }

    /// Makes the run's namespace and waits until all of it is served everywhere.
    pub(super) async fn begin(&self, workload: &dyn Workload) -> anyhow::Result<()> {
        let (cluster, namespace) = (&self.parts.cluster, &self.namespace);
        // Frequent checkpoints, so that a server that starts again begins with one.
        let definition = cluster
            .definition(&format!(
                "name = \"{namespace}\"\nshards = {SHARDS}\npolicy.recover_after_ms = 500\n{}\n",
                workload.tables()
            ))
            .replacen("[log]\n", "[log]\nretain_ms = 0\ncheckpoint_every_bytes = 262144\n", 1);
        let client = cluster.client().await?;
        client.admin().create_namespace(&definition).await.context("cannot make a namespace")?;
        let end = Instant::now() + SERVE_PATIENCE;
        for endpoint in cluster.endpoints() {
            let client = Client::connect([endpoint.clone()]).await?;
            // Servers hear of it within a second or so; until then they do not know it.
            loop {
                let status = client.admin().status(namespace).await;
                let all = |shards: &[handfast_client::v1::ShardStatus]| {
                    shards.len() == SHARDS && shards.iter().all(|it| !it.leader.is_empty())
                };
                if status.as_ref().is_ok_and(|it| all(&it.shards)) {
                    break;
                }
                ensure!(Instant::now() < end, "{endpoint} does not serve all of it: {status:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Does what blocks.
    async fn on<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Cluster) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let cluster = Arc::clone(&self.parts.cluster);
        tokio::task::spawn_blocking(move || what(&cluster)).await?
    }

    fn is_whole(&self, part: Part) -> bool {
        !self.open.iter().any(|(.., wound)| wound.has(part))
    }

    /// A participant that nothing has happened to; `None` if there is none.
    fn participant(&self, rng: &mut StdRng) -> Option<Member> {
        let whole = |member: &Member| self.is_whole(Part::Member(*member));
        self.parts.cluster.participants().filter(whole).choose(rng)
    }

    fn engine(&self, rng: &mut StdRng, kind: fn(&Server) -> bool) -> Option<Part> {
        let servers = self.parts.cluster.stack().servers().filter(kind).map(Part::Engine);
        servers.filter(|part| self.is_whole(*part)).choose(rng)
    }

    /// Wounds what the fault says, unless nothing of that kind is whole.
    async fn wound(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<()> {
        let from = Instant::now();
        let wound = match fault {
            Fault::Kill => self.kill(self.participant(rng).map(Part::Member)).await?,
            Fault::KillAll => {
                let members = self.parts.cluster.participants().map(Part::Member);
                self.kill(members.filter(|part| self.is_whole(*part))).await?
            }
            Fault::KillGateway => {
                let gateway = |part: &Part| matches!(part, Part::Member(Member::Gateway(_)));
                let parts = self.parts.cluster.parts().filter(gateway);
                self.kill(parts.filter(|part| self.is_whole(*part)).choose(rng)).await?
            }
            Fault::Broker => {
                self.kill(self.engine(rng, |it| matches!(it, Server::Kafka(_)))).await?
            }
            Fault::Node => {
                self.kill(self.engine(rng, |it| matches!(it, Server::Cassandra(_)))).await?
            }
            Fault::Drain => self.drain().await?,
            Fault::Postgres => self.stop_postgres(rng).await?,
            Fault::Clock => self.jump(rng).await?,
            Fault::Pause => match self.participant(rng) {
                Some(member) => {
                    self.on(move |cluster| cluster.pause(Part::Member(member))).await?;
                    Some(Wound::Paused(member))
                }
                None => None,
            },
            _ => match (cut_by(fault), self.participant(rng)) {
                (Some(way), Some(member)) => {
                    self.on(move |cluster| cluster.cut(member, way)).await?;
                    Some(Wound::Cut(member, way))
                }
                _ => None,
            },
        };
        self.open.extend(wound.map(|wound| (fault, from, wound)));
        Ok(())
    }

    async fn kill(&self, parts: impl IntoIterator<Item = Part>) -> anyhow::Result<Option<Wound>> {
        let parts: Vec<Part> = parts.into_iter().collect();
        let wound = (!parts.is_empty()).then(|| Wound::Gone(parts.clone()));
        self.on(move |cluster| parts.into_iter().try_for_each(|part| cluster.kill(part))).await?;
        Ok(wound)
    }

    /// One server after the other, from strike to strike: together a rolling restart.
    async fn drain(&mut self) -> anyhow::Result<Option<Wound>> {
        let whole = |part: &Part| self.is_whole(*part);
        let members = self.parts.cluster.members().map(Part::Member).filter(whole);
        let members: Vec<Part> = members.collect();
        let Some(part) = members.get(self.strikes % members.len().max(1)).copied() else {
            return Ok(None);
        };
        if let Err(error) = self.on(move |cluster| cluster.stop(part)).await {
            self.wrong.push(format!("{error:#}"));
        }
        Ok(Some(Wound::Gone(vec![part])))
    }

    /// Every other time a participant is killed and starts again by what it has seen of the namespaces.
    async fn stop_postgres(&mut self, rng: &mut StdRng) -> anyhow::Result<Option<Wound>> {
        let postgres = Part::Engine(Server::Postgres);
        if !self.is_whole(postgres) {
            return Ok(None);
        }
        self.on(move |cluster| cluster.stop(postgres)).await?;
        if rng.random_range(0..2) == 0
            && let Some(member) = self.participant(rng)
        {
            self.on(move |cluster| {
                cluster.kill(Part::Member(member))?;
                cluster.restart(Part::Member(member))
            })
            .await?;
        }
        Ok(Some(Wound::Gone(vec![postgres])))
    }

    async fn jump(&mut self, rng: &mut StdRng) -> anyhow::Result<Option<Wound>> {
        let Some(member) = self.participant(rng) else { return Ok(None) };
        let Some(clock) = self.parts.clocks.get(&member) else { return Ok(None) };
        clock.set(rng.random_range(FIRST_JUMP_MS))?;
        for _ in 0..rng.random_range(2..6) {
            tokio::time::sleep(draw(&CLOCK_HELD_MS, rng)).await;
            clock.set(rng.random_range(JUMP_MS))?;
        }
        tokio::time::sleep(draw(&CLOCK_HELD_MS, rng)).await;
        Ok(Some(Wound::Clock(member)))
    }

    /// Heals every wound, oldest first, and waits until all serve.
    async fn heal(&mut self) -> anyhow::Result<Vec<Blow>> {
        self.note_the_fallen();
        let mut blows = Vec::new();
        while !self.open.is_empty() {
            let (fault, from, wound) = self.open.remove(0);
            match wound {
                // All at once: a machine that was switched off and on.
                Wound::Gone(parts) => self.on(move |cluster| restart(cluster, &parts)).await?,
                Wound::Paused(member) => {
                    self.on(move |cluster| cluster.resume(Part::Member(member))).await?;
                }
                Wound::Cut(member, way) => {
                    self.on(move |cluster| cluster.mend(member, way)).await?;
                }
                Wound::Clock(member) => self.parts.clocks[&member].set(0)?,
            }
            blows.push(Blow { kind: fault.name(), from, to: Instant::now() });
        }
        self.note_the_fallen();
        self.on(Cluster::up).await?;
        Ok(blows)
    }

    /// A server that ended and that nobody ended.
    fn note_the_fallen(&mut self) {
        for member in self.parts.cluster.members().collect::<Vec<_>>() {
            let part = Part::Member(member);
            if self.is_whole(part) && !self.parts.cluster.is_alive(part) {
                let how = self.parts.cluster.ended_with(member);
                let how = how.map_or_else(String::new, |status| format!(" with {status}"));
                self.wrong.push(format!("{member} ended by itself{how}: see logs/{member}.log"));
            }
        }
    }

    /// What a part wrote in this run; of an engine the last of it.
    fn said(&self, part: Part, from: u64) -> anyhow::Result<Vec<u8>> {
        let mut file = File::open(self.parts.cluster.log_path(part))?;
        let from = match part {
            Part::Engine(_) => from.max(file.metadata()?.len().saturating_sub(ENGINE_LOG_BYTES)),
            Part::Member(_) => from,
        };
        file.seek(SeekFrom::Start(from))?;
        let mut said = Vec::new();
        file.read_to_end(&mut said)?;
        Ok(said)
    }

    /// The files of the topic of this run's namespace: broker, folder, file.
    fn topic_files(&self) -> Vec<(String, PathBuf, PathBuf)> {
        let topic = format!("handfast-{}-", self.namespace);
        let folders = |server: Server| {
            let data = self.parts.cluster.stack().folder().join(server.name()).join("data");
            let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
            entries.map(move |entry| (server.name(), entry.path()))
        };
        let of_topic = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&topic))
        };
        let servers = self.parts.cluster.stack().servers().flat_map(folders);
        let folders = servers.filter(|(_, path)| of_topic(path));
        folders
            .flat_map(|(broker, folder)| {
                let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let files = files.map(|it| it.path());
                let logs = files.filter(|it| it.extension().is_some_and(|it| it == "log"));
                logs.map(move |file| (broker.clone(), folder.clone(), file)).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Starts parts that are gone, all at once.
fn restart(cluster: &Cluster, parts: &[Part]) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let starting: Vec<_> =
            parts.iter().map(|part| scope.spawn(|| cluster.restart(*part))).collect();
        starting.into_iter().try_for_each(|thread| {
            thread.join().expect("starting a part does not panic").map(|_| ())
        })
    })
}

impl Ground for OnCluster {
    const PLACE: Place = Place::Cluster;
    const THINK: Duration = Duration::from_millis(5);

    fn endpoints(&self) -> Vec<Vec<String>> {
        vec![self.parts.cluster.endpoints()]
    }

    fn leaders(&self) -> Vec<String> {
        let cluster = &self.parts.cluster;
        cluster.participants().map(|member| cluster.endpoint(member)).collect()
    }

    fn quiet_ms(&self, _fault: Fault) -> Range<u64> {
        QUIET_MS
    }

    async fn strike(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let mut first = fault;
        if fault == Fault::Everything {
            let apart = handfast_cluster::apart::is_apart();
            let can = |fault: &Fault| {
                (*fault != Fault::Clock || !self.parts.clocks.is_empty())
                    && (cut_by(*fault).is_none() || apart)
                    && !matches!(fault, Fault::None | Fault::Everything)
            };
            let all = FAULTS.iter().map(|(fault, _)| *fault).filter(can);
            let all: Vec<Fault> = all.collect();
            let [one, two] = [0, 1].map(|_| all.choose(rng).copied().unwrap_or(Fault::Kill));
            first = one;
            self.wound(one, rng).await?;
            if rng.random_range(0..3) > 0 {
                tokio::time::sleep(draw(&BETWEEN_WOUNDS_MS, rng)).await;
                self.wound(two, rng).await?;
            }
        } else {
            self.wound(fault, rng).await?;
        }
        tokio::time::sleep(draw(&held_ms(first), rng)).await;
        self.strikes += 1;
        self.heal().await
    }

    async fn forget(&mut self) -> anyhow::Result<()> {
        self.note_the_fallen();
        self.on(|cluster| {
            cluster.members().try_for_each(|member| cluster.kill(Part::Member(member)))?;
            cluster.up()
        })
        .await?;
        Ok(())
    }

    fn missing(&mut self) -> Vec<String> {
        std::mem::take(&mut self.missing)
    }

    async fn end(&mut self, folder: &Path) -> anyhow::Result<Vec<String>> {
        self.note_the_fallen();
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs)?;
        for (part, from) in std::mem::take(&mut self.logs) {
            let said = self.said(part, from).with_context(|| format!("the log of {part}"))?;
            std::fs::write(logs.join(format!("{part}.log")), &said)?;
            if matches!(part, Part::Member(_))
                && String::from_utf8_lossy(&said).contains("panicked")
            {
                self.wrong.push(format!("{part} panicked: see logs/{part}.log"));
            }
        }
        Ok(std::mem::take(&mut self.wrong))
    }

    /// Of a run that is not valid, the log in Kafka is kept as the brokers have it.
    async fn leave(&mut self, folder: &Path, valid: bool) -> anyhow::Result<()> {
        if valid {
            return Ok(());
        }
        for (broker, partition, file) in self.topic_files() {
            let partition = partition.file_name().context("a folder has a name")?;
            let kept = folder.join("topic").join(broker).join(partition);
            std::fs::create_dir_all(&kept)?;
            std::fs::copy(&file, kept.join(file.file_name().context("a file has a name")?))?;
        }
        Ok(())
    }
}
