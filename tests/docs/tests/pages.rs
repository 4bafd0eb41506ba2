//! The pages are true: links lead somewhere, tables list what there is, examples run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coordinator::service::errors::ServiceError;
use handfast_docs_tests::{Page, Server, folder_of, read, root, rust_files};
use wal_core::namespace::{ARRIVED_CQL, DELAYED_CQL, Namespace};
use wal_core::record::NEWEST_WRITE_VERSION;
use wal_core::{Millis, Position, ShardId, TxnId};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in folder_of("", ".md") {
        let name = page.to_str().expect("a path of text").to_owned();
        for link in Page::open(&name).links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(Path::new("")).join(file),
            };
            let there = root().join(&target).exists();
            let known = |target: &Path| {
                let target = target.to_str().expect("a path of text");
                Page::open(target).anchors().iter().any(|known| known == anchor)
            };
            if !there || (!anchor.is_empty() && !known(&target)) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// A target that says only what it must.
const TARGET: &str = "[[target]]\nname = \"t\"\nkind = \"http\"\nurl = \"http://t\"\n";

/// A namespace file that sets one thing.
fn with_setting(section: &str, key: &str, value: &str) -> String {
    let table = "[[table]]\ncql = \"CREATE TABLE t (id int PRIMARY KEY)\"\n";
    match section {
        "" => format!("name = \"n\"\n{key} = {value}\n{table}"),
        "target" => format!("name = \"n\"\n{table}{TARGET}{key} = {value}\n"),
        "delay" => {
            let later = format!("[[table]]\ncql = \"{DELAYED_CQL}\"\n");
            format!(
                "name = \"n\"\n{table}{later}{TARGET}[delay]\ntable = \"later\"\n{key} = {value}\n"
            )
        }
        "region" => {
            let arrived = format!("[[table]]\ncql = \"{ARRIVED_CQL}\"\n");
            let all: String = ["a", "b"]
                .iter()
                .map(|name| {
                    format!("[[region.all]]\nname = \"{name}\"\nservers = [\"http://{name}\"]\n")
                })
                .collect();
            let region = "[region]\nhere = \"a\"\nhome = \"a\"\ntable = \"arrived\"\n";
            let others = with_setting("delay", "after_ms", "0");
            format!("{others}{arrived}{region}{key} = {value}\n{all}")
        }
        section => format!("name = \"n\"\n[{section}]\n{key} = {value}\n{table}"),
    }
}

