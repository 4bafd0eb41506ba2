//! What a namespace declares that something is to be done for, and what of the log is kept for it.

use std::collections::BTreeMap;

use coordinator::runtime::{Handle, Hold};
use delivery::region::ShipParts;
use delivery::schedule::DELAYS;
use delivery::{Owner, Store};
use wal_core::namespace::{self, DelaySettings, Namespace, RegionMember, RegionSettings};
use wal_core::{Nonce, ShardId};

/// What a namespace declares that something is to be done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// Messages are delivered to it.
    Target(namespace::Target),
    /// What is due later is noted, with these settings, and done if its table is written in this region.
    Delays { settings: DelaySettings, fires: bool },
    /// What is committed is sent to another region, which has this number.
    Region { to: RegionMember, number: u8, settings: RegionSettings },
}

impl Declared {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Target(target) => target.name.clone(),
            Self::Delays { .. } => DELAYS.to_owned(),
            Self::Region { to, .. } => ShipParts::course_of(&to.name),
        }
    }

    pub(super) fn all(namespace: &Namespace) -> impl Iterator<Item = Self> + '_ {
        let targets = namespace.targets().iter().cloned().map(Self::Target);
        let region = namespace.region();
        let delays = namespace.delay().map(move |settings| Self::Delays {
            settings: settings.clone(),
            fires: region.is_none_or(|region| region.is_written_here(&settings.table)),
        });
        let regions = region.into_iter().flat_map(|region| {
            let there = region.others().filter(|(_, to)| !to.servers.is_empty());
            there.map(|(number, to)| Self::Region {
                to: to.clone(),
                number,
                settings: region.clone(),
            })
        });
        targets.chain(delays).chain(regions)
    }
}

/// Whether a namespace declares nothing of the kind.
pub(super) fn is_idle(namespace: &Namespace) -> bool {
    Declared::all(namespace).next().is_none()
}

/// What of the log is kept of a namespace before it is known how far deliveries are.
pub(in crate::compose) fn hold_at_first(namespace: &Namespace) -> Hold {
    if is_idle(namespace) { Hold::Nothing } else { Hold::everything() }
}

/// Sees to it that the log is kept that somebody has to deliver still.
pub(super) async fn hold(store: &dyn Store, namespace: &Namespace, handle: &Handle) {
    if is_idle(namespace) {
        handle.hold(Hold::Nothing);
        return;
    }
    match store.owners(namespace.name()).await {
        Ok(owners) => handle.hold(hold_of(namespace, handle.log().identity(), &owners)),
        // It stays as it is: nothing is trimmed that somebody may need.
        Err(error) => tracing::debug!(%error, "it is not known how far deliveries are"),
    }
}

/// Each shard from where the slowest of all targets is. One that some target has not begun with is kept whole.
fn hold_of(namespace: &Namespace, log: Nonce, owners: &[Owner]) -> Hold {
    let mut shards = BTreeMap::new();
    for shard in (0..namespace.shards()).map(ShardId) {
        let of_it = |declared: Declared| {
            let name = declared.name();
            let course = owners.iter().map(|owner| (&owner.course, &owner.mark));
            let mut found = course.filter(|(it, _)| it.shard == shard && *it.target == *name);
            let (_, mark) = found.next()?;
            mark.as_ref().filter(|mark| mark.log == log).map(|mark| mark.hold)
        };
        let holds: Option<Vec<_>> = Declared::all(namespace).map(of_it).collect();
        if let Some(least) = holds.and_then(|holds| holds.into_iter().min()) {
            shards.insert(shard, least);
        }
    }
    Hold::From(shards)
}

#[cfg(test)]
mod tests {
    use delivery::{Course, Mark};
    use wal_core::Position;

    use super::*;

    #[test]
    fn the_log_is_kept_from_where_the_slowest_target_is() {
        let file = "name = \"bank\"\nshards = 2\n[[table]]\ncql = \"CREATE TABLE t (i int PRIMARY KEY)\"\n";
        let target =
            |name| format!("[[target]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"http://a\"\n");
        let bank = Namespace::from_toml(&format!("{file}{}{}", target("a"), target("b")));
        let bank = bank.unwrap_or_else(|error| panic!("{error}"));
        let owner = |target: &str, shard, log, hold| Owner {
            course: Course {
                namespace: "bank".into(),
                target: target.into(),
                shard: ShardId(shard),
            },
            process: None,
            generation: 1,
            mark: Some(Mark {
                log: Nonce(log),
                dealt_with: Position(hold + 5),
                hold: Position(hold),
                place: bytes::Bytes::new(),
            }),
        };
        let owners = [
            owner("a", 0, 7, 30),
            owner("b", 0, 7, 20),
            owner("a", 1, 7, 40),
            // Of a log that was given up: nothing is known of this one.
            owner("b", 1, 6, 50),
            owner("gone", 0, 7, 1),
        ];
        let expected = Hold::From(BTreeMap::from([(ShardId(0), Position(20))]));
        assert_eq!(hold_of(&bank, Nonce(7), &owners), expected);
        assert_eq!(hold_of(&bank, Nonce(7), &owners[..1]), Hold::everything());
    }
}
