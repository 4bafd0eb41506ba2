//! The table of planted bugs.

use std::time::Instant;

use clap::Args;
use handfast_sim::{Bug, Caught, all_bugs, plant_all, table};

/// What `bugs` is asked.
#[derive(Debug, Args)]
pub(super) struct BugsArguments {
    /// How many seeds each bug may escape.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Transactions in each world.
    #[arg(long, default_value_t = 100)]
    txns: u32,
    /// Only these: names or numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Threads; by default one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &BugsArguments) -> anyhow::Result<bool> {
    let bugs: Vec<&'static Bug> = if arguments.only.is_empty() {
        all_bugs()
    } else {
        arguments.only.iter().map(|name| super::bug(name)).collect::<Result<_, _>>()?
    };
    let begun = Instant::now();
    let results =
        plant_all(&bugs, arguments.seeds, arguments.txns, super::threads(arguments.threads));
    if arguments.json {
        let rows: Vec<_> = results.iter().map(json_of).collect();
        println!("{}", serde_json::json!({ "bugs": rows }));
    } else {
        print!("{}", table(&results, true));
        println!("\n{} bugs in {:.1} s", results.len(), begun.elapsed().as_secs_f64());
    }
    for caught in &results {
        if let Some((seed, failure)) = &caught.unbroken {
            eprintln!("seed {seed} fails without {} too: {failure}", caught.bug.name());
        }
    }
    Ok(results.iter().all(|caught| caught.check.is_some() && caught.unbroken.is_none()))
}

fn json_of(caught: &Caught) -> serde_json::Value {
    serde_json::json!({
        "number": caught.bug.number,
        "name": caught.bug.name(),
        "what": caught.bug.what,
        "planted_in": caught.bug.planted_in(),
        "focus": caught.bug.focus.map(handfast_sim::Focus::name),
        "seeds": caught.seeds,
        "caught_by": caught.check.map(|check| format!("{check:?}")),
    })
}
