//! One server process: started, awaited, hurt, and stopped by the id that it got.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal};

/// How often a process is looked at while something is awaited.
const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to end when asked; a Cassandra that drains takes seconds.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// How long the parent of a dead process may take to note it.
const BURIAL_PATIENCE: Duration = Duration::from_secs(5);
/// How much of a log an error shows.
const TAIL_LINES: usize = 25;

/// In a process's folder: its id, and when it began.
const ID_FILE: &str = "pid";

/// Who ends a process that nobody stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The kernel kills it when this process is gone, however that ended.
    OfThisProcess,
    /// It stays until it is stopped by its process id file.
    UntilStopped,
}

/// How to start a process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, by its path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whom to run it as, if not as ourselves.
    pub user: Option<String>,
}

impl Launch {
    /// Wrapped in util-linux's `setpriv`, which becomes the program: it changes the user, and asks the
    /// kernel for the signal that ends it with its parent. In Rust both would need `unsafe`.
    pub(crate) fn wrapped(&self, lifetime: Lifetime) -> anyhow::Result<Command> {
        let mut wrapper = Vec::new();
        if let Some(user) = &self.user {
            wrapper.extend([format!("--reuid={user}"), format!("--regid={user}")]);
            wrapper.push("--init-groups".to_owned());
        }
        if lifetime == Lifetime::OfThisProcess {
            wrapper.extend(["--pdeathsig".to_owned(), "KILL".to_owned()]);
        }
        let mut command = if wrapper.is_empty() {
            Command::new(&self.program)
        } else {
            let install = "it comes with util-linux: apt-get install util-linux";
            let mut command = Command::new(crate::fetch::program("setpriv", install)?);
            command.args(wrapper).arg("--").arg(&self.program);
            command
        };
        command.args(&self.args).stdin(Stdio::null());
        Ok(command)
    }

    fn command(&self, folder: &Path, log: &Path, lifetime: Lifetime) -> anyhow::Result<Command> {
        let mut command = self.wrapped(lifetime)?;
        let log = File::options().create(true).append(true).open(log)?;
        command
            .current_dir(folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            // Of its own, so that a ^C in a terminal is for whoever started it.
            .process_group(0);
        Ok(command)
    }
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Itself,
    AndChildren,
}

/// A process id that cannot be mistaken for a later process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: i32,
    /// When it began, in clock ticks since the machine did.
    began: u64,
}

impl Identity {
    /// Of a process that is there; `None` if there is none, or only its exit status is left.
    fn of(id: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let began = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { id, began })
    }

    fn is_alive(self) -> bool {
        Self::of(self.id) == Some(self)
    }

    /// Of a dead process of somebody else's, the id stays until its parent has taken note. PostgreSQL
    /// takes the id in its lock file for a server's until then.
    fn wait_until_buried(self) {
        let end = Instant::now() + BURIAL_PATIENCE;
        while Path::new(&format!("/proc/{}", self.id)).exists()
            && !self.is_alive()
            && Instant::now() < end
        {
            std::thread::sleep(POLL);
        }
    }

    fn signal(self, signal: Signal, whom: Whom) -> anyhow::Result<()> {
        ensure!(self.is_alive(), "the process {} has ended", self.id);
        let id = Pid::from_raw(self.id).context("not the id of a process")?;
        let children = if whom == Whom::AndChildren { children(self.id) } else { Vec::new() };
        rustix::process::kill_process(id, signal)
            .with_context(|| format!("cannot signal the process {}", self.id))?;
        // Those of PostgreSQL lead groups of their own: a signal to its group would not reach them.
        for child in children {
            // One that has ended meanwhile needs no signal.
            let _ = rustix::process::kill_process(child, signal);
        }
        Ok(())
    }
}

/// The processes whose parent is `id`.
fn children(id: i32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|child| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            parent.and_then(|parent| parent.parse().ok()) == Some(id)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// A server process, running or not. Dropping it kills one that ends with this process.
#[derive(Debug)]
pub struct Process {
    /// Such as `kafka-1`.
    name: String,
    /// Log and process id file are written here.
    folder: PathBuf,
    lifetime: Lifetime,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    identity: Option<Identity>,
    /// Of those that we started ourselves: to be waited for.
    child: Option<Child>,
    /// How the last of these ended.
    ended: Option<ExitStatus>,
}

impl State {
    fn is_alive(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => (self.child, self.ended) = (None, Some(status)),
                Err(_) => self.child = None,
            }
        }
        self.identity.is_some_and(Identity::is_alive)
    }
}

