use proptest::prelude::*;

use super::*;

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

const TARGETS: &str = r#"
    [[target]]
    name = "shipping"
    kind = "http"
    url = "https://shipping.example:8443/orders?a=b"
    timeout_ms = 500
    [target.headers]
    Authorization = "env:SHIPPING_TOKEN"

    [[target]]
    name = "stream"
    kind = "kafka"
    brokers = "kafka-1:9092"
    topic = "orders"
    paused = true
    retired = true

    [[target]]
    name = "cache"
    kind = "memcached"
    servers = ["cache-1:11211", "10.0.0.2:11211 cache-2/10.0.0.2:11211", "[::1]:11211"]
    prefix = "cid:"
    ttl_s = 900
    retired = true
"#;

#[test]
fn targets_are_read_and_written_and_shown_without_secrets() {
    let bank = read(&format!("{BANK}{TARGETS}"));
    let shipping = bank.target_named("shipping").expect("it is there");
    assert_eq!((shipping.delivery.timeout_ms, shipping.delivery.tries), (500, 20));
    let TargetPlace::Http { headers, .. } = &shipping.place else { panic!("{shipping:?}") };
    assert_eq!(headers["authorization"], "env:SHIPPING_TOKEN", "names of headers have no case");
    assert!(!format!("{shipping:?}").contains("SHIPPING_TOKEN"));
    let stream = bank.target_named("stream").expect("it is there");
    assert!(stream.paused && stream.retired && stream.place.kind() == "kafka");
    let cache = bank.target_named("cache").expect("it is there");
    let TargetPlace::Memcached { servers, prefix, ttl_s } = &cache.place else {
        panic!("{cache:?}")
    };
    assert_eq!((servers.len(), &**prefix, *ttl_s), (3, "cid:", 900));
    assert_eq!(servers[1], "10.0.0.2:11211 cache-2/10.0.0.2:11211");
    assert_eq!(read(&bank.to_toml()), bank);
    let error = bank.target_named("shiping").expect_err("unknown");
    assert_eq!(error.to_string(), "unknown target \"shiping\": did you mean \"shipping\"?");
    // One that is retired may go, the other not yet.
    let refused = bank.validate_change(&read(BANK)).expect_err("work may be pending");
    assert_eq!(refused.problems.len(), 1, "{refused}");
    assert!(refused.to_string().contains("\"shipping\" is missing"), "{refused}");
    read(BANK).validate_change(&bank).expect("targets may come");
}

