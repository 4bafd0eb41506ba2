//! What the command line asks, and how it is answered.

mod bugs;
mod many;
mod one;

use clap::{Args, Parser, Subcommand};
use handfast_sim::{BUGS, Bug, Fault, Focus, Options};

/// Runs the engines of Handfast in simulated worlds, each decided by one seed.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
examples:
  handfast-sim run --seeds 10000 --txns 300      every history checked; 1 % of the worlds run twice more
  handfast-sim run --seed 42 --timeline          one world again, with everything that happened in it
  handfast-sim run --seeds 1000 --focus Deposed  only worlds that look closely at deposed leaders
  handfast-sim bugs                              every planted bug, and what caught it
  handfast-sim bugs --only 26,LosesTail          two of them

exit status: 0 all held (or every bug was caught), 1 not, 2 the command was wrong";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs worlds and checks every history.
    Run(RunArguments),
    /// Plants every bug in turn, and says which check caught it and after how many seeds.
    Bugs(bugs::BugsArguments),
    /// Prints the trace hashes of some worlds, one a line (another process compares them).
    #[command(hide = true)]
    Hashes(HashesArguments),
}

#[derive(Debug, Args)]
struct WorldArguments {
    /// Transactions in each world.
    #[arg(long, default_value_t = 100)]
    txns: u32,
    /// Leave out these kinds of faults.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Look closely at one thing, instead of what the seed says.
    #[arg(long)]
    focus: Option<String>,
    /// End all faults at this time of the world, microseconds.
    #[arg(long)]
    faults_until_us: Option<u64>,
    /// At most so many namespaces.
    #[arg(long)]
    max_namespaces: Option<u16>,
    /// Plant a bug: its name, or its number.
    #[arg(long)]
    plant: Option<String>,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    world: WorldArguments,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happened (with --seed).
    #[arg(long, requires = "seed")]
    timeline: bool,
    /// Threads; by default one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Make failing worlds smaller before they are reported.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    shrink: bool,
    /// Run 1 % of the worlds again here and in another process: they must be the same.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    verify_determinism: bool,
}

#[derive(Debug, Args)]
struct HashesArguments {
    #[command(flatten)]
    world: WorldArguments,
    /// Which seeds.
    #[arg(long, value_delimiter = ',', required = true)]
    seeds: Vec<u64>,
}

impl WorldArguments {
    fn options(&self) -> anyhow::Result<Options> {
        let without = self.without.iter().map(|name| fault(name)).collect::<Result<_, _>>()?;
        let focus = self.focus.as_deref().map(focus).transpose()?;
        let base = Options {
            without,
            faults_until_us: self.faults_until_us,
            max_namespaces: self.max_namespaces,
            ..Options::new(0, self.txns)
        };
        let base = match &self.plant {
            Some(name) => base.plant(bug(name)?),
            None => base,
        };
        Ok(Options { focus: focus.or(base.focus), ..base })
    }
}

/// Does what was asked; says whether all is well.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.verb {
        Verb::Run(run) => {
            let base = run.world.options()?;
            match run.seed {
                Some(seed) => one::run(&run, &Options { seed, trace: run.timeline, ..base }),
                None => many::run(&run, &base),
            }
        }
        Verb::Bugs(bugs) => bugs::run(&bugs),
        Verb::Hashes(hashes) => {
            let base = hashes.world.options()?;
            for seed in hashes.seeds {
                let outcome = handfast_sim::run_seed(&Options { seed, ..base.clone() });
                println!("{:016x}", outcome.trace_hash);
            }
            Ok(true)
        }
    }
}

fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn fault(name: &str) -> anyhow::Result<Fault> {
    let known = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    let found = Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no fault {name:?}; there are {}", known()))
}

fn focus(name: &str) -> anyhow::Result<Focus> {
    let known = || Focus::ALL.map(Focus::name).join(", ");
    let found = Focus::ALL.into_iter().find(|focus| focus.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no focus {name:?}; there are {}", known()))
}

fn bug(name: &str) -> anyhow::Result<&'static Bug> {
    let known = || BUGS.iter().map(Bug::name).collect::<Vec<_>>().join(", ");
    Bug::find(name)
        .ok_or_else(|| anyhow::anyhow!("there is no bug {name:?} to plant; there are {}", known()))
}
