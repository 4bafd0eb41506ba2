//! A stack, and servers of Handfast on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use handfast_client::{Client, Options, RetryPolicy};
use handfast_stack::{Jit, Launch, Process, Server, ServerState, Stack, StackSpec};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::apart::{self, Way};
use crate::part::{Member, Part};

/// How long a server may take to serve, on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// The two tables of the README, and what every cluster serves.
const BANK: &str = include_str!("../../../examples/bank.toml");

/// What a cluster consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Kafka brokers: 1 or 3.
    pub kafka: usize,
    /// Cassandra nodes: 1 or 3.
    pub cassandra: usize,
    /// Servers that take calls and lead nothing; at most 9.
    pub gateways: usize,
    /// Servers that lead shards; at most 9.
    pub participants: usize,
    /// Servers that deliver messages, and do what is due later; at most 9.
    #[serde(default)]
    pub deliveries: usize,
    /// How Java compiles.
    pub jit: Jit,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            kafka: 3,
            cassandra: 3,
            gateways: 2,
            participants: 3,
            deliveries: 1,
            jit: Jit::QuickStart,
        }
    }
}

impl ClusterSpec {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.kafka > 0 && self.cassandra > 0, "a cluster needs Kafka and Cassandra");
        ensure!(self.participants > 0, "a cluster needs a participant");
        let most = self.gateways.max(self.participants).max(self.deliveries);
        ensure!(most <= 9, "at most 9 servers of a kind");
        Ok(())
    }

    pub(crate) fn stack(&self) -> StackSpec {
        StackSpec {
            kafka: self.kafka,
            cassandra: self.cassandra,
            postgres: true,
            jit: self.jit,
            ..StackSpec::default()
        }
    }
}

/// Servers that run, or ran. All calls may come from any thread; those that wait block it.
#[derive(Debug)]
pub struct Cluster {
    // Before the stack: on drop the servers end first.
    members: Vec<(Member, Process)>,
    stack: Stack,
    /// Whether each server has a network namespace of its own.
    apart: bool,
    /// Words before a server's own command line, which must `exec` it.
    through: BTreeMap<Member, Vec<String>>,
}

impl Cluster {
    /// Starts a cluster in a temporary folder and waits until all of it serves. It ends with this process.
    pub fn start(spec: &ClusterSpec) -> anyhow::Result<Self> {
        spec.check()?;
        let stack = Stack::start(&spec.stack())?;
        let cluster = Self::on(stack, spec);
        cluster.up_members()?;
        Ok(cluster)
    }

    /// As [`Self::start`], with each server in a network namespace of its own, so that it can be cut off; only
    /// within [`apart::play`].
    pub fn start_apart(spec: &ClusterSpec) -> anyhow::Result<Self> {
        ensure!(apart::is_apart(), "servers apart are only for what runs in a network of its own");
        Self::start_through(spec, BTreeMap::new())
    }

    /// As [`Self::start`], with words before the command lines of some servers, which must `exec` what follows
    /// them; and with each server in a network namespace of its own if this process [has one](apart::is_apart).
    pub fn start_through(
        spec: &ClusterSpec,
        through: BTreeMap<Member, Vec<String>>,
    ) -> anyhow::Result<Self> {
        spec.check()?;
        let apart = apart::is_apart();
        let mut stack = spec.stack();
        if apart {
            apart::prepare()?;
            stack.network = Some(apart::NETWORK);
        }
        let mut cluster = Self::on(Stack::start(&stack)?, spec);
        (cluster.apart, cluster.through) = (apart, through);
        cluster.up_members()?;
        Ok(cluster)
    }

    /// Cuts a server off from some of what it needs.
    pub fn cut(&self, member: Member, way: Way) -> anyhow::Result<()> {
        apart::cut(self.process(member)?.id().context("it does not run")?, way)
    }

    /// Mends what [`Self::cut`] did.
    pub fn mend(&self, member: Member, way: Way) -> anyhow::Result<()> {
        apart::mend(self.process(member)?.id().context("it does not run")?, way)
    }

    /// Puts the data of a broker that is stopped on a disk of its own, of so many bytes; only within
    /// [`apart::play`]. The folder where that disk is.
    pub fn small_disk(&self, broker: usize, bytes: u64) -> anyhow::Result<PathBuf> {
        let data = self.stack.folder().join(Server::Kafka(broker).name()).join("data");
        apart::small_disk(&data, bytes)?;
        Ok(data)
    }

    /// The servers of a stack that runs, whether they run or not.
    pub(crate) fn on(stack: Stack, spec: &ClusterSpec) -> Self {
        let all = (0..spec.participants).map(Member::Participant);
        let all = all.chain((0..spec.gateways).map(Member::Gateway));
        let all = all.chain((0..spec.deliveries).map(Member::Delivery));
        let process = |member: Member| {
            let folder = stack.folder().join(member.to_string());
            Process::find(member.to_string(), folder, stack.lifetime())
        };
        let members = all.map(|member| (member, process(member))).collect();
        Self { members, stack, apart: false, through: BTreeMap::new() }
    }

