//! The one place that names the engines under test.

use std::sync::Arc;

use coordinator::engine::{CommitConfig, CommitEngine};
use participant::engine::{EngineSchema, ShardConfig, ShardEngine};

pub(crate) type Shard = ShardEngine;
pub(crate) type Commit = CommitEngine;

pub(crate) fn shard(config: ShardConfig, schema: Arc<EngineSchema>) -> Shard {
    ShardEngine::new(config, schema)
}

pub(crate) fn commit(config: CommitConfig) -> Commit {
    CommitEngine::new(config)
}
