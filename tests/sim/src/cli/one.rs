//! One world.

use handfast_sim::{Options, Outcome, command, run_seed};

use super::RunArguments;

pub(super) fn run(arguments: &RunArguments, options: &Options) -> anyhow::Result<bool> {
    let outcome = run_seed(options);
    for line in &outcome.timeline {
        println!("{line}");
    }
    if arguments.json {
        println!("{}", json_of(&outcome));
    } else {
        println!(
            "seed {}: {} committed, {} aborted, {} reads, {} events, {:.1} s simulated, trace hash {:016x}",
            outcome.seed,
            outcome.committed,
            outcome.aborted,
            outcome.reads,
            outcome.events,
            outcome.simulated_us as f64 / 1e6,
            outcome.trace_hash,
        );
        if let Some(failure) = &outcome.failure {
            println!("FAILED {failure}\n  again: {}", command(options));
        }
    }
    Ok(outcome.failure.is_none())
}

fn json_of(outcome: &Outcome) -> serde_json::Value {
    serde_json::json!({
        "seed": outcome.seed,
        "failure": outcome.failure.as_ref().map(ToString::to_string),
        "trace_hash": format!("{:016x}", outcome.trace_hash),
        "events": outcome.events,
        "simulated_us": outcome.simulated_us,
        "committed": outcome.committed,
        "aborted": outcome.aborted,
        "reads": outcome.reads,
    })
}
