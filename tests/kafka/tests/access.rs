//! A broker that asks who is there, lets not everybody do everything, and speaks TLS.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use handfast_kafka_tests::brokers;
use handfast_kafka_tests::owner::{Owner, numbers};
use handfast_stack::{KAFKA, KEY_STORE_PASSWORD, Network, Stack, StackSpec, certificates};
use wal_core::ShardId;
use wal_core::log::kafka::KafkaOptions;
use wal_core::log::{Appended, LogError};

const PORT: u16 = 9094;
/// The same with TLS.
const TLS_PORT: u16 = 9095;
/// A variable that nobody sets.
const VARIABLE: &str = "HANDFAST_TEST_KAFKA_PASSWORD";

/// One broker with listeners that want a login, plain and with TLS: `keeper` may do everything, `guest`
/// nothing.
fn start(folder: &Path) -> (Stack, [String; 2]) {
    let network = Network::drawn();
    let host = network.host(1);
    certificates(folder, host).expect("certificates");
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let properties = [
        (
            "listeners",
            format!(
                "PLAINTEXT://{host}:9092,CONTROLLER://{host}:9093,LOGIN://{host}:{PORT},\
                 TLS://{host}:{TLS_PORT}"
            ),
        ),
        (
            "advertised.listeners",
            format!("PLAINTEXT://{host}:9092,LOGIN://{host}:{PORT},TLS://{host}:{TLS_PORT}"),
        ),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SASL_SSL".to_owned(),
        ),
        ("listener.name.tls.ssl.keystore.type", "PKCS12".to_owned()),
        ("listener.name.tls.ssl.keystore.location", folder.join("node.p12").display().to_string()),
        ("listener.name.tls.ssl.keystore.password", KEY_STORE_PASSWORD.to_owned()),
        ("listener.name.tls.ssl.key.password", KEY_STORE_PASSWORD.to_owned()),
        ("listener.name.tls.sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
        (
            "listener.name.tls.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
        ),
        ("listener.name.login.sasl.enabled.mechanisms", "PLAIN".to_owned()),
        (
            "listener.name.login.plain.sasl.jaas.config",
            format!("{plain} user_keeper=\"right\" user_guest=\"right\";"),
        ),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        ),
        ("super.users", "User:ANONYMOUS;User:keeper".to_owned()),
    ];
    let kafka_properties =
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let spec =
        StackSpec { kafka: 1, kafka_properties, network: Some(network), ..StackSpec::default() };
    let stack = Stack::start(&spec).expect("a broker that starts");
    let jars = KAFKA.fetch().expect("they are there: the broker runs on them");
    let made = Command::new("java")
        .args(["-cp", &format!("{}/*", jars.display()), "kafka.admin.ConfigCommand"])
        .args(["--bootstrap-server", &stack.kafka_bootstrap(), "--alter"])
        .args(["--entity-type", "users", "--entity-name", "keeper"])
        .args(["--add-config", "SCRAM-SHA-512=[password=right]"])
        .output()
        .expect("java is there");
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
    (stack, [PORT, TLS_PORT].map(|port| format!("{host}:{port}")))
}

/// The same user by SCRAM over TLS, who believes this authority.
fn over_tls(options: &KafkaOptions, ca: &Path, password: &str) -> KafkaOptions {
    let mut options = of_user(options, "keeper", password);
    for (name, value) in [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("ssl.ca.location", ca.to_str().expect("a path")),
    ] {
        options.kafka.client.insert(name.to_owned(), value.to_owned());
    }
    options
}

fn of_user(options: &KafkaOptions, user: &str, password: &str) -> KafkaOptions {
    let mut options = options.clone();
    let settings = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    options.kafka.client = settings.into_iter().collect();
    options
}

#[test]
fn a_login_passes_through_and_what_is_wrong_with_it_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (stack, [with_login, with_tls]) = start(folder.path());
    let mut options = brokers::options(&stack, &brokers::topic("access"), 2);
    options.kafka.brokers = with_login;

    let begun = Instant::now();
    let wrong = brokers::refusal(&of_user(&options, "keeper", "wrong"));
    assert!(matches!(wrong, LogError::Login { .. }), "{wrong}");
    let told = wrong.to_string();
    println!("{told}");
    assert!(told.contains("Authentication failed") && told.contains("sasl.password"), "{told}");
    assert!(!told.contains("wrong"), "the password is not shown: {told}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    let mechanism = {
        let mut options = of_user(&options, "keeper", "right");
        options.kafka.client.insert("sasl.mechanism".to_owned(), "SCRAM-SHA-256".to_owned());
        brokers::refusal(&options).to_string()
    };
    println!("{mechanism}");
    assert!(mechanism.contains("sasl.mechanism"), "{mechanism}");

    for topic in [options.kafka.topic.clone(), brokers::topic("another")] {
        let mut options = of_user(&options, "guest", "right");
        options.kafka.topic = topic;
        let denied = brokers::refusal(&options).to_string();
        println!("{denied}");
        assert!(denied.to_lowercase().contains("authorization failed"), "{denied}");
        assert!(denied.contains("grant this user Describe, DescribeConfigs, Create"), "{denied}");
    }

    let unset = brokers::refusal(&of_user(&options, "keeper", &format!("env:{VARIABLE}")));
    assert!(unset.to_string().contains(VARIABLE), "{unset}");
    let log = brokers::open(&of_user(&options, "keeper", "right"));
    let mut owner = Owner::stand(&log, ShardId(1)).expect("nobody else stands");
    let answer = owner.append(&log, &[1, 2]);
    assert!(matches!(answer, Appended::Durable { .. }), "{answer:?}");
    assert_eq!(numbers(&log, ShardId(1)), [1, 2]);
    // Now that the topic is there, a stranger is told the same of it.
    let denied = brokers::refusal(&of_user(&options, "guest", "right")).to_string();
    assert!(denied.contains("grant this user"), "{denied}");

    options.kafka.brokers = with_tls;
    options.kafka.topic = brokers::topic("tls");
    let ca = folder.path().join("ca.pem");
    let other = over_tls(&options, &folder.path().join("other.pem"), "right");
    let told = brokers::refusal(&other).to_string();
    println!("{told}");
    assert!(told.contains("certificate verify failed"), "{told}");
    let told = brokers::refusal(&over_tls(&options, &ca, "wrong")).to_string();
    assert!(told.contains("Authentication failed"), "{told}");
    let log = brokers::open(&over_tls(&options, &ca, "right"));
    let mut owner = Owner::stand(&log, ShardId(0)).expect("nobody else stands");
    assert!(matches!(owner.append(&log, &[7]), Appended::Durable { .. }));
    assert_eq!(numbers(&log, ShardId(0)), [7]);
}