impl Process {
    /// A process that an earlier one may have started and left running.
    pub fn find(name: String, folder: PathBuf, lifetime: Lifetime) -> Self {
        let stored = fs::read_to_string(folder.join(ID_FILE)).unwrap_or_default();
        let mut numbers = stored.split_whitespace();
        let identity = (|| {
            let id = numbers.next()?.parse().ok()?;
            let began = numbers.next()?.parse().ok()?;
            Some(Identity { id, began })
        })();
        Self { name, folder, lifetime, state: Mutex::new(State { identity, ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it writes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Whether it is there, paused or not.
    pub fn is_alive(&self) -> bool {
        self.state().is_alive()
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<i32> {
        let mut state = self.state();
        if state.is_alive() { state.identity.map(|identity| identity.id) } else { None }
    }

    /// How it ended; `None` while it runs, and of one that another process started.
    pub fn ended_with(&self) -> Option<ExitStatus> {
        let mut state = self.state();
        if state.is_alive() { None } else { state.ended }
    }

    /// Its resident memory, bytes, while it runs.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// Starts it; nothing is awaited.
    pub fn start(&self, launch: &Launch) -> anyhow::Result<()> {
        let mut state = self.state();
        ensure!(!state.is_alive(), "{} runs already", self.name());
        if let Some(identity) = state.identity {
            identity.wait_until_buried();
        }
        let child = spawn(launch.command(&self.folder, &self.log(), self.lifetime)?)
            .with_context(|| format!("cannot start {}", launch.program.display()))?;
        let id = i32::try_from(child.id()).context("a process id that is none")?;
        state.identity = Identity::of(id);
        (state.child, state.ended) = (Some(child), None);
        let identity = state.identity.with_context(|| self.ended())?;
        fs::write(self.folder.join(ID_FILE), format!("{} {}\n", identity.id, identity.began))?;
        Ok(())
    }

    /// Waits until `probe` finds it ready, and fails as soon as it has ended.
    pub fn wait_until_ready(
        &self,
        end: Instant,
        probe: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            if !self.is_alive() {
                bail!(self.ended());
            }
            let Err(why) = probe() else { return Ok(()) };
            if Instant::now() > end {
                bail!(
                    "{} is not ready in time: {why:#}; its log is {}, and ends with:\n{}",
                    self.name(),
                    self.log().display(),
                    tail(&self.log())
                );
            }
            std::thread::sleep(POLL);
        }
    }

    fn ended(&self) -> String {
        let (name, log) = (self.name(), self.log());
        format!("{name} has ended; its log is {}, and ends with:\n{}", log.display(), tail(&log))
    }

    /// Sends a signal to it and to its children.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.send(signal, Whom::AndChildren)
    }

    fn send(&self, signal: Signal, whom: Whom) -> anyhow::Result<()> {
        let identity = self.state().identity;
        let identity = identity.with_context(|| format!("{} was not started", self.name()))?;
        identity.signal(signal, whom).with_context(|| self.name().to_owned())
    }

    /// Kills it as `kill -9` does, and waits until it is gone. Nothing if it is gone already.
    pub fn kill(&self) -> anyhow::Result<()> {
        if self.is_alive() {
            self.signal(Signal::KILL)?;
        }
        self.wait_until_gone()
    }

    /// Asks it to stop, by its own signal for that, and waits until it is gone.
    pub fn stop(&self, signal: Signal) -> anyhow::Result<()> {
        self.ask_to_stop(signal)?;
        self.wait_until_gone()
    }

    /// Asks it to stop, and awaits nothing.
    pub fn ask_to_stop(&self, signal: Signal) -> anyhow::Result<()> {
        if self.is_alive() {
            // One that is paused would never hear.
            self.signal(Signal::CONT)?;
            self.send(signal, Whom::Itself)?;
        }
        Ok(())
    }

    fn wait_until_gone(&self) -> anyhow::Result<()> {
        let end = Instant::now() + STOP_PATIENCE;
        while self.is_alive() {
            ensure!(
                Instant::now() < end,
                "{} does not stop; its log is {}, and ends with:\n{}",
                self.name(),
                self.log().display(),
                tail(&self.log())
            );
            std::thread::sleep(POLL);
        }
        // Absent where it never was started.
        let _ = fs::remove_file(self.folder.join(ID_FILE));
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::OfThisProcess
            && let Err(error) = self.kill()
        {
            eprintln!("{error:#}");
        }
    }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// A command to start, and where to send what came of it.
type Job = (Command, Sender<io::Result<Child>>);

/// Starts a process from a thread that lives as long as this process: the kernel takes the end of the
/// thread that started a process for the end of its parent.
fn spawn(command: Command) -> anyhow::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, todo) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in todo {
                // Nobody waits any more: the child is dropped, and `Process` never knew it.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, started) = channel();
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer))?;
    Ok(started.recv()??)
}
