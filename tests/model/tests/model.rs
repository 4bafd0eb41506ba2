//! Every configuration holds with all rules in force, and breaks without any one of its rules.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use handfast_model::{Aim, CONFIGURATIONS, Configuration, Rule, Rules};

#[test]
fn every_rule_has_a_configuration_that_needs_it() {
    for rule in Rule::ALL {
        assert!(Configuration::catching(*rule).is_some(), "nothing shows that {rule} is needed");
    }
}

#[test]
fn names_are_unique() {
    for (index, rule) in Rule::ALL.iter().enumerate() {
        assert_eq!(Rule::ALL.iter().position(|each| each.name() == rule.name()), Some(index));
    }
    for (index, one) in CONFIGURATIONS.iter().enumerate() {
        assert_eq!(CONFIGURATIONS.iter().position(|each| each.name == one.name), Some(index));
    }
}

#[test]
fn every_configuration_holds_with_all_rules() {
    for configuration in CONFIGURATIONS.iter().filter(|each| !each.deep) {
        let report = (configuration.run)(Rules::all(), Aim::Everything(2));
        let name = configuration.name;
        println!(
            "{name}: {} states, depth {}, {:.1} s",
            report.states, report.depth, report.seconds
        );
        if let Some(story) = report.story {
            panic!("{name}: {}\n  {}", story.broken, story.lines.join("\n  "));
        }
        assert_eq!(report.missed, Vec::<&str>::new(), "{name} never gets there");
    }
}

#[test]
fn every_rule_is_missed_when_it_is_taken_out() {
    let cases: Vec<(&Configuration, Rule)> = CONFIGURATIONS
        .iter()
        .flat_map(|each| each.catches.iter().map(move |rule| (each, *rule)))
        .collect();
    let (next, unharmed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((configuration, rule)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let report =
                        (configuration.run)(Rules::all().without(*rule), Aim::ShortestStory);
                    if report.story.is_none_or(|story| story.lines.is_empty()) {
                        let name = configuration.name;
                        unharmed
                            .lock()
                            .expect("no thread panics")
                            .push(format!("{name} without {rule}"));
                    }
                }
            });
        }
    });
    let unharmed = unharmed.into_inner().expect("no thread panics");
    assert!(unharmed.is_empty(), "nothing breaks: {unharmed:?}");
}