#[test]
fn what_is_wrong_with_targets_is_told() {
    let target = |text: &str| problems(&format!("{BANK}\n[[target]]\n{text}"));
    let http = "name = \"a\"\nkind = \"http\"\n";
    for (text, said) in [
        ("kind = \"http\"\nurl = \"http://a\"", "target[0].name: a target needs a name"),
        ("name = \"A b\"\nkind = \"http\"\nurl = \"http://a\"", "target[0].name: \"A b\" is not"),
        ("name = \"a\"", "target[0].kind: a target is something"),
        ("name = \"a\"\nkind = \"smtp\"", "target[0].kind: expected one of \"http\", \"kafka\", "),
        (
            "name = \"a\"\nkind = \"namespace\"",
            "target[0].namespace: a namespace as a target needs",
        ),
        (
            "name = \"a\"\nkind = \"namespace\"\nnamespace = \"A b\"",
            "target[0].namespace: \"A b\" is not a namespace's name",
        ),
        (http, "target[0].url: an HTTP target needs url"),
        (&format!("{http}url = \"ftp://a\""), "target[0].url: \"ftp://a\" does not begin"),
        (&format!("{http}url = \"http://u:p@a\""), "target[0].url: a user or password"),
        (&format!("{http}url = \"http:///a\""), "target[0].url: \"http:///a\" is not an address"),
        (&format!("{http}url = \"http://a\"\ntopic = \"b\""), "target[0].topic: unknown key"),
        (
            &format!("{http}url = \"http://a\"\nheaders.Host = \"b\""),
            "target[0].headers.Host: may not be set",
        ),
        (
            &format!("{http}url = \"http://a\"\nheaders.x = \"\\n\""),
            "target[0].headers.x: its value",
        ),
        (
            "name = \"a\"\nkind = \"kafka\"\ntopic = \"b\"",
            "target[0].brokers: a Kafka target needs",
        ),
        (
            "name = \"a\"\nkind = \"kafka\"\nbrokers = \"a:1\"",
            "target[0].topic: a Kafka target needs",
        ),
        (
            "name = \"a\"\nkind = \"kafka\"\nbrokers = \"a:1\"\ntopic = \"b\"\nclient.acks = 1",
            "target[0].client.acks: may not be set",
        ),
    ] {
        let found = target(text);
        assert!(found.len() == 1 && found[0].starts_with(said), "{found:#?}\n{said}");
    }
    let memcached = "name = \"a\"\nkind = \"memcached\"\n";
    let one = format!("{memcached}servers = [\"a:1\"]\n");
    read(&format!("{BANK}\n[[target]]\n{one}"));
    for (text, said) in [
        (memcached, "servers: a memcached target needs servers"),
        (&format!("{memcached}servers = []"), "servers: a memcached target needs servers"),
        (&format!("{memcached}servers = \"a:1\""), "servers: expected a list of strings"),
        (&format!("{memcached}servers = [\"a\"]"), "servers: \"a\" is not a server"),
        (&format!("{memcached}servers = [\"a:0\"]"), "servers: \"a:0\" is not a server"),
        (&format!("{memcached}servers = [\"a:1,b:1\"]"), "servers: \"a:1,b:1\" is not a server"),
        (&format!("{memcached}servers = [\"a:1 \"]"), "servers: \"a:1 \" is not a server"),
        (&format!("{memcached}servers = [\"a:1 b c\"]"), "servers: \"a:1 b c\" is not a server"),
        (&format!("{memcached}servers = [\"a:1\", \"a:1\"]"), "servers: \"a:1\" is there twice"),
        (
            &format!("{memcached}servers = [\"a:1 x\", \"b:1 x\"]"),
            "servers: \"b:1 x\" is there twice",
        ),
        (&format!("{one}prefix = \"a b\""), "prefix: no key begins with \"a b\""),
        (&format!("{one}ttl_s = 31536001"), "ttl_s: expected a whole number from 0 to 31536000"),
        (&format!("{one}url = \"http://a\""), "url: unknown key"),
    ] {
        let found = target(text);
        let said = format!("target[0].{said}");
        assert!(found.len() == 1 && found[0].starts_with(&said), "{found:#?}\n{said}");
    }
    let twice = format!("{http}url = \"http://a\"\n[[target]]\n{http}url = \"http://b\"");
    assert_eq!(target(&twice), ["target[1].name: the target \"a\" is declared twice"]);
}

const TABLES: &str = r#"
    name = "copy"
    kind = "table"
    contact_points = ["C1", "[::1]:9042"]
    datacenter = "dc1"
    keyspace = "copies"
    request_timeout_ms = 500
    user = "env:COPY_USER"
    password = "s3cret"
    tables = [
        "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)",
        """
        CREATE TABLE audit.ledger (account text, seq int, "Note" text, PRIMARY KEY (account, seq))
        WITH comment = 'two lines'""",
    ]
"#;

#[test]
fn targets_of_tables_are_read_and_written_with_the_words_of_a_store() {
    let bank = read(&format!("{BANK}\n[[target]]\n{TABLES}"));
    let copy = bank.target_named("copy").expect("it is there");
    let TargetPlace::Table { tables, login } = &copy.place else { panic!("{copy:?}") };
    assert_eq!((tables.tables().len(), copy.place.kind()), (2, "table"));
    assert_eq!(tables.store().request_timeout_ms, 500);
    assert_eq!(tables.store().own_keyspace, DEFAULT_OWN_KEYSPACE);
    let ledger = tables.table_named("ledger").expect("it is declared");
    assert_eq!((ledger.full_name(), tables.keyspace_of(ledger)), ("audit.ledger", Some("audit")));
    assert_eq!(login.as_ref().map(|it| &*it.user), Some("env:COPY_USER"));
    assert!(!format!("{copy:?}").contains("s3cret"));
    assert_eq!(read(&bank.to_toml()), bank);
    assert_eq!(read(&bank.to_toml()).to_toml(), bank.to_toml());
}