#[test]
fn every_setting_is_documented_with_its_default_and_range() {
    let file = with_setting("region", "term", "1");
    let defaults = Namespace::from_toml(&file).expect("a namespace");
    let spelled: toml::Table = defaults.to_toml().parse().expect("canonical TOML");
    // Where nobody has decided on it, a file does not say it.
    let newest = toml::Value::Integer(i64::from(NEWEST_WRITE_VERSION));
    let mut expected = BTreeMap::from([("write_version".to_owned(), newest)]);
    for (section, value) in &spelled {
        match value {
            toml::Value::Table(settings) => {
                // Which regions there are, and which tables are kept for what, is told in words.
                let words = ["table", "here", "home", "all"];
                let numbers = settings.iter().filter(|(key, _)| !words.contains(&&***key));
                for (key, default) in numbers {
                    expected.insert(format!("{section}.{key}"), default.clone());
                }
            }
            toml::Value::Integer(_) => {
                expected.insert(section.clone(), value.clone());
            }
            toml::Value::Array(targets) if section == "target" => {
                let settings = targets[0].as_table().expect("a target is a table");
                // What it is, and where, is told in words.
                for (key, default) in settings.iter().filter(|(_, it)| it.is_integer()) {
                    expected.insert(format!("{section}.{key}"), default.clone());
                }
            }
            _ => {} // the name and the tables
        }
    }
    let mut documented = BTreeSet::new();
    for row in Page::open("docs/operations.md").table("setting") {
        let [setting, default, range, ..] = row.as_slice() else { panic!("{row:?} is too short") };
        let value = expected.get(setting).unwrap_or_else(|| panic!("there is no {setting}"));
        let (section, key) = setting.split_once('.').unwrap_or(("", setting));
        let error = Namespace::from_toml(&with_setting(section, key, "[]"))
            .expect_err("a list is the value of no setting");
        let said = error.to_string();
        match value {
            toml::Value::Integer(value) => {
                assert_eq!(default.replace(',', ""), value.to_string(), "default of {setting}");
                let (least, most) = range.split_once(" to ").expect("a range, as in 1 to 9");
                let (least, most) = (least.replace(',', ""), most.replace(',', ""));
                let range = format!("a whole number from {least} to {most},");
                assert!(said.contains(&range), "range of {setting}: {said}");
            }
            other => {
                assert_eq!(Some(default.as_str()), other.as_str(), "default of {setting}");
                for word in range.split(", ") {
                    assert!(said.contains(&format!("{word:?}")), "values of {setting}: {said}");
                }
            }
        }
        documented.insert(setting.clone());
    }
    let expected: BTreeSet<String> = expected.into_keys().collect();
    assert_eq!(documented, expected, "the table of settings is not complete");
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let mut made = BTreeSet::new();
    for folder in ["coordinator/src", "delivery/src", "server/src"] {
        for (_, text) in rust_files(folder) {
            let quoted = text.split('"').skip(1).step_by(2);
            let metric = |word: &&str| {
                word.starts_with("handfast_")
                    && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            made.extend(quoted.filter(metric).map(str::to_owned));
        }
    }
    let documented: BTreeSet<String> = Page::open("docs/operations.md")
        .table("metric")
        .into_iter()
        .map(|row| row[0].split('{').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(documented, made);
}

#[test]
fn every_error_reason_is_documented_with_its_code() {
    let name = "n".to_owned();
    let id = TxnId::default();
    let every = [
        ServiceError::invalid("field", "wrong"),
        ServiceError::NamespaceNotFound { name: name.clone() },
        ServiceError::NamespaceUnserved { name: name.clone(), why: String::new() },
        ServiceError::TransactionNotFound { id },
        ServiceError::IdReused { id },
        ServiceError::TooOld { id, floor: Millis(1) },
        ServiceError::FromFuture { id },
        ServiceError::Overloaded { what: "it", retry_after_ms: 1 },
        ServiceError::ShardUnavailable { shard: ShardId(1) },
        ServiceError::ClocksApart { shard: ShardId(1) },
        ServiceError::ReadTimedOut { waited_ms: 1 },
        ServiceError::NotServedYet(String::new()),
        ServiceError::ShuttingDown,
        ServiceError::ConnectionAged,
        ServiceError::LogUnavailable(String::new()),
        ServiceError::PositionTrimmed { shard: ShardId(1), first: Position(2) },
        ServiceError::LogReplaced(String::new()),
        ServiceError::InvalidDefinition(String::new()),
        ServiceError::NamespaceExists { name: name.clone() },
        ServiceError::ChangeRefused(String::new()),
        ServiceError::VersionConflict { name, expected: 1, found: 2 },
        ServiceError::ControlUnavailable(String::new()),
        ServiceError::Internal(String::new()),
    ];
    let expected: BTreeSet<(String, String)> = every
        .iter()
        .map(|error| {
            let (code, reason) = error.code_and_reason();
            // As gRPC spells codes: InvalidArgument is INVALID_ARGUMENT.
            let mut spelled = String::new();
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() && !spelled.is_empty() {
                    spelled.push('_');
                }
                spelled.push(letter.to_ascii_uppercase());
            }
            (reason.to_owned(), spelled)
        })
        .collect();
    let declared = read("proto/src/lib.rs").matches(": &str = \"").count();
    let others = 2; // the domain and the endpoint
    assert_eq!(expected.len(), declared - others, "a reason has no error above");
    let table = Page::open("docs/api.md").table("reason");
    let documented = table.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(expected, documented);
}

/// Commands that go on running, or take long.
const NOT_RUN: [&str; 3] = ["handfast serve", "handfast demo", "handfast bench"];

#[test]
fn the_commands_of_the_pages_run() {
    for page in ["docs/api.md", "docs/operations.md", "docs/guarantees.md"] {
        let server = Server::start();
        for block in Page::open(page).blocks("sh") {
            if !NOT_RUN.iter().any(|command| block.contains(command))
                && block.contains("handfast ")
                && !block.contains("cargo ")
            {
                server.check(&block);
            }
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let server = Server::start();
    let said = server.check("handfast --help");
    let documented = Page::open("docs/operations.md").table("exit code");
    let codes: Vec<&str> = documented.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5"]);
    for row in documented {
        assert!(said.contains(&format!("{} {}", row[0], row[1])), "{row:?} is not in:\n{said}");
    }
}

/// What stands in backquotes, fenced blocks left out.
fn quoted(page: &str) -> Vec<String> {
    let page = Page::open(page);
    let mut fenced = false;
    let mut found = Vec::new();
    for line in page.text().lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Words joined by a sign, at least so many.
fn is_joined(text: &str, sign: char, least: usize) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.split(sign).count() >= least && text.split(sign).all(word)
}

#[test]
fn the_evidence_that_is_named_exists() {
    let sources = rust_files("");
    let stories = folder_of("", ".story");
    let rules = read("tests/model/src/rule.rs");
    let crates: BTreeSet<String> = folder_of("", "Cargo.toml")
        .into_iter()
        .filter_map(|path| {
            let manifest: toml::Table = read(path).parse().expect("a manifest");
            Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
        })
        .collect();
    let mut missing = Vec::new();
    for page in ["ARCHITECTURE.md", "docs/guarantees.md"] {
        for name in quoted(page) {
            let exists = if name.starts_with("handfast_") && is_joined(&name, '_', 3) {
                sources.iter().any(|(_, text)| text.contains(&format!("\"{name}\"")))
            } else if is_joined(&name, '_', 4) {
                let story = format!("{name}.story");
                stories.iter().any(|path| path.ends_with(&story))
                    || sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")))
            } else if is_joined(&name, '-', 2) {
                crates.contains(&name) || rules.contains(&format!("\"{name}\""))
            } else if name.ends_with(".rs") {
                sources.iter().any(|(path, _)| path.ends_with(&name))
            } else if let Some((_, function)) = name.rsplit_once("::") {
                sources.iter().any(|(_, text)| text.contains(function))
            } else {
                true
            };
            if !exists {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there:\n{}", missing.join("\n"));
}
