//! `handfast namespace` and `handfast status`.

use handfast_client::v1;
use serde_json::{Value as Json, json};

use super::{connect, pool, read_text};
use crate::cli::{Global, NamespaceVerb, StatusArgs};
use crate::exit::Failure;
use crate::output;

/// Runs one of the verbs.
pub(crate) async fn run(global: &Global, verb: NamespaceVerb) -> Result<(), Failure> {
    match verb {
        NamespaceVerb::Create { file } => {
            let text = read_text(&file)?;
            let created = connect(global).await?.admin().create_namespace(&text).await?;
            output::one(global, described(&created))
        }
        NamespaceVerb::Validate { file } => {
            let text = read_text(&file)?;
            let (valid, exists) = connect(global).await?.admin().validate_namespace(&text).await?;
            let mut printed = described(&valid);
            printed["valid"] = json!(true);
            printed["exists"] = json!(exists);
            output::one(global, printed)
        }
        NamespaceVerb::List => {
            let all = connect(global).await?.admin().list_namespaces().await?;
            let headers = ["name", "version", "shards", "tables"];
            output::many(global, &headers, all.iter().map(summary).collect())
        }
        NamespaceVerb::Describe { name, definition } => {
            let found = connect(global).await?.admin().describe_namespace(&name).await?;
            if definition {
                print!("{}", found.definition);
                return Ok(());
            }
            output::one(global, described(&found))
        }
        NamespaceVerb::Change { file, expected_version, give_up_pending } => {
            let text = read_text(&file)?;
            let admin = connect(global).await?.admin();
            let changed = match give_up_pending {
                false => admin.change_namespace(&text, expected_version).await?,
                true => admin.change_namespace_giving_up_pending(&text, expected_version).await?,
            };
            output::one(global, described(&changed))
        }
        NamespaceVerb::Pin(args) => pool::pin(global, args).await,
        NamespaceVerb::Recover(args) => super::recover::run(global, args).await,
    }
}

fn summary(namespace: &v1::Namespace) -> Json {
    let tables: Vec<&str> = namespace.tables.iter().map(|table| table.name.as_str()).collect();
    json!({
        "name": namespace.name,
        "version": namespace.version,
        "shards": namespace.shards,
        "tables": tables,
    })
}

fn described(namespace: &v1::Namespace) -> Json {
    let table = |table: &v1::Table| {
        let columns =
            table.columns.iter().map(|column| json!({"name": column.name, "type": column.r#type}));
        json!({
            "name": table.name,
            "partition_key": table.partition_key,
            "clustering_key": table.clustering_key,
            "columns": columns.collect::<Vec<_>>(),
        })
    };
    json!({
        "name": namespace.name,
        "version": namespace.version,
        "shards": namespace.shards,
        "tables": namespace.tables.iter().map(table).collect::<Vec<_>>(),
    })
}

/// Prints how a namespace's shards are.
pub(crate) async fn status(global: &Global, args: StatusArgs) -> Result<(), Failure> {
    let status = connect(global).await?.admin().status(&args.namespace).await?;
    let shard = |shard: &v1::ShardStatus| {
        json!({
            "shard": shard.shard,
            "role": shard.role,
            "leader": shard.leader,
            "epoch": shard.epoch,
            "sequence": shard.sequence,
            "waiting": shard.waiting,
            "prepared": shard.prepared,
            "open": shard.open,
            "overlay_bytes": shard.overlay_bytes,
            "remembered": shard.remembered,
            "floor_ms": shard.floor_ms,
        })
    };
    let headers = [
        "shard",
        "role",
        "leader",
        "epoch",
        "sequence",
        "waiting",
        "prepared",
        "open",
        "overlay_bytes",
        "remembered",
        "floor_ms",
    ];
    output::many(global, &headers, status.shards.iter().map(shard).collect())
}