#[test]
fn what_is_wrong_with_targets_of_tables_is_told_with_their_words() {
    let own =
        "[store]\nkind = \"cassandra\"\ncontact_points = [\"c1:9042\"]\ndatacenter = \"dc1\"\n";
    let with = |from: &str, to: &str| {
        assert!(TABLES.contains(from), "{from}");
        format!("{BANK}\n[[target]]\n{}", TABLES.replace(from, to))
    };
    for (from, to, said) in [
        ("tables = [", "tables = []\ntopics = [", "tables: a table target needs tables"),
        ("contact_points = [\"C1\", \"[::1]:9042\"]", "", "contact_points: name a node or two"),
        ("\"C1\"", "\"a b\"", "contact_points: \"a b\" is not host"),
        ("datacenter", "datacentre", "datacentre: unknown key: did you mean \"datacenter\"?"),
        (
            "keyspace = \"copies\"",
            "",
            "tables[0]: accounts is in no keyspace: write CREATE TABLE keyspace.accounts, or set keyspace",
        ),
        (
            "keyspace = \"copies\"",
            "keyspace = \"handfast\"",
            "tables[0]: accounts is in the keyspace \"handfast\", where Handfast says",
        ),
        ("balance bigint", "balance counter", "tables[0]: line 1, column "),
        ("audit.ledger", "accounts", "tables[1]: the table accounts is declared twice"),
        (
            "request_timeout_ms = 500",
            "request_timeout_ms = 5",
            "request_timeout_ms: expected a whole",
        ),
        ("password = \"s3cret\"", "", "password: who logs in has a user and a password"),
        ("user = \"env:COPY_USER\"", "", "user: who logs in has a user and a password"),
        ("user =", "url =", "url: unknown key"),
    ] {
        let found = problems(&with(from, to));
        let said = format!("target[0].{said}");
        assert!(found.iter().any(|it| it.starts_with(&said)), "{found:#?}\n{said}");
        assert!(found.len() <= 2, "{found:#?}");
    }
    // In the namespace's own cluster only other keyspaces than its own.
    let in_cluster = |keyspace: &str| {
        let target = TABLES.replace("copies", keyspace);
        format!("{BANK}\n{own}\n[[target]]\n{target}")
    };
    read(&in_cluster("copies"));
    let found = problems(&in_cluster("bank"));
    assert_eq!(found.len(), 1, "{found:#?}");
    let said = "target[0].tables[0]: accounts is in the keyspace \"bank\", where the namespace has its own";
    assert!(found[0].starts_with(said), "{found:#?}");
    read(&in_cluster("bank").replace("c1:9042", "c2:9042"));
}

#[test]
fn namespaces_that_are_targets_are_there_and_do_not_lead_back() {
    let named = |name: &str, next: &str, to: &str| {
        let text = BANK.replace("name = \"bank\"", &format!("name = \"{name}\""));
        match next {
            "" => read(&text),
            next => read(&format!(
                "{text}[[target]]\nname = \"next\"\nkind = \"namespace\"\nnamespace = \"{next}\"\nto = [{to}]\n"
            )),
        }
    };
    let (a, c) = (named("a", "b", "\"next\""), named("c", "", ""));
    assert_eq!(read(&a.to_toml()), a);
    assert!(a.is_chained() && !c.is_chained());
    a.validate_chains(&[named("b", "c", ""), c.clone()]).expect("a chain");
    for (others, said) in [
        (vec![c.clone()], "target[0].namespace: there is no namespace \"b\""),
        (vec![named("b", "", "")], "target[0].to: in namespace \"b\": unknown target \"next\""),
        (vec![named("b", "c", ""), named("c", "a", "")], "round for ever: a → b → c → a"),
        (vec![named("b", "a", "")], "round for ever: a → b → a"),
    ] {
        let refused = a.validate_chains(&others).expect_err("wrong").to_string();
        assert!(refused.contains(said), "{refused}\n{said}");
    }
    let own = named("a", "a", "").validate_chains(&[c]).expect_err("itself").to_string();
    assert!(own.contains("is the namespace itself"), "{own}");
}

#[test]
fn what_keeps_what_is_due_later_must_be_declared_so() {
    let bank = BANK.trim_start();
    let with =
        |delay: &str, cql: &str| format!("{bank}[[table]]\ncql = \"{cql}\"\n[delay]\n{delay}\n");
    let delayed = read(&with("table = \"later\"\nafter_ms = 5", DELAYED_CQL));
    assert_eq!(delayed.delay().map(|it| (it.after_ms, it.in_flight)), Some((5, 256)));
    assert_eq!(delayed.delayed_table().map(|table| table.id()), Some(TableId(2)));
    assert_eq!(read(&delayed.to_toml()), delayed);
    // It may come, and stays.
    read(bank).validate_change(&delayed).expect("delays may come");
    let without = format!("{bank}[[table]]\ncql = \"{DELAYED_CQL}\"\n");
    let refused = delayed.validate_change(&read(&without)).expect_err("something may be due");
    assert!(refused.to_string().starts_with("delay.table: "), "{refused}");
    let other = DELAYED_CQL.replace("body blob", "body text");
    for (file, said) in [
        (with("", DELAYED_CQL), "delay.table: name the table"),
        (with("table = \"latter\"", DELAYED_CQL), "delay.table: \"latter\" is not declared"),
        (with("table = \"later\"", &other), "delay.table: later does not have the columns"),
        (with("table = \"later\"\nlongest_ms = 1\nafter_ms = 2", DELAYED_CQL), "delay.after_ms: "),
        (with("table = \"later\"\nafter = 2", DELAYED_CQL), "delay.after: unknown key"),
    ] {
        let found = problems(&file);
        assert!(found.len() == 1 && found[0].starts_with(said), "{found:#?}\n{said}");
    }
}

