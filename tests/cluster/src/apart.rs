//! Servers in network namespaces of their own, so that one can be cut off from some others and not from all;
//! and disks of their own, which can be full.
//!
//! ```text
//!   the test's own network namespace                    one for each server of Handfast
//!   bridge 10.77.0.0/24: engines, the test's clients ── veth pair ── eth0: gateway-1
//!                                                   └── veth pair ── eth0: participant-1 …
//! ```
//!
//! All of it is within a namespace that ends with the test, so nothing of the machine's own network changes.
//! A cut is a routing rule in the namespace of the server that is cut off: what it sends to a port, or from
//! one, goes nowhere.

use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use handfast_stack::{CASSANDRA, KAFKA, Network};

/// The network within: nothing outside can be meant by it.
pub(crate) const NETWORK: Network = Network([10, 77, 0]);
const BRIDGE: &str = "handfast0";
/// Set in the process that has a network namespace of its own.
const MARK: &str = "HANDFAST_TEST_APART";
/// Says that tests in network namespaces are to be left out.
const LEFT_OUT: &str = "HANDFAST_NO_NETNS";
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The brokers.
    Kafka,
    /// The nodes.
    Cassandra,
    /// PostgreSQL.
    Postgres,
    /// The other servers of Handfast.
    Peers,
    /// The same, one way: it cannot ask them, and they can ask it.
    ToPeers,
}

impl Way {
    const fn port(self) -> u16 {
        match self {
            Self::Kafka => 9_092,
            Self::Cassandra => 9_042,
            Self::Postgres => 5_432,
            Self::Peers | Self::ToPeers => 7_430,
        }
    }

    /// What of its packets is dropped: those to the port, and those from it, by which it answers.
    const fn sides(self) -> &'static [&'static str] {
        match self {
            Self::ToPeers => &["dport"],
            Self::Kafka | Self::Cassandra | Self::Postgres | Self::Peers => &["dport", "sport"],
        }
    }
}

/// Plays a test in a network namespace of its own: starts this executable again in one, for that test alone.
///
/// # Panics
/// If the test fails there; if this is not root, unless `HANDFAST_NO_NETNS` says to leave it out.
pub fn play(test: &str, scenes: impl FnOnce()) {
    if is_apart() {
        return scenes();
    }
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os(LEFT_OUT).is_some(),
            "{test} needs root for network namespaces; ./check --no-netns leaves it out"
        );
        println!("NOT RUN: {test}, because it needs root for network namespaces");
        return;
    }
    // There is no way out of that network to fetch anything.
    for engine in [KAFKA, CASSANDRA] {
        engine.fetch().expect("the engines are fetched");
    }
    let this = std::env::current_exe().expect("this executable");
    let mut again = Command::new("unshare");
    again.args(["--net", "--mount", "--"]).arg(this).args(["--exact", test, "--nocapture"]);
    let status = again.env(MARK, "1").status().expect("unshare is part of util-linux");
    assert!(status.success(), "{test} failed in its network: {status}");
}

/// Whether this process has a network namespace of its own, so that servers can be apart.
pub fn is_apart() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Becomes this program again, with the same arguments, in a network namespace of its own. Nothing if it is in
/// one, if this is not root, or if `HANDFAST_NO_NETNS` says so: see [`is_apart`]. For programs that are one
/// command, before they have done anything.
///
/// # Errors
/// If the engines cannot be fetched, or if there is no util-linux.
pub fn become_apart() -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    if is_apart() || !root || std::env::var_os(LEFT_OUT).is_some() {
        return Ok(());
    }
    // There is no way out of that network to fetch anything.
    for engine in [KAFKA, CASSANDRA] {
        engine.fetch()?;
    }
    let this = std::env::current_exe()?;
    let mut again = Command::new("unshare");
    again.arg("--net").arg("--").arg(this).args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(again.exec()).context("cannot run unshare, which is part of util-linux")
}

