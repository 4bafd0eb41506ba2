//! Targets, and what is due later.

use super::*;

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
    assert_eq!((shipping.delivery.in_flight, stream.delivery.in_flight), (64, 1_024));
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