const KAFKA: &str = r#"
    [log]
    kind = "kafka"
    brokers = "kafka-1:9092,[::1]:9093"
    [log.client]
    "security.protocol" = "sasl_ssl"
    "sasl.password" = "env:KAFKA_PASSWORD"
    "socket.keepalive.enable" = true
    "socket.connection.setup.timeout.ms" = 5000
"#;

#[test]
fn a_log_in_kafka_is_read_and_written() {
    let bank = read(&format!("{BANK}{KAFKA}"));
    let kafka = bank.log().kafka.clone().expect("what was written");
    assert_eq!(kafka.topic, "handfast-bank");
    assert_eq!((kafka.replication, kafka.development), (3, false));
    assert_eq!(kafka.client["socket.keepalive.enable"], "true");
    assert_eq!(kafka.client["socket.connection.setup.timeout.ms"], "5000");
    assert!(!format!("{kafka:?}").contains("env:KAFKA_PASSWORD"), "values are not printed");
    let text = bank.to_toml();
    assert_eq!(read(&text), bank, "{text}");
    assert_eq!(read(&text).to_toml(), text);
    let moved = read(&text.replace("handfast-bank", "elsewhere"));
    let refused = bank.validate_change(&moved).expect_err("the records would stay behind");
    assert!(refused.to_string().contains("log.topic: a namespace keeps its topic"), "{refused}");
    let other_brokers = read(&text.replace("kafka-1", "kafka-2"));
    assert_eq!(bank.validate_change(&other_brokers), Ok(()));
}

#[test]
fn the_example_of_the_page_on_kafka_is_right() {
    let page = include_str!("../../../docs/kafka.md");
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let bank = read(&format!("{BANK}{}", block.expect("an example")));
    let kafka = bank.log().kafka.clone().expect("what was written");
    assert_eq!((kafka.replication, kafka.client.len()), (3, 6));
}

