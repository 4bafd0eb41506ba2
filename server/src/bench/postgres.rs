//! PostgreSQL on the same machine, in the same run, where it is installed: the figure to hold ours against.
//!
//! Its own load generator, `pgbench`, runs the transfer and the hot increment. PostgreSQL refuses to run
//! as root; then the user `postgres` runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::report::Measured;

const TRANSFER: &str = "\\set a random(1, 5000)\n\\set b random(1, 5000)\n\\set n random(1, 10)\nBEGIN;\n\
    UPDATE l SET balance = balance - :n WHERE id = :a AND balance >= :n;\n\
    UPDATE r SET balance = balance + :n WHERE id = :b;\nCOMMIT;\n";
const HOT: &str = "UPDATE l SET balance = balance + 1 WHERE id = 1;\n";
const TABLES: &str = "CREATE TABLE l AS SELECT id, 1000000::bigint AS balance FROM generate_series(1, 5000) id;\n\
    CREATE TABLE r AS SELECT id, 1000000::bigint AS balance FROM generate_series(1, 5000) id;\n\
    ALTER TABLE l ADD PRIMARY KEY (id); ALTER TABLE r ADD PRIMARY KEY (id);";

/// The newest PostgreSQL of Debian's layout, if one is installed.
pub(super) fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> =
        versions.flatten().map(|version| version.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists() && bin.join("pgbench").exists());
    found.sort();
    found.pop()
}

/// A server in `folder`, stopped when this is dropped.
struct Server<'a> {
    bin: &'a Path,
    folder: PathBuf,
    as_postgres: bool,
}

impl Server<'_> {
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let program = self.bin.join(program);
        let mut command = if self.as_postgres {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let output = command.args(arguments).current_dir(&self.folder).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{}: {said}", program.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn socket(&self) -> &str {
        self.folder.to_str().unwrap_or(".")
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Nothing more can be done about a server that does not stop.
        let _ = self.run("pg_ctl", &["-D", "data", "-m", "immediate", "stop"]);
    }
}

/// Measures transfer and hot increment with each number of clients.
pub(super) fn measure(
    bin: &Path,
    folder: &Path,
    clients: &[usize],
    seconds: u64,
) -> anyhow::Result<Vec<Measured>> {
    std::fs::create_dir_all(folder)?;
    let as_postgres = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if as_postgres {
        Command::new("chown").arg("postgres").arg(folder).status().context("chown")?;
    }
    let server = Server { bin, folder: folder.to_owned(), as_postgres };
    server.run("initdb", &["-D", "data", "-A", "trust", "--no-instructions"])?;
    let options = format!("-k {} -c listen_addresses= -c max_connections=300", server.socket());
    server.run("pg_ctl", &["-D", "data", "-w", "-l", "log", "-o", &options, "start"])?;
    server.run("psql", &["-h", server.socket(), "-d", "postgres", "-qc", TABLES])?;
    let mut measured = Vec::new();
    for (name, script) in [("transfer", TRANSFER), ("hot", HOT)] {
        let file = format!("{name}.sql");
        std::fs::write(folder.join(&file), script)?;
        for clients in clients {
            let count = clients.to_string();
            let threads = (*clients).min(2).to_string();
            let seconds = seconds.to_string();
            let said = server.run(
                "pgbench",
                &[
                    "-h",
                    server.socket(),
                    "-n",
                    "-M",
                    "prepared",
                    "-f",
                    &file,
                    "-c",
                    &count,
                    "-j",
                    &threads,
                    "-T",
                    &seconds,
                    "postgres",
                ],
            )?;
            measured.push(read(name, *clients, &said)?);
        }
    }
    Ok(measured)
}

/// Reads what pgbench prints. It tells a mean latency, no quantiles.
fn read(name: &str, clients: usize, said: &str) -> anyhow::Result<Measured> {
    let number = |label: &str| {
        let rest = said.split(label).nth(1)?;
        rest.split_whitespace().next()?.split('/').next()?.parse::<f64>().ok()
    };
    let per_second = number("tps =").with_context(|| format!("pgbench said: {said}"))?;
    let mean_ms = number("latency average =").unwrap_or(0.0);
    Ok(Measured {
        workload: name.to_owned(),
        transport: "postgresql".to_owned(),
        in_flight: clients,
        committed: number("actually processed:").unwrap_or(0.0) as u64,
        aborted: 0,
        unknown: 0,
        refused: 0,
        per_second: per_second.round(),
        p50_us: (mean_ms * 1000.0) as u64,
        p95_us: 0,
        p99_us: 0,
        max_us: 0,
        sum: None,
    })
}
