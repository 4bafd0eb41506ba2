//! A set of servers, started together.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::network::Network;
use crate::plan::Plan;
use crate::process::{Launch, Lifetime, Process};
use crate::{cassandra, kafka, postgres};

/// How long all servers of a stack, or one that is started again, may take to serve on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// How long servers that are stopped together may take before they are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How Java compiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Jit {
    /// Up sooner, slower afterwards: for tests.
    #[default]
    QuickStart,
    /// Up later, as fast as it gets: for benchmarks.
    Peak,
}

/// Which servers to start.
#[derive(Clone, Debug, Default)]
pub struct StackSpec {
    /// Kafka brokers: 0, 1 or 3.
    pub kafka: usize,
    /// Cassandra nodes: 0, 1 or 3.
    pub cassandra: usize,
    /// Whether there is a PostgreSQL.
    pub postgres: bool,
    /// How Java compiles.
    pub jit: Jit,
    /// Further lines of every broker's `server.properties`; the last of a name counts.
    pub kafka_properties: Vec<(String, String)>,
    /// Further settings of every node's `cassandra.yaml`, each in one line, instead of those of the same name.
    /// A node that asks for a login is asked as `cassandra` whether it serves.
    pub cassandra_settings: Vec<(String, String)>,
    /// The first three numbers of the addresses; a free network of loopback if not given.
    pub network: Option<Network>,
}

/// One server of a stack, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// A Kafka broker, which is a controller too.
    Kafka(usize),
    /// A Cassandra node.
    Cassandra(usize),
    /// The PostgreSQL.
    Postgres,
}

impl Server {
    /// Such as `kafka-1`.
    pub fn name(self) -> String {
        match self {
            Self::Kafka(index) => format!("kafka-{}", index + 1),
            Self::Cassandra(index) => format!("cassandra-{}", index + 1),
            Self::Postgres => "postgres".to_owned(),
        }
    }

    /// What asks it to stop in order.
    const fn stop_signal(self) -> Signal {
        match self {
            Self::Kafka(_) | Self::Cassandra(_) => Signal::TERM,
            // By its "fast" way: connections are closed, transactions under way rolled back.
            Self::Postgres => Signal::INT,
        }
    }
}

/// What is known of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerState {
    /// Such as `kafka-1`.
    pub name: String,
    /// Where its clients reach it.
    pub address: SocketAddr,
    /// Its process id, while it runs.
    pub pid: Option<i32>,
    /// Whether it answers its clients.
    pub serves: bool,
    /// Its resident memory while it runs, bytes.
    pub resident_bytes: Option<u64>,
    /// What it writes.
    pub log: PathBuf,
}

/// Servers that run, or ran. All calls may come from any thread; those that wait block it.
///
/// One that was made by [`Stack::start`] ends with this process, however it ends, and its files with it
/// unless it is killed.
#[derive(Debug)]
pub struct Stack {
    plan: Plan,
    servers: Vec<(Server, Process)>,
    folder: PathBuf,
    lifetime: Lifetime,
    _claim: Option<TcpListener>,
    // After the processes, which write to it.
    _temporary: Option<TempDir>,
}