#[test]
fn a_log_in_kafka_that_is_not_safe_or_not_said_is_refused() {
    let refused = |log: &str| problems(&format!("{BANK}[log]\nkind = \"kafka\"\n{log}"));
    assert!(refused("")[0].starts_with("log.brokers: a log in Kafka needs brokers"));
    for wrong in ["kafka", "kafka:", "kafka:0", ":9092", "a:9092,,b:9092", "a:9092, b:9092", ""] {
        let found = refused(&format!("brokers = {wrong:?}"));
        assert!(found[0].contains("is not a broker: write host:port"), "{wrong}: {found:?}");
    }
    let found = refused("brokers = \"a:1\"\ntopic = \"a b\"\nreplication = 2\ndevelopmnt = true");
    assert!(found[0].starts_with("log.topic: \"a b\" is not the name of a topic"), "{found:?}");
    assert!(found[1].starts_with("log.replication: 2 copies of a record may be lost"), "{found:?}");
    assert!(found[2].contains("did you mean \"development\"?"), "{found:?}");
    let development = "brokers = \"a:1\"\nreplication = 1\ndevelopment = true";
    read(&format!("{BANK}[log]\nkind = \"kafka\"\n{development}"));
    for name in ["acks", "enable.idempotence", "auto.offset.reset", "retries", "group.id"] {
        let found = refused(&format!("brokers = \"a:1\"\n[log.client]\n{name:?} = \"1\""));
        assert!(found[0].starts_with(&format!("log.client.{name}: may not be set: ")), "{found:?}");
    }
    let found = refused("brokers = \"a:1\"\n[log.client]\nsasl.mechanism = \"PLAIN\"");
    assert!(found[0].contains("write the name in quotes"), "{found:?}");
    let elsewhere = problems(&format!("{BANK}[log]\nbrokers = \"a:1\""));
    assert!(elsewhere[0].starts_with("log.brokers: unknown key"), "{elsewhere:?}");
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

const CLUSTER: &str = r#"
    name = "bank"

    [store]
    kind = "cassandra"
    contact_points = ["10.0.0.1", "[::1]:9042", "db.example:9043"]
    datacenter = "dc1"
    keyspace = "bank"

    [[table]]
    cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"

    [[table]]
    cql = "CREATE TABLE other.ledger (id text PRIMARY KEY)"
"#;

#[test]
fn a_cluster_of_tables_is_read_and_written() {
    let bank = read(CLUSTER);
    let store = bank.store();
    assert_eq!((store.kind, store.concurrency), (StoreKind::Cassandra, 64));
    assert_eq!((store.own_keyspace.as_str(), store.create_tables), ("handfast", false));
    let keyspaces: Vec<_> = bank.tables().iter().map(|table| bank.keyspace_of(table)).collect();
    assert_eq!(keyspaces, [Some("bank"), Some("other")]);
    assert_eq!(read(&bank.to_toml()), bank);
    assert_eq!(read(BANK).store().kind, StoreKind::Embedded);
    let with_tls = CLUSTER.replace("datacenter", "tls_ca = \"/etc/ca.pem\"\n    datacenter");
    let with_tls = read(&with_tls);
    assert_eq!(with_tls.store().tls_ca.as_deref(), Some("/etc/ca.pem"));
    assert_eq!(read(&with_tls.to_toml()), with_tls);
    bank.validate_change(&with_tls).expect("TLS may come later");
}

#[test]
fn what_is_wrong_with_a_cluster_is_told_with_its_place() {
    let replaced = |from: &str, to: &str| {
        assert!(CLUSTER.contains(from), "{from}");
        problems(&CLUSTER.replace(from, to))
    };
    for (from, to, expected) in [
        ("kind = \"cassandra\"", "", "store.contact_points: only a cluster has this"),
        ("\"10.0.0.1\"", "\"cql://x\"", "store.contact_points: \"cql://x\" is not host"),
        ("\"10.0.0.1\"", "\"x:0\"", "store.contact_points: \"x:0\" is not host"),
        ("\"10.0.0.1\"", "7", "store.contact_points: expected a list of strings, got"),
        ("datacenter = \"dc1\"", "", "store.datacenter: name the data centre"),
        ("datacenter", "datacentre", "store.datacentre: unknown key: did you mean \"datacenter\"?"),
        ("keyspace = \"bank\"", "", "table[0].cql: accounts is in no keyspace"),
        ("keyspace = \"bank\"", "keyspace = \"b-k\"", "store.keyspace: \"b-k\" is not a keyspace"),
        (
            "datacenter",
            "create_tables = 1\ndatacenter",
            "store.create_tables: expected true or false",
        ),
        ("datacenter", "tls_ca = \"\"\ndatacenter", "store.tls_ca: name a file with certificates"),
        ("datacenter", "concurrency = 0\ndatacenter", "store.concurrency: expected a whole number"),
    ] {
        let found = replaced(from, to);
        assert!(found[0].starts_with(expected), "{found:#?}\n{expected}");
    }
}

#[test]
fn a_namespace_keeps_its_store_and_keyspaces() {
    let old = read(CLUSTER);
    let new = CLUSTER.replace("keyspace = \"bank\"", "keyspace = \"b2\"\nown_keyspace = \"h2\"");
    let error = old.validate_change(&read(&new)).expect_err("both are kept");
    let paths: Vec<_> = error.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["store.keyspace", "store.own_keyspace"]);
    let elsewhere = CLUSTER.replace("10.0.0.1", "10.0.0.9");
    old.validate_change(&read(&elsewhere)).expect("contact points may change");
}

/// A namespace in two regions; `region` is what its section says beside the usual.
fn in_regions(region: &str) -> String {
    format!(
        "{BANK}[[table]]\ncql = \"{ARRIVED_CQL}\"\n[region]\nhere = \"eu\"\nhome = \"eu\"\ntable = \"arrived\"\n\
         {region}\n[[region.all]]\nname = \"eu\"\nservers = [\"http://eu\"]\n[[region.all]]\nname = \"us\"\n\
         servers = [\"http://us\"]\n"
    )
}

