//! Logs in Kafka.

use super::*;

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
    let page = include_str!("../../../../docs/kafka.md");
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
