//! `handfast-model`: explores the protocol exhaustively, or takes a rule out and tells what goes wrong.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use handfast_model::{Aim, CONFIGURATIONS, Configuration, Report, Rule, Rules};
use serde_json::{Value, json};

/// Prints a line; a reader that has gone away (`| head`) ends the program quietly.
macro_rules! say {
    ($($part:tt)*) => {
        if writeln!(std::io::stdout(), $($part)*).is_err() {
            std::process::exit(0);
        }
    };
}

/// Explores every state of the commit protocol, its fencing and shipping between regions within small bounds.
///
/// Without options every configuration runs with all rules in force, and must hold.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  handfast-model                                  all configurations with all rules
  handfast-model --all                            the same, then every rule taken out in turn
  handfast-model --rule prepare-bound-to-epoch    the shortest story without one rule
  handfast-model --configuration forget           one configuration
  handfast-model --deep                           the large configurations too (minutes, gigabytes)
  handfast-model --list                           every rule, and the configuration that needs it

Exit codes: 0 everything is as it must be, 1 it is not, 2 wrong usage."
)]
struct Options {
    /// Take this rule out and tell the shortest story that breaks an invariant.
    #[arg(long, value_name = "NAME", value_parser = rule, conflicts_with = "all")]
    rule: Option<Rule>,
    /// Run all configurations, then take out every rule in turn.
    #[arg(long)]
    all: bool,
    /// List the rules and stop.
    #[arg(long)]
    list: bool,
    /// Run this configuration only (with --rule: look for the story in it).
    #[arg(long, value_name = "NAME", value_parser = configuration)]
    configuration: Option<&'static Configuration>,
    /// Run the large configurations too.
    #[arg(long)]
    deep: bool,
    /// Threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn rule(name: &str) -> Result<Rule, String> {
    Rule::named(name).ok_or_else(|| "no such rule; --list shows all of them".into())
}

fn configuration(name: &str) -> Result<&'static Configuration, String> {
    Configuration::named(name).ok_or_else(|| {
        let names: Vec<&str> = CONFIGURATIONS.iter().map(|each| each.name).collect();
        format!("no such configuration; choose one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut printed = Vec::new();
    let good = if options.list {
        list(&options, &mut printed);
        true
    } else if let Some(rule) = options.rule {
        tell(&options, rule, &mut printed)
    } else {
        let hold = hold(&options, &mut printed);
        let caught = !options.all || take_out_all(&options, &mut printed);
        hold && caught
    };
    if options.json {
        say!("{:#}", Value::Array(printed));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list(options: &Options, printed: &mut Vec<Value>) {
    for rule in Rule::ALL {
        let by = Configuration::catching(*rule).map_or("nothing", |each| each.name);
        if options.json {
            printed.push(json!({
                "rule": rule.name(), "section": rule.section(), "sentence": rule.sentence(), "configuration": by,
            }));
        } else {
            say!("{:<28} {:<6} {:<14} {}", rule.name(), rule.section(), by, rule.sentence());
        }
    }
}

/// Runs configurations with all rules in force.
fn hold(options: &Options, printed: &mut Vec<Value>) -> bool {
    if !options.json {
        say!("{:<18} {:>10} {:>6} {:>8}  ", "configuration", "states", "depth", "seconds");
    }
    let wanted = CONFIGURATIONS.iter().filter(|each| match options.configuration {
        Some(only) => only.name == each.name,
        None => !each.deep || options.deep,
    });
    let mut good = true;
    for each in wanted {
        let report = (each.run)(Rules::all(), Aim::Everything(options.threads.into()));
        good &= report.story.is_none() && report.missed.is_empty();
        if options.json {
            printed.push(report_json(each, None, &report));
        } else {
            say!(
                "{:<18} {:>10} {:>6} {:>8.1}  {}",
                each.name,
                report.states,
                report.depth,
                report.seconds,
                verdict(each, &report)
            );
            print_story(&report);
        }
    }
    good
}

fn verdict(configuration: &Configuration, report: &Report) -> String {
    match (&report.story, report.missed.as_slice()) {
        (Some(story), _) => format!("BROKEN: {}", story.broken),
        (None, []) => format!("holds: {}", configuration.about),
        (None, missed) => format!("NEVER REACHED: {}", missed.join(", ")),
    }
}

/// Takes one rule out.
fn tell(options: &Options, rule: Rule, printed: &mut Vec<Value>) -> bool {
    let Some(by) = options.configuration.or(Configuration::catching(rule)) else {
        eprintln!("no configuration is known to need {rule}; name one with --configuration");
        return false;
    };
    let report = (by.run)(Rules::all().without(rule), Aim::ShortestStory);
    if options.json {
        printed.push(report_json(by, Some(rule), &report));
        return report.story.is_some();
    }
    say!("without {rule}: {}", rule.sentence());
    match &report.story {
        Some(story) => {
            say!("{} breaks after {} steps: {}\n", by.name, story.lines.len(), story.broken);
            print_story(&report);
        }
        None => say!("{} holds all the same ({} states)", by.name, report.states),
    }
    report.story.is_some()
}

fn print_story(report: &Report) {
    for (number, line) in report.story.iter().flat_map(|story| &story.lines).enumerate() {
        say!("{:>4}. {line}", number + 1);
    }
}

/// Takes every rule out in turn, several at a time.
fn take_out_all(options: &Options, printed: &mut Vec<Value>) -> bool {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while let Some(rule) = Rule::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let by = Configuration::catching(*rule)
                        .expect("a test checks that every rule has one");
                    let report = (by.run)(Rules::all().without(*rule), Aim::ShortestStory);
                    reports.lock().expect("no thread panics").push((*rule, by, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("no thread panics");
    reports.sort_by_key(|(rule, ..)| *rule);
    if !options.json {
        say!("\n{:<28} {:<14} {:>5}  broken", "rule taken out", "caught by", "steps");
    }
    for (rule, by, report) in &reports {
        let (steps, broken) = match &report.story {
            Some(story) => (story.lines.len().to_string(), story.broken.sentence()),
            None => ("-".into(), "NOTHING: the rule is not needed here"),
        };
        if options.json {
            printed.push(report_json(by, Some(*rule), report));
        } else {
            say!("{:<28} {:<14} {:>5}  {broken}", rule.name(), by.name, steps);
        }
    }
    reports.iter().all(|(_, _, report)| report.story.is_some())
}

fn report_json(by: &Configuration, without: Option<Rule>, report: &Report) -> Value {
    json!({
        "configuration": by.name,
        "about": by.about,
        "without": without.map(Rule::name),
        "states": report.states,
        "depth": report.depth,
        "seconds": report.seconds,
        "never_reached": report.missed,
        "broken": report.story.as_ref().map(|story| story.broken.sentence()),
        "story": report.story.as_ref().map(|story| &story.lines),
    })
}
