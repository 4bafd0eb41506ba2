//! Kafka in KRaft mode: every process is broker and controller.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::fetch::{KAFKA, java};
use crate::plan::Plan;
use crate::process::Launch;
use crate::wire::{Fields, connect, receive, send};

const PORT: u16 = 9092;
const CONTROLLER_PORT: u16 = 9093;
/// Number of the metadata request, and the version of it that every broker since 0.10 speaks.
const METADATA: (u16, u16) = (3, 1);

/// Where clients reach broker `index`, from 0.
pub(crate) fn address(plan: &Plan, index: usize) -> SocketAddr {
    SocketAddr::new(plan.host(index), PORT)
}

/// How to start a broker.
pub(crate) fn launch(plan: &Plan) -> anyhow::Result<Launch> {
    let mut args = jvm(plan)?;
    args.extend(["kafka.Kafka".to_owned(), "server.properties".to_owned()]);
    Ok(Launch { program: java()?, args, user: None })
}

/// Writes the configuration, and formats the data folder if that was not done.
pub(crate) fn prepare(plan: &Plan, folder: &Path, index: usize) -> anyhow::Result<()> {
    let data = folder.join("data");
    fs::write(folder.join("server.properties"), properties(plan, &data, index))?;
    if data.join("meta.properties").is_file() {
        return Ok(());
    }
    let formatted = Command::new(java()?)
        .args(jvm(plan)?)
        .args(["kafka.tools.StorageTool", "format", "-t", &plan.cluster_id])
        .args(["-c", "server.properties"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("cannot start java")?;
    ensure!(
        formatted.status.success(),
        "cannot format the data folder of a broker ({}):\n{}{}",
        formatted.status,
        String::from_utf8_lossy(&formatted.stdout),
        String::from_utf8_lossy(&formatted.stderr)
    );
    Ok(())
}

fn jvm(plan: &Plan) -> anyhow::Result<Vec<String>> {
    let jars = KAFKA.fetch()?;
    let mut args = vec!["-Xmx256m".to_owned(), "-Xms256m".to_owned()];
    args.extend(plan.java_flags());
    args.extend([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
        "-Dorg.slf4j.simpleLogger.showDateTime=true".to_owned(),
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS".to_owned(),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
    ]);
    Ok(args)
}

fn properties(plan: &Plan, data: &Path, index: usize) -> String {
    let controller = |index: usize| SocketAddr::new(plan.host(index), CONTROLLER_PORT);
    let voters: Vec<String> =
        (0..plan.kafka).map(|index| format!("{}@{}", index + 1, controller(index))).collect();
    // With one broker there is nobody to replicate to.
    let (replicas, in_sync) = if plan.kafka >= 3 { (3, 2) } else { (1, 1) };
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.threads=1
",
        id = index + 1,
        voters = voters.join(","),
        broker = address(plan, index),
        controller = controller(index),
        data = data.display(),
    );
    for (name, value) in &plan.kafka_properties {
        writeln!(text, "{name}={value}").expect("a string takes what is written");
    }
    text
}

/// Whether broker `index` serves, knows itself registered, and knows at least `brokers` of them.
pub(crate) fn probe(plan: &Plan, index: usize, brokers: usize) -> anyhow::Result<()> {
    let known = brokers_known(address(plan, index))?;
    let id = i32::try_from(index).context("not the number of a broker")? + 1;
    if !known.contains(&id) {
        bail!("the cluster does not know it yet; it knows the brokers {known:?}");
    }
    ensure!(known.len() >= brokers, "it knows the brokers {known:?}, {brokers} are awaited");
    Ok(())
}

/// Asks a broker for the ids of those that it knows to serve.
fn brokers_known(address: SocketAddr) -> anyhow::Result<Vec<i32>> {
    let mut request = Vec::new();
    request.extend(METADATA.0.to_be_bytes());
    request.extend(METADATA.1.to_be_bytes());
    request.extend(7_i32.to_be_bytes()); // correlation id
    request.extend((-1_i16).to_be_bytes()); // no client id
    request.extend(0_i32.to_be_bytes()); // no topics
    let mut stream = connect(address)?;
    let length = i32::try_from(request.len()).context("a long request")?;
    send(&mut stream, &[&length.to_be_bytes()[..], &request].concat())?;
    let length = Fields(&receive(&mut stream, 4)?).i32()?;
    let answer = receive(&mut stream, usize::try_from(length).context("a negative length")?)?;
    let mut fields = Fields(&answer);
    ensure!(fields.i32()? == 7, "an answer to another question");
    let count = fields.i32()?;
    let mut known = Vec::new();
    for _ in 0..count {
        known.push(fields.i32()?);
        let host = fields.u16()?;
        fields.take(usize::from(host))?;
        fields.i32()?; // its port
        let rack = fields.u16()?;
        if rack != u16::MAX {
            fields.take(usize::from(rack))?;
        }
    }
    Ok(known)
}
