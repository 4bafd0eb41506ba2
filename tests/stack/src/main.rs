//! Real servers on loopback, from a shell.

mod cli;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use comfy_table::{Table, presets};
use handfast_stack::{CASSANDRA, KAFKA, Stack};
use serde_json::{Value, json};

use cli::{Cli, Command, Format, Output, Place, Which};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up { which, place } => up(&which, &place),
        Command::Down(place) => {
            open(&place)?.stop_all()?;
            eprintln!(
                "stopped; `handfast-stack up` starts it again, `handfast-stack wipe` deletes it"
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Wipe(place) => {
            let folder = place.folder();
            match Stack::open(&folder)? {
                Some(stack) => {
                    stack.wipe()?;
                    eprintln!("wiped {}", folder.display());
                }
                None => eprintln!("there is no stack in {}", folder.display()),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Show(place) => {
            let stack = open(&place)?;
            let all = print_stack(&stack, &place.output)?;
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Fetch(output) => fetch(&output),
    }
}

fn up(which: &Which, place: &Place) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let folder = place.folder();
    let there = Stack::open(&folder)?;
    let was_up =
        there.as_ref().is_some_and(|stack| stack.states().iter().any(|it| it.pid.is_some()));
    let spec = which.spec().or_else(|| there.is_none().then(Which::usual));
    drop(there);
    let (stack, started) = Stack::keep(&folder, spec.as_ref())?;
    let took = begun.elapsed().as_secs_f64();
    if started.is_empty() {
        eprintln!("it is up already, in {}", folder.display());
    } else if was_up {
        eprintln!("dead and started again: {}; all serve after {took:.1} s", started.join(", "));
    } else {
        eprintln!("all serve after {took:.1} s, in {}", folder.display());
    }
    print_stack(&stack, &place.output)?;
    Ok(ExitCode::SUCCESS)
}

fn open(place: &Place) -> anyhow::Result<Stack> {
    let folder = place.folder();
    let stack = Stack::open(&folder)?;
    stack.with_context(|| {
        format!("there is no stack in {}; `handfast-stack up` starts one", folder.display())
    })
}

fn fetch(output: &Output) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for engine in [KAFKA, CASSANDRA] {
        let folder = engine.fetch()?;
        rows.push(vec![engine.title.to_owned(), folder.display().to_string()]);
    }
    if is_table(output) {
        print(&table(&["engine", "folder"], rows))?;
    } else {
        let engines = rows.iter().map(|row| json!({"engine": row[0], "folder": row[1]}));
        print(&serde_json::to_string_pretty(&engines.collect::<Vec<Value>>())?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a stack, and says whether all of it serves.
fn print_stack(stack: &Stack, output: &Output) -> anyhow::Result<bool> {
    let servers = stack.states();
    let all = servers.iter().all(|server| server.serves);
    let (nodes, url) = (stack.cassandra_nodes(), stack.postgres_url());
    let kafka = Some(stack.kafka_bootstrap()).filter(|list| !list.is_empty());
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let cassandra = Some(nodes.join(",")).filter(|list| !list.is_empty());
    if !is_table(output) {
        let text = serde_json::to_string_pretty(&json!({
            "folder": stack.folder(),
            "serves": all,
            "kafka": kafka,
            "cassandra": cassandra,
            "postgres": url,
            "servers": servers,
        }))?;
        print(&text)?;
        return Ok(all);
    }
    let rows = servers.iter().map(|server| {
        let (pid, memory) = (server.pid, server.resident_bytes);
        vec![
            server.name.clone(),
            server.address.to_string(),
            match (server.serves, pid) {
                (true, _) => "serves",
                (false, Some(_)) => "does not answer",
                (false, None) => "down",
            }
            .to_owned(),
            pid.map_or_else(String::new, |pid| pid.to_string()),
            memory.map_or_else(String::new, |bytes| format!("{} MB", bytes / 1_000_000)),
            server.log.display().to_string(),
        ]
    });
    print(&table(&["server", "address", "state", "pid", "memory", "log"], rows.collect()))?;
    let lists = [("kafka", kafka), ("cassandra", cassandra), ("postgres", url)];
    let lists = lists.into_iter().filter_map(|(name, list)| Some(vec![name.to_owned(), list?]));
    print(&table(&["engine", "for clients"], lists.collect()))?;
    Ok(all)
}

/// A table goes to a terminal only, unless it was asked for.
fn is_table(output: &Output) -> bool {
    let usual = if std::io::stdout().is_terminal() { Format::Table } else { Format::Json };
    output.output.unwrap_or(usual) == Format::Table
}

fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    table.add_rows(rows);
    table.trim_fmt()
}

/// Prints a text. A reader that has gone away (`… | head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
