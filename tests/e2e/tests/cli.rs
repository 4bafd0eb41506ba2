//! The command line: exit codes, messages with their place, output that parses.

use anyhow::Context;
use handfast_e2e::{Said, Server, bank, run, run_with_input};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A server and the endpoint flag that reaches it.
struct Fixture {
    _folder: TempDir,
    server: Server,
    endpoint: String,
}

impl Fixture {
    async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let server = Server::start(folder.path(), &[&bank("")]).await?;
        let endpoint = server.endpoint();
        Ok(Self { _folder: folder, server, endpoint })
    }

    async fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<Said> {
        let mut all = vec!["--endpoint", &self.endpoint];
        all.extend(arguments);
        run_with_input(&all, input).await
    }

    async fn submit(&self, batch: &str, more: &[&str]) -> anyhow::Result<Said> {
        let mut arguments = vec!["submit", "--namespace", "bank", "-"];
        arguments.extend(more);
        self.run(&arguments, batch).await
    }

    /// Runs what must succeed and print one JSON value.
    async fn json(&self, arguments: &[&str], input: &str) -> anyhow::Result<Json> {
        let out = self.run(arguments, input).await?.expect_success();
        serde_json::from_str(&out).with_context(|| format!("{arguments:?} printed {out:?}"))
    }
}

const OPEN: &str = r#"{"mutations": [
    {"insert": {"table": "accounts", "key": {"id": "alice"}, "columns": {"balance": 100}}},
    {"insert": {"table": "accounts", "key": {"id": "bob"}, "columns": {"balance": 100}}}]}"#;
const TOO_MUCH: &str = r#"{
    "conditions": [{"table": "accounts", "key": {"id": "alice"}, "column": "balance", "op": ">=", "value": 1000}],
    "mutations": [{"add": {"table": "accounts", "key": {"id": "alice"}, "columns": {"balance": -1000}}}]}"#;