impl Stack {
    /// Starts servers in a temporary folder, and waits until all of them serve.
    pub fn start(spec: &StackSpec) -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("handfast-stack-").tempdir()?;
        let folder = temporary.path().to_owned();
        let (network, claim) = match spec.network {
            Some(network) => (network, None),
            None => {
                let (network, claim) = Network::claim_free()?;
                (network, Some(claim))
            }
        };
        let plan = Plan::new(spec, network)?;
        let mut stack = Self::of(plan, folder, Lifetime::OfThisProcess);
        (stack._claim, stack._temporary) = (claim, Some(temporary));
        stack.up()?;
        Ok(stack)
    }

    /// The servers of a plan, whether they run or not.
    pub(crate) fn of(plan: Plan, folder: PathBuf, lifetime: Lifetime) -> Self {
        let all = (0..plan.kafka).map(Server::Kafka);
        let all = all.chain((0..plan.cassandra).map(Server::Cassandra));
        let all = all.chain(plan.postgres.then_some(Server::Postgres));
        let servers = all
            .map(|it| (it, Process::find(it.name(), folder.join(it.name()), lifetime)))
            .collect();
        Self { plan, servers, folder, lifetime, _claim: None, _temporary: None }
    }

    /// Starts what does not run, lets go on what is paused, and waits until everything serves. The names of
    /// what was started.
    pub fn up(&self) -> anyhow::Result<Vec<String>> {
        open_to_others(&self.folder)?;
        let end = Instant::now() + START_PATIENCE;
        let dead: Vec<Server> = self
            .servers
            .iter()
            .filter(|(_, it)| !it.is_alive())
            .map(|(server, _)| *server)
            .collect();
        std::thread::scope(|scope| {
            let preparing: Vec<_> =
                dead.iter().map(|server| scope.spawn(|| self.prepare(*server))).collect();
            preparing
                .into_iter()
                .try_for_each(|thread| thread.join().expect("preparing does not panic"))
        })?;
        for (_, process) in self.servers.iter().filter(|(_, process)| process.is_alive()) {
            // One that was left paused is as good as dead; to the others this means nothing.
            process.signal(Signal::CONT)?;
        }
        let mut started = Vec::new();
        for server in &dead {
            let process = self.process(*server)?;
            process.start(&self.launch(*server)?)?;
            started.push(process.name().to_owned());
        }
        for (server, _) in &self.servers {
            self.wait_until_ready(*server, end)?;
        }
        Ok(started)
    }

    fn prepare(&self, server: Server) -> anyhow::Result<()> {
        let folder = own_folder(&self.folder, server)?;
        match server {
            Server::Kafka(index) => kafka::prepare(&self.plan, &folder, index),
            Server::Cassandra(index) => cassandra::prepare(&self.plan, &folder, index),
            Server::Postgres => postgres::prepare(&self.plan, &folder),
        }
    }

    fn launch(&self, server: Server) -> anyhow::Result<Launch> {
        match server {
            Server::Kafka(_) => kafka::launch(&self.plan),
            Server::Cassandra(_) => {
                cassandra::launch(&self.plan, &own_folder(&self.folder, server)?)
            }
            Server::Postgres => postgres::launch(&self.plan, &own_folder(&self.folder, server)?),
        }
    }

    fn probe(&self, server: Server) -> anyhow::Result<()> {
        match server {
            Server::Kafka(index) => kafka::probe(&self.plan, index, self.running(server)),
            Server::Cassandra(index) => cassandra::probe(&self.plan, index, self.running(server)),
            Server::Postgres => postgres::probe(&self.plan),
        }
    }

    /// How many servers of its kind run.
    fn running(&self, server: Server) -> usize {
        let kind = std::mem::discriminant(&server);
        let of_kind = self.servers.iter().filter(|(it, _)| std::mem::discriminant(it) == kind);
        of_kind.filter(|(_, process)| process.is_alive()).count()
    }

    fn wait_until_ready(&self, server: Server, end: Instant) -> anyhow::Result<()> {
        self.process(server)?.wait_until_ready(end, || self.probe(server))
    }

    fn process(&self, server: Server) -> anyhow::Result<&Process> {
        let found = self.servers.iter().find(|(it, _)| *it == server);
        found.map(|(_, process)| process).with_context(|| format!("this stack has no {server:?}"))
    }

    /// Kills a server as `kill -9` does, and waits until it is gone.
    pub fn kill9(&self, server: Server) -> anyhow::Result<()> {
        self.process(server)?.kill()
    }

    /// Asks a server to stop, and waits until it is gone.
    pub fn stop(&self, server: Server) -> anyhow::Result<()> {
        self.process(server)?.stop(server.stop_signal())
    }

    /// Starts a server that was stopped or killed, on its address and data, and waits until it serves.
    /// How long that took.
    pub fn restart(&self, server: Server) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.prepare(server)?;
        self.process(server)?.start(&self.launch(server)?)?;
        self.wait_until_ready(server, begun + START_PATIENCE)?;
        Ok(begun.elapsed())
    }

    /// Pauses a server as `kill -STOP` does. Its connections stay open and are not answered.
    pub fn pause(&self, server: Server) -> anyhow::Result<()> {
        self.process(server)?.signal(Signal::STOP)
    }

    /// Lets a paused server go on.
    pub fn resume(&self, server: Server) -> anyhow::Result<()> {
        self.process(server)?.signal(Signal::CONT)
    }

    /// All of them.
    pub fn servers(&self) -> impl Iterator<Item = Server> {
        self.servers.iter().map(|(server, _)| *server)
    }

    /// Whether its process is there.
    pub fn is_alive(&self, server: Server) -> bool {
        self.process(server).is_ok_and(Process::is_alive)
    }

    /// What a server has written so far.
    pub fn log(&self, server: Server) -> anyhow::Result<String> {
        let bytes = fs::read(self.process(server)?.log())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every server, and how it does.
    pub fn states(&self) -> Vec<ServerState> {
        let state = |(server, process): &(Server, Process)| ServerState {
            name: process.name().to_owned(),
            address: self.address(*server),
            pid: process.id(),
            serves: process.is_alive() && self.probe(*server).is_ok(),
            resident_bytes: process.resident_bytes(),
            log: process.log(),
        };
        self.servers.iter().map(state).collect()
    }

    /// Where the clients of a server reach it.
    pub fn address(&self, server: Server) -> SocketAddr {
        match server {
            Server::Kafka(index) => kafka::address(&self.plan, index),
            Server::Cassandra(index) => cassandra::address(&self.plan, index),
            Server::Postgres => postgres::address(&self.plan),
        }
    }

    /// Kafka's `bootstrap.servers`: all brokers, with commas between.
    pub fn kafka_bootstrap(&self) -> String {
        let brokers = (0..self.plan.kafka).map(|it| self.address(Server::Kafka(it)).to_string());
        brokers.collect::<Vec<_>>().join(",")
    }

    /// Where the clients of Cassandra reach its nodes.
    pub fn cassandra_nodes(&self) -> Vec<SocketAddr> {
        (0..self.plan.cassandra).map(|it| self.address(Server::Cassandra(it))).collect()
    }

    /// Where clients reach PostgreSQL, as `postgres://user:password@host:port/database`. The user may do
    /// everything. `None` if the stack has none.
    pub fn postgres_url(&self) -> Option<String> {
        self.plan.postgres.then(|| postgres::url(&self.plan))
    }

    /// Kills every server as `kill -9` does.
    pub fn kill_all(&self) -> anyhow::Result<()> {
        self.servers.iter().try_for_each(|(_, process)| process.kill())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of host `number` of its network, for servers beside it: 1 to 3 are its own.
    pub fn host(&self, number: u8) -> IpAddr {
        self.plan.network.host(number)
    }

    /// Who ends its servers.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Stops every server in order, and kills those that do not stop; data and logs stay until the stack
    /// is dropped.
    pub fn stop_all(&self) -> anyhow::Result<()> {
        for (server, process) in self.servers.iter().filter(|(_, process)| process.is_alive()) {
            process.ask_to_stop(server.stop_signal())?;
        }
        let end = Instant::now() + STOP_PATIENCE;
        while self.servers.iter().any(|(_, it)| it.is_alive()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        for (_, process) in &self.servers {
            if process.is_alive() {
                eprintln!("{} does not stop, so it is killed", process.name());
            }
            process.kill()?;
        }
        Ok(())
    }
}

fn own_folder(folder: &Path, server: Server) -> anyhow::Result<PathBuf> {
    let folder = folder.join(server.name());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A server that runs as another user must get to its own folder; it needs not see what else is there.
fn open_to_others(folder: &Path) -> anyhow::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711))
        .with_context(|| format!("cannot set the permissions of {}", folder.display()))
}