    /// Starts the servers that do not run and waits until all serve. The names of what was started.
    pub(crate) fn up_members(&self) -> anyhow::Result<Vec<String>> {
        fs::write(self.definition_path(), self.definition(BANK))?;
        let mut started = Vec::new();
        for (member, process) in &self.members {
            if process.is_alive() {
                process.signal(Signal::CONT)?;
            } else {
                self.launch(*member)?;
                started.push(member.to_string());
            }
        }
        let end = Instant::now() + START_PATIENCE;
        for (member, process) in &self.members {
            process.wait_until_ready(end, || self.probe(*member))?;
        }
        Ok(started)
    }

    fn launch(&self, member: Member) -> anyhow::Result<()> {
        let folder = self.stack.folder().join(member.to_string());
        fs::create_dir_all(&folder)?;
        let control = self.stack.postgres_url().context("a cluster has a PostgreSQL")?;
        let mut args: Vec<String> =
            ["serve", "--data", "data", "--role", member.role()].map(str::to_owned).into();
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        flag("--listen", member.grpc(&self.stack).to_string());
        flag("--http", member.http(&self.stack).to_string());
        flag("--peer-listen", member.peers(&self.stack).to_string());
        flag("--control", control);
        for (other, _) in self.members.iter().filter(|(other, _)| *other != member) {
            flag("--peer", other.peers(&self.stack).to_string());
        }
        flag("--namespace", self.definition_path().display().to_string());
        let mut program = handfast_e2e::binary()?;
        let mut before = |words: Vec<String>| {
            let mut words = words.into_iter();
            let Some(first) = words.next() else { return };
            let after = std::mem::take(&mut args);
            args = words.chain([program.display().to_string()]).chain(after).collect();
            program = first.into();
        };
        before(self.through.get(&member).cloned().unwrap_or_default());
        if self.apart {
            before(apart::enter());
        }
        let process = self.process(member)?;
        process.start(&Launch { program, args, user: None })?;
        if self.apart {
            apart::connect(process.id().context("it ended at once")?, member.host(&self.stack))?;
        }
        Ok(())
    }

    /// The file with the namespace that every cluster serves.
    pub fn definition_path(&self) -> PathBuf {
        self.stack.folder().join("bank.toml")
    }

    /// A namespace file of the embedded mode, with its log and its tables put into this cluster.
    pub fn definition(&self, embedded: &str) -> String {
        let contact: Vec<String> =
            self.stack.cassandra_nodes().iter().map(|node| format!("\"{node}\"")).collect();
        let brokers = self.stack.kafka_bootstrap();
        let single = !brokers.contains(',');
        let name = embedded.split('"').nth(1).unwrap_or("handfast");
        let sections = format!(
            r#"[log]
kind = "kafka"
brokers = "{brokers}"
replication = {replication}
development = {single}

[store]
kind = "cassandra"
contact_points = [{contact}]
datacenter = "datacenter1"
keyspace = "{name}"
create_tables = true

"#,
            replication = if single { 1 } else { 3 },
            contact = contact.join(", "),
        );
        embedded.replacen("[[table]]", &(sections + "[[table]]"), 1)
    }

    fn probe(&self, member: Member) -> anyhow::Result<()> {
        let (status, body) = http_get(member.http(&self.stack), "/readyz")?;
        ensure!(status == 200, "/readyz says {status}: {body}");
        Ok(())
    }

    fn process(&self, member: Member) -> anyhow::Result<&Process> {
        let found = self.members.iter().find(|(it, _)| *it == member);
        found.map(|(_, process)| process).with_context(|| format!("this cluster has no {member}"))
    }