#[test]
fn regions_are_numbered_by_their_places_and_tables_have_homes() {
    let file = in_regions("[region.tables]\nledger = \"any\"");
    let bank = read(&file);
    assert_eq!(read(&bank.to_toml()), bank, "the canonical file says the same");
    let region = bank.region().expect("it is in regions");
    assert_eq!((region.number(), region.term), (0, 1));
    assert_eq!(
        region.others().map(|(number, it)| (number, &*it.name)).collect::<Vec<_>>(),
        [(1, "us")]
    );
    let home = |table: &str| region.home_of(table).map(str::to_owned);
    assert_eq!(home("bank.accounts").as_deref(), Some("eu"));
    assert_eq!(home("bank.ledger"), None);
    assert_eq!(home("arrived").as_deref(), Some("eu"), "that is each region's own");
    let there = read(&file.replace("here = \"eu\"", "here = \"us\""));
    let region = there.region().expect("it is in regions");
    assert!(!region.is_written_here("bank.accounts") && region.is_written_here("bank.ledger"));
    assert!(region.is_written_here("arrived"));
    let gone = read(&file.replace("[\"http://us\"]", "[]"));
    assert_eq!(read(&gone.to_toml()), gone);
    assert!(gone.region().is_some_and(|region| region.members[1].servers.is_empty()));
    assert!(bank.validate_change(&gone).is_ok() && gone.validate_change(&bank).is_ok());
}

#[test]
fn what_is_wrong_with_regions_is_told() {
    let without = |word: &str| {
        let file = in_regions("");
        let lines = file.lines().filter(|line| !line.starts_with(word));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    for (file, said) in [
        (without("here"), "say which of the regions this is"),
        (without("home"), "say where tables are written"),
        (without("table ="), "declare it: CREATE TABLE arrived"),
        (without("servers"), "name a server or two"),
        (in_regions("").replace("http://us", "us:7420"), "does not begin with http://"),
        (in_regions("").replace("\"us\"", "\"eu\""), "is there twice"),
        (in_regions("").replace("home = \"eu\"", "home = \"asia\""), "unknown region \"asia\""),
        (in_regions("").replace("here = \"eu\"", "here = \"asia\""), "is not in [[region.all]]"),
        (in_regions("[region.tables]\nledgers = \"us\""), "there is no table \"ledgers\""),
        (
            in_regions("").replace("name = \"bank\"", "name = \"bank\"\nshards = 1"),
            "two shards or more",
        ),
        (
            in_regions("").replace("name = \"bank\"", "name = \"bank\"\nwrite_version = 3"),
            "regions need 4",
        ),
        (in_regions("").replace("term bigint", "term text"), "does not have the columns"),
    ] {
        let told = problems(&file);
        assert!(told.iter().any(|problem| problem.contains(said)), "{said}: {told:?}");
    }
}

#[test]
fn regions_keep_their_places_and_homes_move_with_a_later_term() {
    let old = read(&in_regions(""));
    read(BANK).validate_change(&read(BANK)).expect("nothing changes");
    let refused = |new: &str, path: &str| {
        let error = old.validate_change(&read(new)).expect_err("it is refused");
        assert!(error.problems.iter().any(|problem| problem.path == path), "{error}");
    };
    let file = in_regions("");
    refused(&file.replace("here = \"eu\"", "here = \"us\""), "region.here");
    refused(&file.replace("home = \"eu\"", "home = \"us\""), "region.home");
    let swapped =
        file.replace("name = \"eu\"", "name = \"x\"").replace("name = \"us\"", "name = \"eu\"");
    refused(&swapped.replace("name = \"x\"", "name = \"us\""), "region.all[0]");
    let without = format!("{BANK}[[table]]\ncql = \"{ARRIVED_CQL}\"\n");
    refused(&without, "region");
    let homes = old.region().expect("it is in regions").homes.clone().moved("eu", "us");
    let later = old.clone().with_homes(2, homes);
    old.validate_change(&later).expect("a later term");
    let back = later.validate_change(&old).expect_err("an earlier term");
    assert_eq!(back.problems[0].path, "region.term");
    read(&without).validate_change(&old).expect("regions may come later");
    let region = old.region().expect("it is in regions");
    let there = read(&file.replace("here = \"eu\"", "here = \"us\""));
    let moved = later.region().expect("it is in regions").homes.clone();
    assert!(region.follows(2, &moved), "it is not the home any more");
    assert!(!region.follows(1, &moved), "no later term");
    let there = there.region().expect("it is in regions");
    assert!(!there.follows(2, &moved), "who becomes the home is told so when it has everything");
}
