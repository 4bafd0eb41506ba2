//! Tables of other keyspaces and clusters, as targets: how they are opened.

use std::sync::Arc;
use std::time::Duration;

use delivery::target::{TableOptions, TableTarget, TargetError, value_of};
use participant::store::TableStore;
use participant::store::cassandra::{Credentials, open_unclaimed};
use wal_core::namespace::{Login, Namespace};

/// Threads that write to one target at most: the process has some hundreds for everything that blocks.
const MAX_THREADS: u64 = 256;

/// A target of these tables, which connects when the first message comes.
pub(super) fn target(
    tables: Arc<Namespace>,
    login: Option<Login>,
    timeout: Duration,
) -> Result<TableTarget, TargetError> {
    let has_login = login.is_some();
    let credentials = match login {
        Some(Login { user, password }) => Some(Credentials {
            user: value_of("user", &user)?,
            password: value_of("password", &password)?,
        }),
        None => Credentials::from_environment(),
    };
    let threads = tables.store().concurrency.min(MAX_THREADS);
    let opened = Arc::clone(&tables);
    let open = move || {
        let store = open_unclaimed(&opened, credentials.clone());
        let store = store.map_err(|error| in_words_of_targets(&error.to_string(), has_login));
        if let Err(why) = &store {
            // In full: what is kept of a try is its beginning.
            tracing::warn!(why, "the tables of a target cannot be opened");
        }
        Ok(Arc::new(store?) as Arc<dyn TableStore>)
    };
    TableTarget::new(TableOptions {
        tables,
        open: Box::new(open),
        max_requests: usize::try_from(threads).unwrap_or(usize::MAX),
        timeout,
    })
}

/// What stands in the way, with the words of a `[[target]]` instead of those of `[store]`.
fn in_words_of_targets(why: &str, has_login: bool) -> String {
    let why = why.replace("`store.", "`").replace("those of the namespace", "those of the target");
    match has_login {
        true => why.replace(
            "HANDFAST_CASSANDRA_USER and HANDFAST_CASSANDRA_PASSWORD",
            "`user` and `password` of the target",
        ),
        false => why,
    }
}

#[cfg(test)]
mod tests {
    use delivery::target::Target;
    use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
    use participant::store::cassandra::OpenError;
    use wal_core::message::Message;
    use wal_core::namespace::TargetPlace;
    use wal_core::{Millis, ShardId, Timestamp, TxnId};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_that_is_away_overloads_and_is_told_in_the_words_of_a_target() {
        // Nobody listens there.
        let file = "name = 'bank'\n[[table]]\ncql = 'CREATE TABLE t (i int PRIMARY KEY)'\n[[target]]\n\
                    name = 'copies'\nkind = 'table'\ncontact_points = ['127.0.0.1:1']\ndatacenter = 'dc1'\n\
                    keyspace = 'copies'\nrequest_timeout_ms = 1000\n\
                    tables = ['CREATE TABLE t (i int PRIMARY KEY)']\n";
        let namespace = Namespace::from_toml(file).expect("a good file");
        let TargetPlace::Table { tables, login } = namespace.targets()[0].place.clone() else {
            panic!("it is declared as tables");
        };
        let target = target(tables, login, Duration::from_secs(30)).expect("a target");
        let payload = r#"{"insert": {"table": "t", "key": {"i": 1}}}"#;
        let outgoing = Outgoing {
            namespace: "bank".into(),
            shard: ShardId(0),
            name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index: 0 },
            timestamp: Timestamp(8),
            message: Message { payload: payload.into(), ..Message::default() }.into(),
        };
        let Answer::Failed(Failure { class, text }) = target.send(outgoing).await else {
            panic!("nobody has taken it");
        };
        assert!(matches!(class, ErrorClass::Overloaded { .. }), "{class:?}: {text}");
        assert!(text.starts_with("the tables cannot be opened: cannot connect"), "{text}");
        assert!(text.contains("127.0.0.1:1") && text.contains("check `contact_points`"), "{text}");
    }

    #[test]
    fn what_stands_in_the_way_is_told_in_the_words_of_a_target() {
        let (tried, role) = ("c1:9042".to_owned(), Some("copies".to_owned()));
        let unreachable = OpenError::Unreachable { tried: tried.clone(), why: "gone".to_owned() };
        let told = in_words_of_targets(&unreachable.to_string(), false);
        assert!(told.contains("check `contact_points`") && told.contains("`tls_ca`"), "{told}");
        let login = OpenError::Login { tried, role, why: "no".to_owned() }.to_string();
        let told = in_words_of_targets(&login, true);
        assert!(told.contains("check `user` and `password` of the target"), "{told}");
        assert!(in_words_of_targets(&login, false).contains("HANDFAST_CASSANDRA_USER"));
        let told = in_words_of_targets(&OpenError::Schema(Vec::new()).to_string(), false);
        assert!(
            told.starts_with("the tables of the cluster are not those of the target"),
            "{told}"
        );
    }
}
