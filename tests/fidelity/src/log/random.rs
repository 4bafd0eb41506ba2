//! Scripts that a seed draws.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Steps of one script.
const STEPS: usize = 20;

/// Steps of owners that depose one another, whose records come late, twice, or among junk.
pub fn random(seed: u64) -> Vec<String> {
    let random = &mut StdRng::seed_from_u64(seed);
    let (mut steps, mut number, mut written) = (vec!["stand a 0".to_owned()], 0, Vec::new());
    let mut numbers = |random: &mut StdRng, written: &mut Vec<u32>| {
        let mut text = String::new();
        for _ in 0..random.random_range(1..=3) {
            number += 1;
            written.push(number);
            text += &format!(" {number}");
        }
        text
    };
    while steps.len() < STEPS {
        let name = ["a", "b", "c"][random.random_range(0..3)];
        // The second shard has little to do with the first: that it has nothing is seen with few steps.
        let shard = usize::from(random.random_ratio(1, 8));
        let to = format!("{name} {shard}");
        steps.push(match random.random_range(0..20) {
            0..=2 => format!("stand {to}"),
            3 => format!("ready {to}"),
            4..=10 => {
                let mut text = format!("append {to}{}", numbers(random, &mut written));
                while random.random_ratio(1, 3) {
                    text += &format!(" |{}", numbers(random, &mut written));
                }
                text
            }
            11 | 12 => format!("make {to}{}", numbers(random, &mut written)),
            13 | 14 => format!("land {to} {}", random.random_range(1..=2)),
            15 => format!("again {to}"),
            16 => format!(
                "junk {to} {} {} {}",
                random.random_range(1..=4),
                random.random_range(0..=4),
                900 + steps.len()
            ),
            17 => format!("read {to}"),
            18 => format!("next {to}"),
            _ if written.is_empty() => format!("read {to}"),
            _ => {
                let number = written[random.random_range(0..written.len())];
                let verb = ["read {} from", "trim {}"][random.random_range(0..2)];
                format!("{} {number}", verb.replace("{}", &to))
            }
        });
        // Whoever is ready goes on sooner or later.
        if steps.iter().any(|step| *step == format!("ready {to}")) && random.random_ratio(1, 3) {
            let step = if random.random() { format!("send {to}") } else { format!("make {to}") };
            steps.push(step);
        }
    }
    steps.extend(
        ["a", "b"].iter().flat_map(|name| (0..2).map(move |shard| format!("read {name} {shard}"))),
    );
    steps
}
