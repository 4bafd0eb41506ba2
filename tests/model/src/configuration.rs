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

/// Two participants, two gateways with one attempt each and one later attempt of the home.
const COMMIT: Bounds = Bounds {
    shards: 2,
    gateways: 2,
    later: 1,
    failovers: 1,
    floors: 0,
    waiting: true,
    appending: true,
    closes: true,
    forgetting: false,
};
/// Three participants.
const COMMIT_THREE: Bounds = Bounds { shards: 3, later: 0, ..COMMIT };
const FORGET: Bounds = Bounds {
    shards: 2,
    gateways: 1,
    later: 1,
    failovers: 1,
    floors: 2,
    waiting: false,
    appending: false,
    closes: true,
    forgetting: true,
};
const FORGET_RACE: Bounds = Bounds { gateways: 2, failovers: 0, ..FORGET };
const FORGET_RACE_WAIT: Bounds = Bounds { waiting: true, ..FORGET };
const FORGET_THREE: Bounds = Bounds { shards: 3, failovers:0, ..FORGET };
const FORGET_THREE1: Bounds = Bounds { shards: 3, floors:1, failovers:0, ..FORGET };
const FORGET_LATER: Bounds = Bounds { later: 2, failovers: 0, ..FORGET };

/// Every configuration.
pub const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "commit",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: COMMIT }, aim),
    },
    Configuration {
        name: "commit-three",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: COMMIT_THREE }, aim),
    },
    Configuration {
        name: "forget",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET }, aim),
    },
    Configuration {
        name: "forget-race",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_RACE }, aim),
    },
    Configuration {
        name: "forget-race-wait",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_RACE_WAIT }, aim),
    },
    Configuration {
        name: "forget-three",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE }, aim),
    },
    Configuration {
        name: "forget-three1",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_THREE1 }, aim),
    },
    Configuration {
        name: "forget-later",
        about: "x",
        catches: &[],
        run: |rules, aim| check(Commit { rules, bounds: FORGET_LATER }, aim),
    },
    Configuration {
        name: "log",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::log::Log { rules: rules.without(Rule::HashChained), bounds: crate::log::Bounds{epochs:3,records:1,length:5,faults:0,loses_tail:false} }, aim),
    },
    Configuration {
        name: "log-faults",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::log::Log { rules: rules.without(Rule::HashChained), bounds: crate::log::Bounds{epochs:2,records:2,length:5,faults:1,loses_tail:false} }, aim),
    },
    Configuration {
        name: "log-producer",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::log::Log { rules: rules.without(Rule::HashChained), bounds: crate::log::Bounds{epochs:1,records:2,length:4,faults:0,loses_tail:false} }, aim),
    },
    Configuration {
        name: "log-chained",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::log::Log { rules, bounds: crate::log::Bounds{epochs:2,records:2,length:5,faults:1,loses_tail:false} }, aim),
    },
    Configuration {
        name: "log-tail",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::log::Log { rules, bounds: crate::log::Bounds{epochs:2,records:2,length:4,faults:0,loses_tail:true} }, aim),
    },
    Configuration {
        name: "lease",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::lease::Lease { rules }, aim),
    },
    Configuration {
        name: "hold",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::hold::Hold { rules }, aim),
    },
    Configuration {
        name: "read",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::read::TwoRounds { rules, writes: 4 }, aim),
    },
    Configuration {
        name: "locks",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::locks::Locks { rules }, aim),
    },
    Configuration {
        name: "stamps",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::stamps::Stamps { rules, txns: 4 }, aim),
    },
    Configuration {
        name: "single",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::single::Single { rules }, aim),
    },
    Configuration {
        name: "wound",
        about: "x",
        catches: &[],
        run: |rules, aim| check(crate::wound::Wound { rules }, aim),
    },
];