#[tokio::test]
async fn malformed_batches_exit_with_1_and_say_where() -> anyhow::Result<()> {
    let mut it = Fixture::start().await?;
    let cases: &[(&str, &[&str])] = &[
        ("", &["not JSON"]),
        ("{\"mutations\":\n [", &["not JSON", "line 2"]),
        (r#"{"mutations":[]}"#, &["empty"]),
        (r#"{"mutation":[]}"#, &["mutation", "mutations"]),
        (r#"[]"#, &["object"]),
        (
            r#"{"mutations":[{"put":{"table":"acounts","key":{"id":"a"},"columns":{"balance":1}}}]}"#,
            &["mutations[0].put.table", "acounts", "accounts"],
        ),
        (
            r#"{"mutations":[{"put":{"table":"accounts","key":{"id":"a"},"columns":{"balance":"x"}}}]}"#,
            &["mutations[0].put.columns.balance", "bigint"],
        ),
        (
            r#"{"mutations":[{"put":{"table":"accounts","key":{"id":"a"},"columns":{"balance":1,"balance":2}}}]}"#,
            &["balance"],
        ),
        (
            r#"{"mutations":[{"put":{"table":"transfers","key":{"account":"a"},"columns":{"amount":1}}}]}"#,
            &["mutations[0]", "key of transfers", "id"],
        ),
        (
            r#"{"conditions":[{"table":"accounts","key":{"id":"a"},"column":"balance","op":"~","value":1}]}"#,
            &["conditions[0].op"],
        ),
    ];
    for (batch, words) in cases {
        it.submit(batch, &[]).await?.expect_failure(1, words);
        it.submit(batch, &["--dry-run"]).await?.expect_failure(1, words);
    }
    let absent = it.run(&["submit", "--namespace", "bank", "/no/such/file"], "").await?;
    absent.expect_failure(1, &["cannot read /no/such/file"]);
    let unknown = it.run(&["submit", "--namespace", "bnak", "-"], OPEN).await?;
    unknown.expect_failure(3, &["\"bnak\" does not exist"]);
    it.server.stop().await
}

#[tokio::test]
async fn malformed_namespace_files_exit_with_1_and_say_where() -> anyhow::Result<()> {
    let mut it = Fixture::start().await?;
    let cases: &[(String, &[&str])] = &[
        ("name = ".to_owned(), &["line 1, column 8"]),
        (String::new(), &["name"]),
        (bank("colour = 3"), &["colour: unknown key"]),
        (bank("").replace("shards = 8", "shards = 0"), &["shards", "1 to 1024"]),
        (bank("").replace("bigint)", "counter)"), &["table[0].cql", "line 1", "counter", "bigint"]),
        (bank("").replace("bigint)", "bigit)"), &["table[0].cql", "bigit"]),
        (bank("").replace("bigint)", "list<int>)"), &["table[0].cql"]),
        (bank("").replace(" PRIMARY KEY,", ","), &["table[0].cql", "primary key"]),
        (bank("").replace("bigint)\"", "bigint\""), &["table[0].cql"]),
    ];
    for (file, words) in cases {
        let file = file.replace("\"bank\"", "\"other\"");
        for verb in ["create", "validate"] {
            let said = it.run(&["namespace", verb, "-"], &file).await?;
            let lower = Said { err: said.err.to_lowercase(), ..said };
            lower.expect_failure(1, words);
        }
    }
    let all = it.json(&["namespace", "list"], "").await?;
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    it.server.stop().await
}

#[tokio::test]
async fn every_answer_parses_and_every_exit_code_is_as_documented() -> anyhow::Result<()> {
    let mut it = Fixture::start().await?;
    let dry =
        it.json(&["submit", "--namespace", "bank", "-", "--dry-run", "-o", "json"], OPEN).await?;
    assert_eq!((&dry["valid"], &dry["rows"]), (&Json::Bool(true), &Json::from(2)));
    let opened = it.json(&["submit", "--namespace", "bank", "-", "-o", "json"], OPEN).await?;
    assert_eq!(opened["outcome"], "committed");
    let id = opened["id"].as_str().context("an id")?.to_owned();
    let home = opened["home_shard"].to_string();

    let failed = it.submit(TOO_MUCH, &["-o", "jsonl"]).await?;
    failed.expect_failure(4, &["aborted", "balance is 100"]);
    let aborted: Json = serde_json::from_str(&failed.out)?;
    assert_eq!(
        (&aborted["outcome"], &aborted["reason"]["found"]["value"]),
        (&"aborted".into(), &100.into())
    );
    it.submit(TOO_MUCH, &["--id", &id]).await?.expect_failure(4, &["id"]);

    let again = it.submit(OPEN, &["--id", &id, "--wait", "applied", "-o", "json"]).await?;
    let again: Json = serde_json::from_str(&again.expect_success())?;
    assert_eq!(again["commit_timestamp_us"], opened["commit_timestamp_us"]);
    assert_eq!(again["applied"], true);
    it.submit(OPEN, &["--id", "11111111-0000-7000-8000-000000000001"])
        .await?
        .expect_failure(1, &["future", "clock"]);
    it.submit(OPEN, &["--id", "0188c0de-0000-7000-8000-000000000001"])
        .await?
        .expect_failure(1, &["too old"]);
    it.submit(OPEN, &["--id", "11111111-0000-4000-8000-000000000001"])
        .await?
        .expect_failure(1, &["version 7"]);

    let one: &[&[&str]] = &[
        &["read", "--namespace", "bank", "accounts", "alice"],
        &["outcome", &id, "--namespace", "bank"],
        &["outcome", &id, "--namespace", "bank", "--home", &home],
        &["outcome", &id, "--namespace", "bank", "--wait", "applied"],
        &["outcome", &id, "--namespace", "bank", "--fence"],
        &["explain", &id, "--namespace", "bank"],
        &["txn", "list", "--unresolved", "--namespace", "bank"],
        &["namespace", "list"],
        &["namespace", "describe", "bank"],
        &["status", "bank"],
        &["version"],
    ];
    for arguments in one {
        let with = |format| [*arguments, &["-o", format]].concat();
        it.json(&with("json"), "").await?;
        for line in it.run(&with("jsonl"), "").await?.expect_success().lines() {
            serde_json::from_str::<Json>(line).with_context(|| format!("{arguments:?}: {line}"))?;
        }
        let table = it.run(&with("table"), "").await?.expect_success();
        assert!(serde_json::from_str::<Json>(&table).is_err() || table.is_empty(), "{table}");
    }
    let rows =
        it.json(&["read", "--namespace", "bank", "accounts", "alice", "-o", "json"], "").await?;
    assert_eq!((&rows[0]["columns"]["balance"], &rows[0]["exists"]), (&100.into(), &true.into()));

    let unseen = "01ffc0de-0000-7000-8000-000000000001";
    let unseen = uuid_now_like(&id, unseen);
    it.run(&["outcome", &unseen, "--namespace", "bank"], "")
        .await?
        .expect_failure(5, &["not known"]);
    it.run(&["explain", &unseen, "--namespace", "bank"], "")
        .await?
        .expect_failure(3, &["no record"]);
    it.run(&["outcome", &unseen, "--namespace", "bank", "--fence"], "").await?.expect_success();
    it.run(&["outcome", &unseen, "--namespace", "bank"], "").await?.expect_failure(4, &["aborted"]);
    it.run(&["namespace", "describe", "nope"], "").await?.expect_failure(3, &["\"nope\""]);
    it.run(&["read", "--namespace", "bank", "nope", "a"], "")
        .await?
        .expect_failure(2, &["unknown table"]);
    it.run(&["read", "--namespace", "bank", "transfers", "a"], "")
        .await?
        .expect_failure(2, &["account, id"]);
    it.run(&["read", "--namespace", "bank"], "").await?.expect_failure(2, &["Usage"]);
    it.run(&["sumbit"], "").await?.expect_failure(2, &["submit"]);
    it.server.stop().await?;
    let away = it.run(&["namespace", "list", "--timeout", "1s"], "").await?;
    away.expect_failure(5, &["no server answers", "is it running?"]);
    Ok(())
}

/// The text of an id that is about as old as `id`, and another one.
fn uuid_now_like(id: &str, other: &str) -> String {
    format!("{}{}", &id[..14], &other[14..])
}

#[tokio::test]
async fn a_namespace_is_created_changed_and_described_without_a_restart() -> anyhow::Result<()> {
    let mut it = Fixture::start().await?;
    let shop = "name = \"shop\"\nshards = 2\nlog.segment_bytes = 16781312\n[[table]]\n\
                cql = \"CREATE TABLE stock (item text PRIMARY KEY, count int)\"\n";
    let valid = it.json(&["namespace", "validate", "-", "-o", "json"], shop).await?;
    assert_eq!((&valid["valid"], &valid["exists"]), (&true.into(), &false.into()));
    let created = it.json(&["namespace", "create", "-", "-o", "json"], shop).await?;
    assert_eq!((&created["name"], &created["version"]), (&"shop".into(), &1.into()));
    it.run(&["namespace", "create", "-"], shop).await?.expect_failure(4, &["exists already"]);

    let put = |columns: &str| {
        format!(
            r#"{{"mutations":[{{"put":{{"table":"stock","key":{{"item":"pen"}},"columns":{columns}}}}}]}}"#
        )
    };
    let submit = ["submit", "--namespace", "shop", "-"];
    it.run(&submit, &put(r#"{"count": 3}"#)).await?.expect_success();
    it.run(&submit, &put(r#"{"price": 3}"#)).await?.expect_failure(1, &["price"]);

    let wider = shop.replace("count int", "count int, price decimal")
        + "[[table]]\ncql = \"CREATE TABLE orders (id uuid PRIMARY KEY, item text)\"\n";
    let valid = it.json(&["namespace", "validate", "-", "-o", "json"], &wider).await?;
    assert_eq!((&valid["exists"], &valid["version"]), (&true.into(), &2.into()));
    let change = |text: &str, version: &str| {
        let (it, text, version) = (&it, text.to_owned(), version.to_owned());
        async move { it.run(&["namespace", "change", "-", "--expected-version", &version], &text).await }
    };
    change(&wider, "7").await?.expect_failure(4, &["version 1, not 7"]);
    change(&wider, "1").await?.expect_success();
    it.run(&submit, &put(r#"{"price": "1.50"}"#)).await?.expect_success();
    change(&wider, "1").await?.expect_failure(4, &["version 2, not 1"]);
    change(&wider.replace("shards = 2", "shards = 4"), "2").await?.expect_failure(4, &["shards"]);
    change(&wider.replace("count int", "count text"), "2").await?.expect_failure(4, &["count"]);
    change(&shop.replace("shop", "none"), "1").await?.expect_failure(3, &["none"]);

    let printed = it.run(&["namespace", "describe", "shop", "--definition"], "").await?;
    assert_eq!(printed.expect_success(), wider);
    it.server.kill().await?;
    it.server.restart().await?;
    let rows = it.json(&["read", "--namespace", "shop", "stock", "pen", "-o", "json"], "").await?;
    assert_eq!(
        (&rows[0]["columns"]["count"], &rows[0]["columns"]["price"].to_string().trim_matches('"')),
        (&3.into(), &"1.50")
    );
    it.run(&submit, &put(r#"{"price": "2.5"}"#)).await?.expect_success();
    it.server.stop().await
}

#[tokio::test]
async fn pools_are_created_and_namespaces_pinned_to_them() -> anyhow::Result<()> {
    let mut it = Fixture::start().await?;
    let created = it.json(&["pool", "create", "apart", "--note", "noisy"], "").await?;
    assert_eq!(created, json!({"name": "apart", "note": "noisy", "namespaces": []}));
    let again = it.run(&["pool", "create", "apart"], "").await?;
    again.expect_failure(4, &["apart", "exists"]);
    it.run(&["pool", "create", "No"], "").await?.expect_failure(4, &["No", "lower-case"]);
    let pinned = it.json(&["namespace", "pin", "bank", "apart"], "").await?;
    assert_eq!(pinned, json!({"name": "bank", "pool": "apart", "version": 1}));
    it.run(&["namespace", "pin", "bank", "apar"], "").await?.expect_failure(4, &["apart"]);
    it.run(&["namespace", "pin", "bnk", "apart"], "").await?.expect_failure(3, &["bnk"]);
    let all = it.json(&["pool", "list"], "").await?;
    let served = all.as_array().context("a list")?.iter().map(|pool| &pool["namespaces"]);
    assert_eq!(served.collect::<Vec<_>>(), [&json!(["bank"]), &json!([])]);
    // One server of its own log leads everything, whatever pool it is of.
    it.submit(OPEN, &[]).await?.expect_success();
    it.server.stop().await
}

#[tokio::test]
async fn every_verb_has_help_every_shell_its_completions_and_the_version_is_printed()
-> anyhow::Result<()> {
    let verbs: &[&[&str]] = &[
        &["serve"],
        &["demo"],
        &["submit"],
        &["read"],
        &["outcome"],
        &["explain"],
        &["txn"],
        &["txn", "list"],
        &["namespace"],
        &["namespace", "create"],
        &["namespace", "validate"],
        &["namespace", "list"],
        &["namespace", "describe"],
        &["namespace", "change"],
        &["status"],
        &["bench"],
        &["bench", "cluster"],
        &["completions"],
        &["version"],
    ];
    let top = run(&["--help"]).await?.expect_success();
    for verb in verbs {
        assert!(top.contains(verb[0]), "{verb:?} is not in {top}");
        let help = run(&[*verb, &["--help"]].concat()).await?.expect_success();
        assert!(
            help.contains("Usage: handfast") && help.contains("--endpoint"),
            "{verb:?}: {help}"
        );
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).await?.expect_success();
        assert!(script.contains("handfast") && script.contains("submit"), "{shell}");
    }
    run(&["completions", "cmd"]).await?.expect_failure(2, &["bash"]);
    let version: Json =
        serde_json::from_str(&run(&["version", "-o", "json"]).await?.expect_success())?;
    let printed = run(&["--version"]).await?.expect_success();
    assert!(printed.contains(version["version"].as_str().context("a version")?), "{printed}");
    run(&["version", "--timeout", "5"]).await?.expect_failure(2, &["unit"]);
    run(&["version", "--endpoint", "nonsense"]).await?.expect_success();
    run(&["namespace", "list", "--endpoint", "not a url"])
        .await?
        .expect_failure(2, &["http://host:port"]);
    Ok(())
}
