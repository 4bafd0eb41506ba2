//! The common checker, on the files that a run leaves: what it judges is what anybody can judge again with
//! `handfast check`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, anyhow};
use handfast_checker::{
    Format, Model, Options, Part, Verdict, check_with_last, dot, read, read_resolved,
};

/// Checks `history` with `resolved`, and that every acknowledged write is in `last`. Leaves `check.json`,
/// and what is wrong as `anomalies.txt` and `anomalies.dot`.
pub(crate) fn check_files(folder: &Path, model: Model) -> anyhow::Result<Verdict> {
    let open = |name: &str| -> anyhow::Result<BufReader<File>> {
        let path = folder.join(format!("{name}.jsonl"));
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(BufReader::new(file))
    };
    let json = Format::JsonLines;
    let history = read_resolved(open("history")?, json, open("resolved")?, json).map_err(
        |(part, error)| {
            let name = match part {
                Part::History => "history.jsonl",
                Part::Resolved => "resolved.jsonl",
            };
            anyhow!("{name} is no history: {error}")
        },
    )?;
    let last = read(open("last")?, json).context("last.jsonl is no history")?;
    let options = Options { model: Some(model), ..Options::default() };
    let verdict = check_with_last(&history, &last, &options);
    std::fs::write(folder.join("check.json"), format!("{:#}\n", verdict.to_json()))?;
    if !verdict.anomalies.is_empty() {
        std::fs::write(folder.join("anomalies.txt"), verdict.to_string())?;
        std::fs::write(folder.join("anomalies.dot"), dot(&verdict))?;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_checker::Validity;

    fn checked(history: &str, last: &str) -> Verdict {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("history", history), ("last", last), ("resolved", RESOLVED)] {
            std::fs::write(folder.path().join(format!("{name}.jsonl")), text).expect("a file");
        }
        let verdict = check_files(folder.path(), Model::Register).expect("a verdict");
        let told = folder.path().join("anomalies.dot").exists();
        assert_eq!(told, verdict.valid == Validity::Invalid);
        assert!(folder.path().join("check.json").exists());
        verdict
    }

    const HISTORY: &str = r#"{"type":"invoke","process":0,"f":"txn","value":[["w",1,1]]}
{"type":"ok","process":0,"f":"txn","value":[["w",1,1]],"ts":8}
{"type":"invoke","process":1,"f":"txn","value":[["w",1,2]]}
{"type":"info","process":1,"f":"txn","value":[["w",1,2]]}
{"type":"invoke","process":0,"f":"txn","value":[["r",1,null]]}
{"type":"ok","process":0,"f":"txn","value":[["r",1,1]]}
"#;
    const RESOLVED: &str = r#"{"type":"ok","process":1,"f":"txn","value":[["w",1,2]],"ts":16}
"#;

    fn last(value: &str) -> String {
        let line = |kind: &str, value: &str| {
            format!(r#"{{"type":"{kind}","process":9,"f":"txn","value":[["r",1,{value}]]}}"#)
        };
        format!("{}\n{}\n", line("invoke", "null"), line("ok", value))
    }

    #[test]
    fn a_run_is_judged_with_what_was_resolved_and_what_was_read_last() {
        let good = checked(HISTORY, &last("2"));
        assert_eq!(good.valid, Validity::Valid, "{good}");
        let lost = checked(HISTORY, &last("1"));
        assert!(lost.has("lost-write"), "{lost}");
        let stale = checked(&HISTORY.replace(r#"["r",1,1]"#, r#"["r",1,null]"#), &last("2"));
        assert_eq!(stale.valid, Validity::Invalid, "{stale}");
        let invented = checked(&HISTORY.replace(r#"["r",1,1]"#, r#"["r",1,7]"#), &last("2"));
        assert_eq!(invented.valid, Validity::Invalid, "{invented}");
    }
}
