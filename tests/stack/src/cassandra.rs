//! Cassandra, every node on an address of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::fetch::{CASSANDRA, java};
use crate::plan::Plan;
use crate::process::Launch;
use crate::wire::{Fields, connect, receive, send};

const PORT: u16 = 9042;

/// What Java's modules must show to Cassandra.
const EXPORTS: [(&str, &[&str]); 7] = [
    ("java.base", &["jdk.internal.misc", "jdk.internal.ref", "sun.nio.ch", "java.lang.ref"]),
    ("java.management.rmi", &["com.sun.jmx.remote.internal.rmi"]),
    ("java.rmi", &["sun.rmi.registry", "sun.rmi.server"]),
    ("java.sql", &["java.sql"]),
    ("jdk.unsupported", &["sun.misc"]),
    ("jdk.attach", &["sun.tools.attach"]),
    ("jdk.compiler", &["com.sun.tools.javac.file"]),
];
/// What they must open to it.
const OPENS: [(&str, &[&str]); 3] = [
    (
        "java.base",
        &[
            "java.lang",
            "java.lang.module",
            "java.lang.reflect",
            "java.io",
            "java.net",
            "java.nio",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "jdk.internal.loader",
            "jdk.internal.ref",
            "jdk.internal.reflect",
            "jdk.internal.math",
            "jdk.internal.module",
            "jdk.internal.util.jar",
            "jdk.internal.misc",
            "sun.nio.ch",
        ],
    ),
    ("jdk.management", &["com.sun.management.internal"]),
    ("jdk.compiler", &["com.sun.tools.javac"]),
];

/// Where clients reach node `index`, from 0.
pub(crate) fn address(plan: &Plan, index: usize) -> SocketAddr {
    SocketAddr::new(plan.host(index), PORT)
}

/// How to start a node.
pub(crate) fn launch(plan: &Plan, folder: &Path) -> anyhow::Result<Launch> {
    let jars = CASSANDRA.fetch()?;
    let (conf, data) = (folder.join("conf"), folder.join("data"));
    let (jars, conf, data) = (jars.display(), conf.display(), data.display());
    let mut args: Vec<String> =
        ["-Xms512m", "-Xmx512m", "-Xss256k", "-XX:MaxDirectMemorySize=256m"]
            .map(str::to_owned)
            .into();
    args.extend(plan.java_flags());
    args.push(format!("-javaagent:{jars}/jamm-0.4.0.jar"));
    for (flag, modules) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
        for (module, packages) in modules {
            args.extend(packages.iter().map(|it| format!("{flag}={module}/{it}=ALL-UNNAMED")));
        }
    }
    args.extend(
        [
            "-Djdk.attach.allowAttachSelf=true",
            "-Djava.awt.headless=true",
            "-Dio.netty.tryReflectionSetAccessible=true",
            "-Dcassandra.ring_delay_ms=1000",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra-foreground=yes",
        ]
        .map(str::to_owned),
    );
    args.extend([
        format!("-Dcassandra.config=file://{conf}/cassandra.yaml"),
        format!("-Dlogback.configurationFile={conf}/logback.xml"),
        format!("-Dcassandra.storagedir={data}"),
        format!("-Dcassandra.logdir={data}"),
        "-cp".to_owned(),
        format!("{conf}:{jars}/*"),
        "org.apache.cassandra.service.CassandraDaemon".to_owned(),
    ]);
    Ok(Launch { program: java()?, args, user: None })
}

/// Writes the configuration.
pub(crate) fn prepare(plan: &Plan, folder: &Path, index: usize) -> anyhow::Result<()> {
    let conf = folder.join("conf");
    fs::create_dir_all(&conf).with_context(|| format!("cannot create {}", conf.display()))?;
    let yaml = with(&plan.cassandra_settings, &yaml(plan, &folder.join("data"), index));
    fs::write(conf.join("cassandra.yaml"), yaml)?;
    fs::write(conf.join("logback.xml"), LOGBACK)?;
    Ok(())
}

const LOGBACK: &str = r#"<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
"#;

/// The settings with others in their places.
fn with(others: &[(String, String)], yaml: &str) -> String {
    let is_other = |line: &str| {
        others.iter().any(|(name, _)| line.split_once(':').is_some_and(|(key, _)| key == name))
    };
    let kept = yaml.lines().filter(|line| !is_other(line)).map(str::to_owned);
    let others = others.iter().map(|(name, value)| format!("{name}: {value}"));
    kept.chain(others).fold(String::new(), |all, line| all + &line + "\n")
}

