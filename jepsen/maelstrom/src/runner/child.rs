//! Nodes as processes: started, killed, stopped, and gone when the run ends.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crossbeam_channel::{Receiver, unbounded};
use serde_json::json;

use super::network::Network;
use super::options::RunnerOptions;
use crate::protocol::{Message, body};

/// How long a node may take to answer `init`.
const INIT_WITHIN: Duration = Duration::from_secs(20);
/// The client that initialises nodes. Nothing is lost on its way.
const INITIALISER: &str = "c-init";

/// The nodes of a run. Dropping it kills them.
pub(super) struct Cluster {
    names: Vec<String>,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    network: Arc<Network>,
    children: Mutex<Vec<Option<Child>>>,
}

impl Cluster {
    /// Starts and initialises every node.
    pub(super) fn start(options: &RunnerOptions, network: Arc<Network>) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=options.nodes).map(|number| format!("n{number}")).collect();
        let cluster = Self {
            children: Mutex::new(names.iter().map(|_| None).collect()),
            names,
            program: options.node.clone(),
            arguments: options.node_arguments.clone(),
            folder: options.folder.clone(),
            network,
        };
        for name in &cluster.names {
            // Logs are appended to over the restarts of a run, not over runs.
            File::create(cluster.log(name)).context("cannot write a node's log")?;
        }
        for node in 0..cluster.names.len() {
            cluster.spawn(node)?;
        }
        Ok(cluster)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Option<Child>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a node's process and waits until it says that it is initialised.
    pub(super) fn spawn(&self, node: usize) -> anyhow::Result<()> {
        let name = &self.names[node];
        let log = OpenOptions::new().append(true).open(self.log(name))?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; name the node's program with --bin",
                    self.program.display()
                )
            })?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        self.children()[node] = Some(child);
        let (end, messages) = unbounded();
        let (initialised, answers) = unbounded();
        self.network.join(INITIALISER, initialised);
        self.network.join(name, end);
        std::thread::spawn(move || feed(stdin, &messages));
        let network = Arc::clone(&self.network);
        let own = name.clone();
        std::thread::spawn(move || hear(stdout, &network, &own));
        let init = body(json!({
            "type": "init", "msg_id": 1, "node_id": name, "node_ids": self.names,
        }));
        self.network.send(Message { src: INITIALISER.into(), dest: name.clone(), body: init });
        match answers.recv_timeout(INIT_WITHIN) {
            Ok(answer) if answer.kind() == "init_ok" && answer.in_reply_to() == Some(1) => Ok(()),
            Ok(answer) => bail!("{name} answered init with {}", answer.to_line()),
            Err(_) => bail!(
                "{name} did not answer init within {INIT_WITHIN:?}; see {}",
                self.log(name).display()
            ),
        }
    }

    /// Kills a node as `kill -9` does, and waits until it is gone.
    pub(super) fn kill(&self, node: usize) -> anyhow::Result<()> {
        self.network.leave(&self.names[node]);
        if let Some(mut child) = self.children()[node].take() {
            child.kill().context("cannot kill a node")?;
            child.wait().context("cannot wait for a node")?;
        }
        Ok(())
    }

    /// Sends `STOP` or `CONT`.
    pub(super) fn signal(&self, node: usize, signal: &str) -> anyhow::Result<()> {
        let Some(id) = self.children()[node].as_ref().map(Child::id) else { return Ok(()) };
        let shell = format!("kill -{signal} {id}");
        let sent = Command::new("sh").arg("-c").arg(shell).status()?;
        ensure!(sent.success(), "cannot send SIG{signal} to {}", self.names[node]);
        Ok(())
    }

    /// Stops everything; how many times a node began to lead a shard. Fails if a node ended by itself.
    pub(super) fn stop(&self) -> anyhow::Result<usize> {
        let mut ended = Vec::new();
        for node in 0..self.names.len() {
            let by_itself = match self.children()[node].as_mut() {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = by_itself {
                ended.push(format!("{} ended by itself: {status}", self.names[node]));
            }
            self.kill(node)?;
        }
        self.network.stop();
        let mut elections = 0;
        for name in &self.names {
            let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
            elections += log.lines().filter(|line| line.contains(": leading epoch")).count();
            if let Some(line) =
                log.lines().find(|line| line.contains("panicked") || line.contains("FATAL"))
            {
                ended.push(format!("{name}: {line}"));
            }
        }
        ensure!(
            ended.is_empty(),
            "{}; see the logs in {}",
            ended.join("; "),
            self.folder.display()
        );
        Ok(elections)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children().iter_mut().flatten() {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes messages to a node until it is gone.
fn feed(mut stdin: ChildStdin, messages: &Receiver<Message>) {
    while let Ok(first) = messages.recv() {
        let mut lines = String::new();
        for message in std::iter::once(first).chain(messages.try_iter()) {
            lines.push_str(&message.to_line());
            lines.push('\n');
        }
        if stdin.write_all(lines.as_bytes()).is_err() {
            return;
        }
    }
}

/// Brings a node's messages to the network until it is gone.
fn hear(stdout: ChildStdout, network: &Network, name: &str) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        match Message::parse(&line) {
            Ok(message) if message.src == name => network.send(message),
            Ok(message) => eprintln!("{name} speaks for another: {}", message.to_line()),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
}
