//! `handfast check`: exit codes, output, and what is said of bad input.

use std::path::Path;

use handfast_e2e::run;
use serde_json::Value as Json;
use tempfile::TempDir;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jepsen/checker/tests/golden");
    folder.join(format!("{name}.edn")).to_str().expect("a path of text").to_owned()
}

/// A file in a temporary folder.
fn file(folder: &TempDir, name: &str, text: &str) -> anyhow::Result<String> {
    let path = folder.path().join(name);
    std::fs::write(&path, text)?;
    Ok(path.to_str().expect("a path of text").to_owned())
}

const INVOKE: &str = "{:type :invoke, :process 0, :f :txn, :value [[:append 1 1]]}\n";
const OK: &str = "{:type :ok, :process 0, :f :txn, :value [[:append 1 1]]}\n";

#[tokio::test]
async fn valid_exits_0_invalid_1_and_undecided_5() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let said = run(&["check", &golden("info_then_visible_ok"), "-o", "table"]).await?;
    assert!(said.expect_success().starts_with("valid: strict-serializable as append\n"));

    let drawn = folder.path().join("cycles.dot");
    let dot = drawn.to_str().expect("a path of text");
    let said = run(&["check", &golden("stale_read"), "-o", "table", "--dot", dot]).await?;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.out.starts_with("INVALID") && said.out.contains("G-single-realtime"), "{said:#?}");
    assert!(said.out.contains("──realtime──▶"), "{said:#?}");
    assert!(std::fs::read_to_string(drawn)?.contains("label=\"G-single-realtime\""));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checking.md");
    assert!(
        std::fs::read_to_string(page)?.contains(said.out.trim_end()),
        "the page differs: {said:#?}"
    );
    run(&["check", &golden("stale_read"), "--consistency", "serializable"]).await?.expect_success();

    let said = run(&["check", &golden("write_skew"), "-o", "json"]).await?;
    assert_eq!(said.code, Some(1), "{said:#?}");
    let json: Json = serde_json::from_str(&said.out)?;
    assert_eq!((&json["valid"], &json["anomalies"][0]["kind"]), (&false.into(), &"G2".into()));
    assert_eq!(json["anomalies"][0]["cycle"][0]["relation"], "rw");
    let snapshots = ["--consistency", "snapshot-isolation", "--model", "append"];
    let [one, two, three, four] = snapshots;
    run(&["check", &golden("write_skew"), one, two, three, four]).await?.expect_success();

    let said = run(&["check", &golden("lost_silent"), "--durability", "-o", "table"]).await?;
    said.expect_failure(5, &["unknown, which is not valid"]);
    assert!(said.out.starts_with("UNKNOWN") && !said.out.contains("\nvalid"), "{said:#?}");
    let said = run(&["check", &golden("lost_silent"), "--at-least", "3", "-o", "json"]).await?;
    said.expect_failure(5, &[]);
    assert_eq!(serde_json::from_str::<Json>(&said.out)?["valid"], "unknown");

    let last = "{:type :invoke :process 9 :f :txn :value [[:r 1 nil]]}\n\
                {:type :ok :process 9 :f :txn :value [[:r 1 [2]]]}\n";
    let last = file(&folder, "last.edn", last)?;
    let said = run(&["check", &golden("lost_silent"), "--last", &last, "-o", "table"]).await?;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.out.contains("lost-write"), "{said:#?}");
    Ok(())
}

#[tokio::test]
async fn json_lines_are_read_by_their_name_and_lost_operations_resolved() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let lines = "{\"type\":\"invoke\",\"process\":0,\"f\":\"txn\",\"value\":[[\"append\",1,1]]}\n\
                 {\"type\":\"info\",\"process\":0,\"f\":\"txn\",\"value\":[[\"append\",1,1]]}\n";
    let history = file(&folder, "history.jsonl", lines)?;
    run(&["check", &history]).await?.expect_failure(5, &["unknown"]);
    let resolved = file(&folder, "resolved.edn", OK)?;
    let said = run(&["check", &history, "--resolved", &resolved]).await?;
    assert_eq!(serde_json::from_str::<Json>(&said.expect_success())?["ok"], 1);
    let twice = file(&folder, "twice.edn", &format!("{OK}{OK}"))?;
    run(&["check", &history, "--resolved", &twice])
        .await?
        .expect_failure(2, &["twice.edn: line 2"]);
    Ok(())
}

#[tokio::test]
async fn bad_input_exits_2_with_its_place_and_what_to_do() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    for (text, words) in [
        ("", ["line 1", "no operation"]),
        (&format!("{INVOKE}{{:type :ok, :pro"), ["line 2, column 17", "cut off"]),
        (&format!("{INVOKE}{INVOKE}"), ["line 2", "a process of its own"]),
        ("{:type :invoke]}", ["line 1, column 15", "closes nothing"]),
        (OK, ["line 1", "has not begun"]),
        (&INVOKE.replace(":append", ":frob"), ["[:frob 1 1]", "[:append key element]"]),
    ] {
        let history = file(&folder, "history.edn", text)?;
        run(&["check", &history]).await?.expect_failure(2, &["history.edn: ", words[0], words[1]]);
    }
    // What never returned is unknown; with nothing that happened there is nothing to call valid.
    let history = file(&folder, "history.edn", INVOKE)?;
    run(&["check", &history]).await?.expect_failure(5, &["unknown"]);
    run(&["check", "nowhere.edn"]).await?.expect_failure(2, &["cannot open nowhere.edn"]);
    run(&["check", &history, "--model", "queue"]).await?.expect_failure(2, &["append", "register"]);
    Ok(())
}