fn yaml(plan: &Plan, data: &Path, index: usize) -> String {
    // All are seeds: whichever is down, the others may start.
    let seeds: Vec<String> =
        (0..plan.cassandra).map(|index| plan.host(index).to_string()).collect();
    let share = (1_i128 << 64) / plan.cassandra as i128;
    let token = i128::from(i64::MIN) + index as i128 * share;
    format!(
        "cluster_name: handfast
num_tokens: 1
initial_token: \"{token}\"
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider: [ {{ class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [ {{ seeds: \"{seeds}\" }} ] }} ]
listen_address: {address}
rpc_address: {address}
start_native_transport: true
native_transport_port: {PORT}
storage_port: 7000
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
commitlog_directory: {data}/commitlog
data_file_directories: [ {data}/data ]
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc_raw
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
key_cache_size: 8MiB
counter_cache_size: 1MiB
file_cache_size: 32MiB
networking_cache_size: 16MiB
concurrent_reads: 16
concurrent_writes: 16
concurrent_counter_writes: 2
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
",
        seeds = seeds.join(","),
        address = plan.host(index),
        data = data.display(),
    )
}

/// Whether node `index` serves, and finds `running` nodes, itself included, that answer it.
pub(crate) fn probe(plan: &Plan, index: usize, running: usize) -> anyhow::Result<()> {
    let mut session = Session::open(address(plan, index))?;
    session.query("SELECT key FROM system.local", Consistency::One)?;
    if plan.cassandra > 1 {
        // Every node has a replica of this keyspace, so this asks as many as run. The answer is empty.
        let consistency = match running {
            0 | 1 => Consistency::One,
            2 => Consistency::Two,
            _ => Consistency::All,
        };
        let id = "13814000-1dd2-11b2-8080-808080808080";
        session.query(
            &format!(
                "SELECT parent_id FROM system_distributed.parent_repair_history WHERE parent_id = {id}"
            ),
            consistency,
        )?;
    }
    Ok(())
}

/// How many replicas must answer, by its number in the protocol.
#[derive(Clone, Copy)]
enum Consistency {
    One = 1,
    Two = 2,
    All = 5,
}

/// A connection that speaks the native protocol, version 4.
struct Session(std::net::TcpStream);

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;

impl Session {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut session = Self(connect(address)?);
        let mut options = 1_u16.to_be_bytes().to_vec();
        for text in ["CQL_VERSION", "3.0.0"] {
            options.extend(u16::try_from(text.len()).context("a short text")?.to_be_bytes());
            options.extend(text.as_bytes());
        }
        if session.ask(STARTUP, &options, &[READY, AUTHENTICATE])? == AUTHENTICATE {
            // Every new cluster lets this role in.
            let login = b"\0cassandra\0cassandra";
            let mut response =
                u32::try_from(login.len()).context("a short text")?.to_be_bytes().to_vec();
            response.extend(login);
            session.ask(AUTH_RESPONSE, &response, &[AUTH_SUCCESS])?;
        }
        Ok(session)
    }

    fn query(&mut self, text: &str, consistency: Consistency) -> anyhow::Result<()> {
        let mut body = u32::try_from(text.len()).context("a short query")?.to_be_bytes().to_vec();
        body.extend(text.as_bytes());
        body.extend((consistency as u16).to_be_bytes());
        body.push(0); // no flags
        self.ask(QUERY, &body, &[RESULT]).map(|_| ())
    }

    /// The kind of the answer, which must be one of those.
    fn ask(&mut self, opcode: u8, body: &[u8], expected: &[u8]) -> anyhow::Result<u8> {
        // Version 4, no flags, stream 0.
        let mut frame = vec![4, 0, 0, 0, opcode];
        frame.extend(u32::try_from(body.len()).context("a short message")?.to_be_bytes());
        frame.extend(body);
        send(&mut self.0, &frame)?;
        let header = receive(&mut self.0, 9)?;
        let length = Fields(&header[5..]).i32()?;
        let answer = receive(&mut self.0, usize::try_from(length).context("a negative length")?)?;
        if header[4] == ERROR {
            let mut fields = Fields(&answer);
            let (code, length) = (fields.i32()?, fields.u16()?);
            let message = String::from_utf8_lossy(fields.take(usize::from(length))?);
            bail!("it answered with error {code:#x}: {message}");
        }
        let kind = header[4];
        ensure!(expected.contains(&kind), "it answered with a message of kind {kind:#x}");
        Ok(kind)
    }
}
