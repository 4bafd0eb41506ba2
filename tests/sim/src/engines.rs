//! The one place that names the engines under test: those of production, with at most one rule taken out.

use std::sync::Arc;

use coordinator::engine::{CommitConfig, CommitEngine};
use participant::engine::{EngineSchema, Rule, ShardConfig, ShardEngine, Without};

pub(crate) type Shard = ShardEngine<Without>;
pub(crate) type Commit = CommitEngine<Without>;

pub(crate) fn shard(
    config: ShardConfig,
    schema: Arc<EngineSchema>,
    planted: Option<Rule>,
) -> Shard {
    ShardEngine::with_rules(config, schema, Without(planted))
}

pub(crate) fn commit(config: CommitConfig, planted: Option<Rule>) -> Commit {
    CommitEngine::with_rules(config, Without(planted))
}
