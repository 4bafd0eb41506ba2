//! `handfast pool` and `handfast namespace pin`.

use handfast_client::v1;
use serde_json::{Value as Json, json};

use super::connect;
use crate::cli::{Global, PinArgs, PoolVerb};
use crate::exit::Failure;
use crate::output;

/// Runs one of the verbs.
pub(crate) async fn run(global: &Global, verb: PoolVerb) -> Result<(), Failure> {
    match verb {
        PoolVerb::Create { name, note } => {
            let created = connect(global).await?.admin().create_pool(&name, &note).await?;
            output::one(global, shown(&created))
        }
        PoolVerb::List => {
            let all = connect(global).await?.admin().list_pools().await?;
            output::many(global, &["name", "note", "namespaces"], all.iter().map(shown).collect())
        }
    }
}

/// Pins a namespace to a pool.
pub(crate) async fn pin(global: &Global, args: PinArgs) -> Result<(), Failure> {
    let PinArgs { name, pool, note } = args;
    let version = connect(global).await?.admin().pin_namespace(&name, &pool, &note).await?;
    output::one(global, json!({"name": name, "pool": pool, "version": version}))
}

fn shown(pool: &v1::Pool) -> Json {
    json!({"name": pool.name, "note": pool.note, "namespaces": pool.namespaces})
}