    /// Kafka, Cassandra and PostgreSQL.
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// All servers of Handfast.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.members.iter().map(|(member, _)| *member)
    }

    /// Servers that lead shards.
    pub fn participants(&self) -> impl Iterator<Item = Member> {
        self.members().filter(|member| matches!(member, Member::Participant(_)))
    }

    /// Kills a part as `kill -9` does, and waits until it is gone.
    pub fn kill(&self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Engine(server) => self.stack.kill9(server),
            Part::Member(member) => self.process(member)?.kill(),
        }
    }

    /// Asks a part to stop, and waits until it is gone; holds a server of Handfast to exit code 0.
    pub fn stop(&self, part: Part) -> anyhow::Result<()> {
        let member = match part {
            Part::Engine(server) => return self.stack.stop(server),
            Part::Member(member) => member,
        };
        let process = self.process(member)?;
        if process.is_alive() {
            process.stop(Signal::TERM)?;
            if let Some(status) = process.ended_with() {
                ensure!(status.success(), "asked to stop in order, {member} ended with {status}");
            }
        }
        Ok(())
    }

    /// Whether a part's process is there, paused or not.
    pub fn is_alive(&self, part: Part) -> bool {
        match part {
            Part::Engine(server) => self.stack.is_alive(server),
            Part::Member(member) => self.process(member).is_ok_and(Process::is_alive),
        }
    }

    /// How a server that has ended did so, if this process started it.
    pub fn ended_with(&self, member: Member) -> Option<ExitStatus> {
        self.process(member).ok()?.ended_with()
    }

    /// Starts every part that is gone, lets go on what is paused, and waits until all serve. The names of what
    /// was started.
    pub fn up(&self) -> anyhow::Result<Vec<String>> {
        let mut started = self.stack.up()?;
        started.extend(self.up_members()?);
        Ok(started)
    }

    /// Kills every part. Whoever waits for one of them to serve is told at once that it has ended.
    pub fn kill_all(&self) -> anyhow::Result<()> {
        self.kill_members()?;
        self.stack.kill_all()
    }

    /// Starts a part that is gone, where it was, and waits until it serves. How long that took.
    pub fn restart(&self, part: Part) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        match part {
            Part::Engine(server) => self.stack.restart(server),
            Part::Member(member) => {
                self.launch(member)?;
                let end = begun + START_PATIENCE;
                self.process(member)?.wait_until_ready(end, || self.probe(member))?;
                Ok(begun.elapsed())
            }
        }
    }

    /// Pauses a part as `kill -STOP` does.
    pub fn pause(&self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Engine(server) => self.stack.pause(server),
            Part::Member(member) => self.process(member)?.signal(Signal::STOP),
        }
    }

    /// Lets a paused part go on.
    pub fn resume(&self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Engine(server) => self.stack.resume(server),
            Part::Member(member) => self.process(member)?.signal(Signal::CONT),
        }
    }

    /// Every part: engines, then servers of Handfast.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.stack.servers().map(Part::Engine).chain(self.members().map(Part::Member))
    }

    /// The file that a part writes its log to.
    pub fn log_path(&self, part: Part) -> PathBuf {
        self.stack.folder().join(part.to_string()).join("log")
    }

    /// What a part has written so far.
    pub fn log(&self, part: Part) -> anyhow::Result<String> {
        match part {
            Part::Engine(server) => self.stack.log(server),
            Part::Member(member) => {
                Ok(String::from_utf8_lossy(&fs::read(self.process(member)?.log())?).into_owned())
            }
        }
    }

    /// Every part, and how it does.
    pub fn states(&self) -> Vec<ServerState> {
        let members = self.members.iter().map(|(member, process)| ServerState {
            name: member.to_string(),
            address: member.grpc(&self.stack),
            pid: process.id(),
            serves: process.is_alive() && self.probe(*member).is_ok(),
            resident_bytes: process.resident_bytes(),
            log: process.log(),
        });
        self.stack.states().into_iter().chain(members).collect()
    }

    /// Where clients reach a server.
    pub fn endpoint(&self, member: Member) -> String {
        format!("http://{}", member.grpc(&self.stack))
    }

    /// Where clients reach the cluster: its gateways, or its participants if it has none.
    pub fn endpoints(&self) -> Vec<String> {
        let gateways = self.members().filter(|member| matches!(member, Member::Gateway(_)));
        let gateways: Vec<String> = gateways.map(|member| self.endpoint(member)).collect();
        if gateways.is_empty() {
            return self.participants().map(|member| self.endpoint(member)).collect();
        }
        gateways
    }

    /// A client as anybody would use it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.endpoints()).await?)
    }

    /// A client that tries each call once, so that nothing is retried away.
    pub async fn impatient_client(&self) -> anyhow::Result<Client> {
        let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
        Ok(Client::connect_with(self.endpoints(), options).await?)
    }

    /// A value of a server's metrics, summed over all labels; `None` if it has none of that name.
    pub fn metric(&self, member: Member, name: &str) -> anyhow::Result<Option<f64>> {
        let (_, text) = http_get(member.http(&self.stack), "/metrics")?;
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value)))
    }

    /// Stops the servers in order, then the stack; data and logs stay until the cluster is dropped.
    pub fn stop_all(&self) -> anyhow::Result<()> {
        for (member, process) in self.members.iter().rev() {
            if process.is_alive()
                && let Err(error) = process.stop(Signal::TERM)
            {
                eprintln!("{member}: {error:#}; it is killed");
                process.kill()?;
            }
        }
        self.stack.stop_all()
    }

    pub(crate) fn kill_members(&self) -> anyhow::Result<()> {
        self.members.iter().try_for_each(|(_, process)| process.kill())
    }

    pub(crate) fn into_stack(self) -> Stack {
        self.stack
    }
}

/// GETs a path over HTTP/1.1: status and body.
fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP: {answer:?}") };
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
