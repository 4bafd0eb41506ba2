//! The configurations: which machine, with which bounds, catches which rules.

use crate::check::{Aim, Report, check};
use crate::commit::{Bounds, Commit};
use crate::rule::{Rule, Rules};

/// One machine with its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it contains.
    pub about: &'static str,
    /// The rules without which it breaks.
    pub catches: &'static [Rule],
    /// Runs it.
    pub run: fn(Rules, Aim) -> Report,
}

const COMMIT: Bounds = Bounds {
    shards: 2,
    gateways: 2,
    later: 0,
    failovers: 1,
    floors: 0,
    waiting: true,
    appending: true,
    closes: true,
    forgetting: false,
};
const FORGET: Bounds = Bounds {
    shards: 2,
    gateways: 1,
    later: 1,
    failovers: 0,
    floors: 2,
    waiting: false,
    appending: false,
    closes: true,
    forgetting: true,
};

const FORGET_RACE: Bounds = Bounds { gateways: 2, failovers: 1, closes: false, ..FORGET };
const FORGET_WAIT: Bounds = Bounds { gateways: 2, waiting: true, closes: false, ..FORGET };
const FORGET_THREE: Bounds = Bounds { shards: 3, ..FORGET };
const FORGET_THREE_COMMIT: Bounds = Bounds { shards: 3, closes: false, ..FORGET };
const FORGET_CLOSE_FAIL: Bounds = Bounds { failovers: 1, ..FORGET };
const FORGET_TWO_LATER: Bounds = Bounds { later: 2, ..FORGET };

/// Every configuration.
pub const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "commit",
        about: "one transaction, two shards, two gateways, failover",
        catches: &[
            Rule::EveryParticipant,
            Rule::SameAttempt,
        ],
        run: |rules, aim| check(Commit { rules, bounds: COMMIT }, aim),
    },
    Configuration {
        name: "forget",
        about: "floors, acknowledgements, Finished and forgetting",
        catches: &[Rule::FinishedCarriesBar],
        run: |rules, aim| check(Commit { rules, bounds: FORGET }, aim),
    },
    Configuration {
        name: "forget-race",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_RACE }, aim),
    },
    Configuration {
        name: "forget-wait",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_WAIT }, aim),
    },
    Configuration {
        name: "forget-three",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE }, aim),
    },
    Configuration {
        name: "forget-three-commit",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE_COMMIT }, aim),
    },
    Configuration {
        name: "forget-close-fail",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_CLOSE_FAIL }, aim),
    },
    Configuration {
        name: "forget-two-later",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_TWO_LATER }, aim),
    },
];
