//! Handfast in one binary: the server, a guided demo, a benchmark, and the command line.

mod bench;
mod cli;
mod commands;
mod compose;
mod control_plane;
mod demo;
mod exit;
mod http;
mod logging;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use exit::Failure;

/// Transactions are made of many small allocations, which the system's allocator gives slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli.global);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::error(format!("cannot start threads: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("error: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(args) => serve::command(args).await,
        Command::Demo(args) => demo::command(args, &global).await,
        Command::Submit(args) => commands::submit::run(&global, args).await,
        Command::Read(args) => commands::read::run(&global, args).await,
        Command::Outcome(args) => commands::outcome::run(&global, args).await,
        Command::Explain(args) => commands::explain::run(&global, args).await,
        Command::Write(args) => commands::write::run(&global, args).await,
        Command::Subscribe(args) => commands::subscribe::run(&global, args).await,
        Command::Parked(verb) => commands::parked::run(&global, verb).await,
        Command::Target(verb) => commands::deliveries::target(&global, verb).await,
        Command::DeadLetters(verb) => commands::deliveries::dead_letters(&global, verb).await,
        Command::Txn(cli::Txn::List(args)) => commands::txn::list(&global, args).await,
        Command::Delayed(verb) => commands::delayed::run(&global, verb).await,
        Command::Region(verb) => commands::region::run(&global, verb).await,
        Command::Namespace(verb) => commands::namespace::run(&global, verb).await,
        Command::Pool(verb) => commands::pool::run(&global, verb).await,
        Command::Status(args) => commands::namespace::status(&global, args).await,
        Command::Check(args) => commands::check::run(&global, &args),
        Command::Bench(args) => bench::command(&global, args).await,
        Command::Completions { shell } => {
            cli::completions(shell);
            Ok(())
        }
        Command::Version => {
            let version = serde_json::json!({"version": env!("CARGO_PKG_VERSION")});
            output::one(&global, version)
        }
    }
}
