//! What of the log is kept for others than the engines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wal_core::{Position, ShardId};

/// What of a namespace's log must be kept for those that deliver its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// Each shard from this position on; one that is not named: all of it.
    From(BTreeMap<ShardId, Position>),
}

impl Hold {
    /// Everything that is left.
    pub const fn everything() -> Self {
        Self::From(BTreeMap::new())
    }

    /// Whether a shard's log may go before a position.
    fn lets_go(&self, shard: ShardId, before: Position) -> bool {
        match self {
            Self::Nothing => true,
            Self::From(shards) => shards.get(&shard).is_some_and(|from| before <= *from),
        }
    }
}

/// A [`Hold`] that changes, shared with whoever trims.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Hold>>);

impl Held {
    pub(super) fn new(hold: Hold) -> Self {
        Self(Arc::new(Mutex::new(hold)))
    }

    pub(super) fn set(&self, hold: Hold) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    pub(super) fn lets_go(&self, shard: ShardId, before: Position) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lets_go(shard, before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_kept_whole() {
        let held = Held::default();
        assert!(held.lets_go(ShardId(1), Position(9)));
        held.set(Hold::everything());
        assert!(!held.lets_go(ShardId(1), Position(1)));
        held.set(Hold::From(BTreeMap::from([(ShardId(1), Position(8))])));
        assert!(held.lets_go(ShardId(1), Position(8)));
        assert!(!held.lets_go(ShardId(1), Position(9)));
        assert!(!held.lets_go(ShardId(2), Position(1)));
    }
}
