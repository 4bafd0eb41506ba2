//! memcached, as the machine has it installed.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fetch::program;
use crate::process::{Launch, Lifetime, Process};

const INSTALL: &str = "apt-get install memcached";
/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A memcached on a free port of loopback, gone with the process that started it.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    program: PathBuf,
    args: Vec<String>,
    address: SocketAddr,
    _folder: TempDir,
}

impl Memcached {
    /// Whether the machine has it.
    pub fn is_installed() -> bool {
        program("memcached", INSTALL).is_ok()
    }

    /// Starts one with these arguments beside its address.
    pub fn start(args: &[&str]) -> anyhow::Result<Self> {
        let program = program("memcached", INSTALL)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("port");
        let lifetime = Lifetime::OfThisProcess;
        let process = Process::find("memcached".to_owned(), folder.path().to_owned(), lifetime);
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        // It takes whichever port is free, and writes which; `env` becomes the program.
        let asked = [format!("MEMCACHED_PORT_FILENAME={}", file.display())];
        let asked = asked.into_iter().chain([program.display().to_string()]);
        let launch = Launch {
            program: crate::fetch::program("env", "it comes with coreutils")?,
            args: asked.chain(arguments("-1", &args)).collect(),
            user: None,
        };
        process.start(&launch)?;
        let port = || {
            let said = fs::read_to_string(&file).context("it has not written its port")?;
            let port = said.split_whitespace().next_back().and_then(|port| port.parse().ok());
            port.with_context(|| format!("no port: {said:?}"))
        };
        process.wait_until_ready(Instant::now() + PATIENCE, || port().map(|_: u16| ()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port()?));
        let started = Self { process, program, args, address, _folder: folder };
        started.wait_until_ready()?;
        Ok(started)
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        self.process.wait_until_ready(Instant::now() + PATIENCE, || {
            TcpStream::connect(self.address)?;
            Ok(())
        })
    }

    /// Where it listens, always.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as `kill -9` does, and waits until it is gone; with it everything that it had.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()?;
        // Its threads may outlive the first of them for a moment, and listen.
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_ok() {
            ensure!(Instant::now() < end, "somebody listens on {} still", self.address);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Starts it again, empty, after it was killed.
    pub fn restart(&self) -> anyhow::Result<()> {
        let args = arguments(&self.address.port().to_string(), &self.args).collect();
        self.process.start(&Launch { program: self.program.clone(), args, user: None })?;
        self.wait_until_ready()
    }

    /// Stops it where it is: once this returns, it accepts nothing and answers nothing.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)?;
        // A signal takes its moment, and each thread its own.
        let id = self.process.id().context("it has ended")?;
        let end = Instant::now() + PATIENCE;
        while !stands_still(id) {
            ensure!(Instant::now() < end, "the process {id} does not stand still");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)
    }
}

/// Whether every thread of a process is stopped.
fn stands_still(id: i32) -> bool {
    let is_stopped = |stat: &str| {
        // Behind the name, which is in brackets and may have any character.
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        state == Some("T")
    };
    let Ok(mut threads) = fs::read_dir(format!("/proc/{id}/task")) else { return false };
    threads.all(|thread| {
        let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
        stat.is_ok_and(|stat| is_stopped(&stat))
    })
}

fn arguments(port: &str, args: &[String]) -> impl Iterator<Item = String> {
    // As root it asks to be told as whom to run; to change that would undo that it ends with its parent.
    let first = ["-u", "root", "-l", "127.0.0.1", "-p", port].map(str::to_owned);
    first.into_iter().chain(args.to_vec())
}