/// Makes the bridge, with the engines' addresses on it, if it is not there.
pub(crate) fn prepare() -> anyhow::Result<()> {
    ensure!(is_apart(), "servers apart are only for what runs in a network of its own");
    ip(&["link", "set", "lo", "up"])?;
    if ip(&["link", "show", BRIDGE]).is_ok() {
        return Ok(());
    }
    // With an address of its own: else it takes the lowest of its ports', and everybody looks for the engines
    // at the old one for half a minute whenever a server comes or goes.
    let own = "02:00:00:00:00:fe";
    ip(&["link", "add", BRIDGE, "address", own, "type", "bridge"])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    let [a, b, c] = NETWORK.0;
    for host in [1, 2, 3, 254] {
        ip(&["addr", "add", &format!("{a}.{b}.{c}.{host}/24"), "dev", BRIDGE])?;
    }
    Ok(())
}

/// The words before a server's own command line: it waits for its address, then becomes the server.
pub(crate) fn enter() -> Vec<String> {
    const WAIT: &str = "until ip -4 addr show dev eth0 2>/dev/null | grep -q inet; do sleep 0.02; done; \
                        exec \"$0\" \"$@\"";
    ["unshare", "--net", "--", "sh", "-c", WAIT].map(str::to_owned).into()
}

/// Gives a server that has just been started its address.
pub(crate) fn connect(pid: i32, address: IpAddr) -> anyhow::Result<()> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    let (ours, end) = (namespace("self")?, Instant::now() + PATIENCE);
    while namespace(&pid.to_string())? == ours {
        ensure!(Instant::now() < end, "the process {pid} gets no network of its own");
        std::thread::sleep(Duration::from_millis(5));
    }
    let IpAddr::V4(v4) = address else { anyhow::bail!("{address} is not of IPv4") };
    let outer = format!("hf{}", v4.octets()[3]);
    let process = pid.to_string();
    // The kernel takes its time to remove that of a process that had this address before.
    let _ = ip(&["link", "del", &outer]);
    // The same hardware address each time, so that nobody remembers another.
    let hardware = format!("02:00:00:00:00:{:02x}", v4.octets()[3]);
    let peer = ["peer", "name", "eth0", "address", &hardware, "netns", &process];
    ip(&[&["link", "add", &outer, "type", "veth"], &peer[..]].concat())?;
    ip(&["link", "set", &outer, "master", BRIDGE])?;
    ip(&["link", "set", &outer, "up"])?;
    within(pid, &["link", "set", "lo", "up"])?;
    within(pid, &["link", "set", "eth0", "up"])?;
    within(pid, &["addr", "add", &format!("{address}/24"), "dev", "eth0"])
}

/// What goes a way no longer arrives.
pub(crate) fn cut(pid: i32, way: Way) -> anyhow::Result<()> {
    for side in way.sides() {
        let port = way.port().to_string();
        within(pid, &["rule", "add", "pref", "10", "ipproto", "tcp", side, &port, "blackhole"])?;
    }
    Ok(())
}

/// It arrives again.
pub(crate) fn mend(pid: i32, way: Way) -> anyhow::Result<()> {
    for side in way.sides() {
        let port = way.port().to_string();
        within(pid, &["rule", "del", "pref", "10", "ipproto", "tcp", side, &port, "blackhole"])?;
    }
    Ok(())
}

/// Puts what is in a folder on a small disk of its own, mounted there: nobody but this process and what it
/// starts from now on sees it, and it ends with them.
pub(crate) fn small_disk(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    ensure!(is_apart(), "a disk of its own is only for what runs in a mount namespace of its own");
    let aside = folder.with_extension("aside");
    std::fs::rename(folder, &aside).context("cannot move it aside")?;
    std::fs::create_dir(folder)?;
    let size = format!("size={bytes}");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "handfast-small"]).arg(folder))?;
    run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(folder))?;
    Ok(std::fs::remove_dir_all(aside)?)
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    run(Command::new("ip").args(args))
}

fn within(pid: i32, args: &[&str]) -> anyhow::Result<()> {
    run(Command::new("nsenter").args(["-t", &pid.to_string(), "-n", "ip"]).args(args))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let done = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}");
    Ok(())
}
