//! Runs the model.

use handfast_model::{Aim, CONFIGURATIONS, Rule, Rules};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    for c in CONFIGURATIONS {
        if args.first().is_some_and(|a| a != c.name) { continue; }
        let (rules, aim) = match args.get(1) {
            Some(r) => (Rules::all().without(Rule::named(r).expect("rule")), Aim::ShortestStory),
            None => (Rules::all(), Aim::Everything(2)),
        };
        let r = (c.run)(rules, aim);
        println!("{}: {} states depth {} {:.1}s missed {:?}", c.name, r.states, r.depth, r.seconds, r.missed);
        if let Some(s) = r.story {
            println!("BROKEN {}", s.broken);
            for l in s.lines { println!("  {l}"); }
        }
    }
}
