//! What a seed decides of the deliveries of a namespace.

use delivery::{DeliveryConfig, Pauses};

use crate::later::LaterPlan;
use crate::rng::Rng;

/// Everything drawn in advance.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryPlan {
    pub(crate) targets: u8,
    /// How many transactions in a million carry messages.
    pub(crate) messages_ppm: u32,
    /// How often a process looks who has what.
    pub(super) look_us: u64,
    /// Who has not looked for so long is taken for dead.
    pub(super) missed_us: u64,
    /// How long a try may take.
    pub(super) timeout_us: u64,
    /// Dead letters of a target at most, while faults strike.
    pub(super) most_letters: usize,
    /// Records that are read at once.
    pub(super) feed: usize,
    pub(super) engine: DeliveryConfig,
    /// What is due later, if anything is.
    pub(crate) later: Option<LaterPlan>,
}

impl DeliveryPlan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        const MS: u64 = 1_000;
        let mut engine = DeliveryConfig::new(0);
        engine.max_messages = 1 + rng.index(40);
        engine.max_bytes = rng.scale(300, 100_000);
        engine.window.ceiling = 1 + rng.below(8) as u32;
        engine.window.initial = 1 + rng.below(u64::from(engine.window.ceiling)) as u32;
        engine.window.pauses = Pauses { first_us: 5 * MS, longest_us: 300 * MS };
        engine.window.doubt_us = 1_000 * MS;
        engine.window.latency = engine.window.latency.filter(|_| rng.coin());
        engine.retry.pauses = Pauses { first_us: 2 * MS, longest_us: rng.scale(10, 800) * MS };
        engine.retry.max_tries = 1 + rng.below(8) as u32;
        engine.retry.max_age_us = rng.chance(300_000).then_some(2_000 * MS);
        engine.retry.max_overloaded_age_us = rng.chance(300_000).then_some(2_000 * MS);
        engine.retry.ours_pause_us = 1_000 * MS;
        engine.burial.most_at_once = 1 + rng.index(4);
        engine.burial.pauses = Pauses { first_us: 5 * MS, longest_us: 500 * MS };
        engine.mark.every_messages = 1 + rng.below(20);
        engine.mark.interval_us = rng.scale(5, 500) * MS;
        let look_us = rng.scale(20, 200) * MS;
        Self {
            targets: 1 + rng.below(2) as u8,
            messages_ppm: rng.range(200_000..900_000) as u32,
            look_us,
            missed_us: look_us * 3 + rng.scale(10, 500) * MS,
            timeout_us: rng.scale(20, 400) * MS,
            most_letters: *rng.pick(&[2, 10, 1_000]),
            feed: rng.scale(1, 200) as usize,
            engine,
            later: rng.chance(400_000).then(|| LaterPlan::draw(rng)),
        }
    }

    /// How many courses a shard has.
    pub(super) fn courses(&self) -> u8 {
        self.targets + u8::from(self.later.is_some())
    }

    /// How a course is delivered. What is due when is noted as in production: much at once, and never given up.
    pub(super) fn config(&self, target: u8, seed: u64) -> DeliveryConfig {
        const PAUSES: Pauses = Pauses { first_us: 100_000, longest_us: 5_000_000 };
        if target < self.targets {
            return DeliveryConfig { seed, ..self.engine };
        }
        let mut config = DeliveryConfig::new(seed);
        config.window.initial = 4_096;
        config.window.ceiling = 4_096;
        config.window.pauses = PAUSES;
        config.window.latency = None;
        config.retry.max_tries = u32::MAX;
        config.retry.max_age_us = None;
        config.retry.pauses = PAUSES;
        config.mark = self.engine.mark;
        config
    }
}
