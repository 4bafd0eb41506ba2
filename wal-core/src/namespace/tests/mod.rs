use proptest::prelude::*;

use super::*;

mod logs;
mod regions;
mod stores;
mod targets;

const BANK: &str = r#"
    name = "bank"

    [[table]]
    cql = "CREATE TABLE bank.accounts (id text PRIMARY KEY, balance bigint)"

    [[table]]
    cql = """
    CREATE TABLE bank.ledger (
        account text, seq timeuuid, amount bigint,
        PRIMARY KEY (account, seq)
    ) WITH CLUSTERING ORDER BY (seq DESC) AND comment = 'a "quoted" \\ comment'"""
    ownership = "shared"
"#;

fn read(text: &str) -> Namespace {
    Namespace::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> Vec<String> {
    let error = Namespace::from_toml(text).expect_err("a bad file");
    error.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let bank = read(BANK);
    assert_eq!((bank.name(), bank.version(), bank.shards()), ("bank", 1, 16));
    assert_eq!(bank.limits(), &Limits::default());
    assert_eq!(bank.policy().wait, WaitLevel::Committed);
    assert_eq!(bank.find_table("accounts"), bank.find_table("bank.accounts"));
    assert_eq!(bank.table_named("ledger").expect("a table").id(), TableId(1));
    assert_eq!(bank.table(TableId(2)), None);
    let error = bank.table_named("acounts").expect_err("unknown");
    assert_eq!(error.to_string(), "unknown table \"acounts\": did you mean \"accounts\"?");
}

#[test]
fn a_bare_name_must_be_of_one_table() {
    let two = read(
        "name = 'a'\n[[table]]\ncql = 'CREATE TABLE x.t (i int PRIMARY KEY)'\n[[table]]\n\
         cql = 'CREATE TABLE y.t (i int PRIMARY KEY)'",
    );
    let error = two.table_named("t").expect_err("two of them");
    assert_eq!(error.to_string(), "unknown table \"t\": say which, x.t or y.t");
    assert_eq!(two.find_table("y.t").map(|table| table.id()), Some(TableId(1)));
}

#[test]
fn the_write_version_is_the_newest_and_only_rises() {
    let bank = read(BANK);
    assert_eq!(bank.write_version(), NEWEST_WRITE_VERSION);
    assert!(!bank.to_toml().contains("write_version"), "nobody has decided on it");
    let old = bank.clone().or_write_version(1);
    assert_eq!(old.write_version(), 1);
    assert_eq!(read(&old.to_toml()), old);
    assert_eq!(old.clone().or_write_version(2), old, "its file says 1");
    let raised = read(&format!("write_version = 2\n{BANK}"));
    old.validate_change(&raised).expect("it rises");
    let lowered = raised.validate_change(&old).expect_err("records of it may be there");
    assert_eq!(lowered.problems[0].path, "write_version");
    // As a program of today reads the file of a later one.
    let later = problems(&format!("write_version = {}\n{BANK}", NEWEST_WRITE_VERSION + 1));
    assert!(later.len() == 1 && later[0].contains("upgrade it first"), "{later:?}");
}

#[test]
fn the_canonical_file_reads_back() {
    let bank = read(BANK);
    let text = bank.to_toml();
    assert_eq!(read(&text), bank);
    assert_eq!(read(&text).to_toml(), text);
    assert!(text.contains("rows_per_transaction = 10000\n"), "{text}");
}

#[test]
fn all_problems_are_told_at_once_with_their_paths() {
    let found = problems(
        r#"
        nmae = "bank"
        shards = 0
        colour = "red"
        [log]
        kind = "kafk"
        segment_byte = 1
        [limits]
        rows_per_transaction = "many"
        [quota]
        transaction_per_second = 5
        burst_ms = 0
        [policy]
        wait = "decided"
        [[table]]
        cql = "CREATE TABLE t (id int PRIMARY KEY, n counter)"
        owner = "owned"
        [[table]]
        ownership = "mine"
        "#,
    );
    let starts = [
        "shards: expected a whole number from 1 to 1024, got 0",
        "log.kind: expected one of \"embedded\", \"kafka\", \"memory\", got the string \"kafk\"",
        "log.segment_byte: unknown key: did you mean \"segment_bytes\"?",
        "limits.rows_per_transaction: expected a whole number from 1 to 10000, got the string \"many\"",
        "quota.burst_ms: expected a whole number from 1 to 60000, got 0",
        "quota.transaction_per_second: unknown key: did you mean \"transactions_per_second\"?",
        "policy.wait: expected one of \"logged\", \"committed\", \"applied\", got the string \"decided\"",
        "table[0].cql: line 1, column 39: a counter cannot",
        "table[0].owner: unknown key: known here: cql, ownership",
        "table[1].ownership: expected one of \"owned\", \"shared\", got the string \"mine\"",
        "table[1].cql: a table needs its CREATE TABLE statement",
        "colour: unknown key: known here: name, write_version, shards, log, store, limits, quota, policy, table, target",
        "nmae: unknown key: did you mean \"name\"?",
    ];
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\n{start}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn files_that_are_no_namespace_are_refused() {
    assert!(problems("name = ")[0].contains("TOML parse error at line 1"));
    assert!(problems("")[0].starts_with("name: a namespace needs a name"));
    assert!(problems("name = 'x'")[0].starts_with("table: a namespace has at least one [[table]]"));
    for name in ["", "Bank", "1bank", "-a", "a b", &"a".repeat(64)] {
        let text = BANK.replace("\"bank\"\n", &format!("{name:?}\n"));
        assert!(problems(&text)[0].starts_with("name: "), "{name:?}");
    }
    let twice = "name = 'a'\n[[table]]\ncql = 'CREATE TABLE t (i int PRIMARY KEY)'\n".to_owned()
        + "[[table]]\ncql = 'CREATE TABLE t (i int PRIMARY KEY)'";
    assert_eq!(problems(&twice), ["table[1].cql: the table t is declared twice"]);
}

/// The problems of a change from [`BANK`] to a file with parts of it replaced.
fn change(replace: &[(&str, &str)]) -> Vec<String> {
    let mut text = BANK.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    match read(BANK).validate_change(&read(&text)) {
        Ok(()) => Vec::new(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn tables_and_columns_may_be_added_at_the_end() {
    assert_eq!(change(&[]), Vec::<String>::new());
    assert_eq!(change(&[("balance bigint", "balance bigint, note text")]), Vec::<String>::new());
    let added = "ownership = \"shared\"\n[[table]]\ncql = 'CREATE TABLE n (i int PRIMARY KEY)'";
    assert_eq!(change(&[("ownership = \"shared\"", added)]), Vec::<String>::new());
    let limits = "name = \"bank\"\n[limits]\nin_flight = 7\n";
    assert_eq!(change(&[("name = \"bank\"", limits)]), Vec::<String>::new());
    let quota = "name = \"bank\"\n[quota]\ntransactions_per_second = 7\n";
    assert_eq!(change(&[("name = \"bank\"", quota)]), Vec::<String>::new());
}

#[test]
fn what_would_change_the_meaning_of_records_is_refused() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "name = \"bank\"",
            "name = \"bang\"",
            "name: the namespace is \"bank\": create another one",
        ),
        (
            "name = \"bank\"",
            "name = \"bank\"\nshards = 8",
            "shards: a namespace keeps its 16 shards",
        ),
        (
            "name = \"bank\"",
            "name = \"bank\"\nlog.kind = \"memory\"",
            "log.kind: a namespace keeps",
        ),
        (
            "balance bigint",
            "note text, balance bigint",
            "table[0].cql: the column \"note\" stands in",
        ),
        (
            "balance bigint",
            "balance int",
            "table[0].cql: the column \"balance\" stays bigint, not int",
        ),
        (", balance bigint", "", "table[0].cql: the column \"balance\" is missing"),
        ("bank.accounts", "bank.account", "table[0]: the table bank.accounts is missing"),
        ("(seq DESC)", "(seq ASC)", "table[1].cql: the primary key may not change: \"seq\""),
        (
            "KEY (account, seq)\n    ) WITH CLUSTERING ORDER BY (seq DESC) AND",
            "KEY (account)\n    ) WITH",
            "table[1].cql: the primary key may not change",
        ),
        (
            "amount bigint,\n        PRIMARY KEY (account, seq)",
            "amount bigint, d int,\n        PRIMARY KEY ((account, d), seq)",
            "table[1].cql: the new column \"d\" may not be part of the key",
        ),
        ("ownership = \"shared\"", "", "table[1].ownership: bank.ledger stays \"shared\""),
    ];
    for (from, to, start) in cases {
        let found = change(&[(from, to)]);
        assert!(found.len() == 1 && found[0].starts_with(start), "{found:?} {start}");
    }
    let swapped = change(&[("bank.accounts", "x.y"), ("bank.ledger", "bank.accounts")]);
    assert!(
        swapped[0].starts_with("table[0]: x.y stands in the place of bank.accounts"),
        "{swapped:?}"
    );
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "[a-z\\[\\]\"'=\n .0-9]{0,60}") {
        let _ = Namespace::from_toml(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_settings_survive_the_canonical_file(
        shards in 1u16..=1024,
        rows in 1u64..=10_000,
        retain in 0u64..=i64::MAX as u64,
        applied: bool,
    ) {
        let mut namespace = read(BANK);
        namespace.shards = shards;
        namespace.limits.rows_per_transaction = rows;
        namespace.log.retain_ms = retain;
        namespace.policy.wait = if applied { WaitLevel::Applied } else { WaitLevel::Logged };
        prop_assert_eq!(read(&namespace.to_toml()), namespace);
    }
}
