//! The golden histories, under every consistency.

use handfast_checker::{
    Consistency, History, Options, Validity, Verdict, check, check_with_last, dot, read_edn,
};

fn history(name: &str) -> History {
    let path = format!("{}/tests/golden/{name}.edn", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    read_edn(file).expect("a golden history")
}

fn verdict(name: &str, consistency: Consistency) -> Verdict {
    check(&history(name), &Options { consistency, ..Options::default() })
}

fn kinds(verdict: &Verdict) -> Vec<String> {
    let mut kinds: Vec<String> = verdict.anomalies.iter().map(|it| it.kind.name()).collect();
    kinds.dedup();
    kinds
}

/// Of each history: what is found under strict serializability, serializability, and snapshot isolation.
const GOLDEN: [(&str, [&[&str]; 3]); 13] = [
    ("aborted_read", [&["G1a"]; 3]),
    ("dup_retry", [&["duplicate-elements"]; 3]),
    ("fractured", [&["G-single"]; 3]),
    ("torn_commit", [&["G-single"]; 3]),
    ("lost_update", [&["lost-update", "G-single"]; 3]),
    ("split_brain", [&["incompatible-order"]; 3]),
    ("write_skew", [&["G2"], &["G2"], &[]]),
    ("stale_read", [&["G-single-realtime"], &[], &[]]),
    ("lost_ack", [&["G-single-realtime"], &[], &[]]),
    ("lost_ack2", [&["G-single-realtime"], &[], &[]]),
    ("lost_silent", [&[]; 3]),
    ("info_then_visible_ok", [&[]; 3]),
    ("rw_write_skew", [&["G2"], &["G2"], &[]]),
];

#[test]
fn every_golden_history_has_its_verdict_under_every_consistency() {
    let consistencies = [
        Consistency::StrictSerializable,
        Consistency::Serializable,
        Consistency::SnapshotIsolation,
    ];
    for (name, expected) in GOLDEN {
        for (consistency, expected) in consistencies.into_iter().zip(expected) {
            let verdict = verdict(name, consistency);
            let said = format!("{name} as {}:\n{verdict}", consistency.name());
            assert_eq!(kinds(&verdict), expected, "{said}");
            let valid = match (expected.is_empty(), name, consistency) {
                // Without timestamps nobody can say that a register history has snapshots.
                (true, "rw_write_skew", Consistency::SnapshotIsolation) => Validity::Unknown,
                (true, ..) => Validity::Valid,
                (false, ..) => Validity::Invalid,
            };
            assert_eq!(verdict.valid, valid, "{said}");
        }
    }
}

#[test]
fn a_register_write_skew_is_found_with_the_version_order_and_is_valid_with_snapshots() {
    let path = format!("{}/tests/golden/rw_write_skew.edn", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a golden history");
    let mut ts = 0;
    let stamped: Vec<String> = text
        .lines()
        .map(|line| match line.contains(":ok") && line.contains(":w") {
            true => {
                ts += 10;
                line.replace('}', &format!(" :ts {ts}}}"))
            }
            false => line.to_owned(),
        })
        .collect();
    let history = read_edn(stamped.join("\n").as_bytes()).expect("a history with timestamps");
    for (consistency, valid) in [
        (Consistency::StrictSerializable, Validity::Invalid),
        (Consistency::Serializable, Validity::Invalid),
        (Consistency::SnapshotIsolation, Validity::Valid),
    ] {
        let verdict = check(&history, &Options { consistency, ..Options::default() });
        assert_eq!(verdict.valid, valid, "{verdict}");
        assert_eq!(verdict.has("G2"), valid == Validity::Invalid, "{verdict}");
    }
}

#[test]
fn only_the_durability_check_sees_a_silent_loss() {
    let history = history("lost_silent");
    let options = Options { durability: true, ..Options::default() };
    let verdict = check(&history, &options);
    assert_eq!(verdict.valid, Validity::Unknown, "{verdict}");
    assert!(verdict.undecided[0].contains("not read after their last acknowledged write"));

    let last = |list: &str| {
        let text = format!(
            "{{:type :invoke :process 9 :f :txn :value [[:r 1 nil]]}}\n\
             {{:type :ok :process 9 :f :txn :value [[:r 1 {list}]]}}"
        );
        read_edn(text.as_bytes()).expect("a last read")
    };
    let verdict = check_with_last(&history, &last("[2]"), &options);
    assert_eq!(verdict.valid, Validity::Invalid);
    assert!(verdict.has("lost-write"), "{verdict}");
    assert!(verdict.anomalies[0].text.contains("1 of index 0"), "{verdict}");
    let verdict = check_with_last(&history, &last("[1 2]"), &options);
    assert_eq!(verdict.valid, Validity::Valid, "{verdict}");
}

#[test]
fn a_cycle_can_be_followed_in_text_and_drawn() {
    let verdict = verdict("stale_read", Consistency::StrictSerializable);
    let cycle = &verdict.anomalies[0].cycle;
    assert_eq!(cycle.len(), 2, "{verdict}");
    let text = verdict.to_string();
    assert!(text.contains("──rw──▶ T2: it read list 1 without the other's 2"), "{text}");
    assert!(text.contains("──realtime──▶ T1: it was over before the other began"), "{text}");
    let drawn = dot(&verdict);
    assert!(drawn.starts_with("digraph") && drawn.ends_with("}\n"), "{drawn}");
    assert!(drawn.contains("a0_0 -> a0_1 [label=\"rw\""), "{drawn}");
    assert_eq!(drawn.matches(" -> ").count(), 2);
    assert_eq!(drawn.matches('{').count(), drawn.matches('}').count());
}

#[test]
fn every_cycle_is_closed_and_as_short_as_it_can_be() {
    for (name, _) in GOLDEN {
        for anomaly in verdict(name, Consistency::StrictSerializable).anomalies {
            assert!(anomaly.cycle.len() <= 2, "{name}: {anomaly}");
            assert!(anomaly.cycle.iter().all(|step| !step.why.is_empty()), "{name}: {anomaly}");
        }
    }
}
