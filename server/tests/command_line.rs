//! The command line against a real server process: data, exit codes, draining.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_handfast");

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A server on a folder of its own.
struct Server {
    child: Child,
    grpc: u16,
    http: u16,
}

impl Server {
    fn start(data: &Path) -> Self {
        let (grpc, http) = (free_port(), free_port());
        let child = serve(data, grpc, http).spawn().expect("it starts");
        let server = Self { child, grpc, http };
        let end = Instant::now() + Duration::from_secs(30);
        while server.get("/readyz").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < end, "it does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// An HTTP answer, head and body.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(arguments)
            .env("HANDFAST_ENDPOINT", format!("http://127.0.0.1:{}", self.grpc))
            .env("HANDFAST_NAMESPACE", "bank")
            .stdin(Stdio::null())
            .output()
            .expect("it runs")
    }

    /// Runs a command that must end with this code; gives what it printed as JSON, if it did.
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn terminate(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("it runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn serve(data: &Path, grpc: u16, http: u16) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--data").arg(data);
    command.args(["--listen", &format!("127.0.0.1:{grpc}")]);
    command.args(["--http", &format!("127.0.0.1:{http}")]);
    command.arg("--namespace").arg(example("bank.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn every_verb_prints_data_and_ends_with_its_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("data"));
    let (accounts, transfer) = (example("open-accounts.json"), example("transfer.json"));

    let all = server.json(0, &["namespace", "list"]);
    assert_eq!(all[0]["name"], "bank");
    assert_eq!(server.json(0, &["namespace", "describe", "bank"])["shards"], 16);
    assert_eq!(
        server.json(0, &["namespace", "validate", text(&example("bank.toml"))])["exists"],
        true
    );
    server.json(4, &["namespace", "create", text(&example("bank.toml"))]);
    server.json(3, &["namespace", "describe", "nowhere"]);
    server
        .json(4, &["namespace", "change", text(&example("bank.toml")), "--expected-version", "9"]);
    assert_eq!(server.json(0, &["status"]).as_array().map(Vec::len), Some(16));

    // Without the accounts both conditions of the transfer fail, each on its own shard: either may be
    // the one that is told. With them it commits.
    let aborted = server.json(4, &["submit", text(&transfer)]);
    assert_eq!(aborted["outcome"], "aborted");
    let failed = aborted["reason"]["condition_failed"].as_u64().expect("which condition");
    assert!(failed < 2, "{aborted}");
    let plan = server.json(0, &["submit", text(&accounts), "--dry-run"]);
    assert_eq!((&plan["valid"], &plan["rows"]), (&true.into(), &2.into()));
    server.json(0, &["submit", text(&accounts), "--wait", "applied"]);
    let committed = server.json(0, &["submit", text(&transfer)]);
    let id = committed["id"].as_str().expect("an id");
    let again = server.json(0, &["submit", text(&transfer), "--id", id]);
    assert_eq!(committed["commit_timestamp_us"], again["commit_timestamp_us"]);
    server.json(4, &["submit", text(&accounts), "--id", id]);
    server.json(3, &["submit", text(&transfer), "--namespace", "nowhere"]);
    let logged = server.json(0, &["submit", text(&accounts), "--wait", "logged"]);
    assert!(logged["id"].is_string());

    server.json(0, &["submit", text(&accounts)]);
    let rows = server.json(0, &["read", "accounts", "alice"]);
    assert_eq!((&rows[0]["exists"], &rows[0]["columns"]["balance"]), (&true.into(), &100.into()));
    let row = r#"{"table": "accounts", "key": {"id": "nobody"}}"#;
    assert_eq!(server.json(0, &["read", "--row", row])[0]["exists"], false);
    server.json(2, &["read", "transfers", "alice"]);
    server.json(2, &["read"]);

    assert_eq!(server.json(0, &["outcome", id])["outcome"], "committed");
    assert_eq!(server.json(0, &["outcome", id, "--wait", "applied"])["applied"], true);
    let unseen = "01a0c0de-0000-7000-8000-000000000001";
    let explained = server.run(&["explain", id, "-o", "jsonl"]);
    assert!(
        explained.status.success() && explained.stdout.iter().filter(|b| **b == b'\n').count() >= 2
    );
    server.json(3, &["explain", unseen]);
    assert_eq!(server.json(0, &["txn", "list", "--unresolved"]), Value::Array(Vec::new()));
    server.json(1, &["submit", text(&example("bank.toml"))]); // not JSON
    assert!(server.run(&["version"]).status.success());
    assert!(server.run(&["completions", "bash"]).status.success());

    for (path, expected) in [
        ("/livez", "200 OK"),
        ("/version", "200 OK"),
        ("/metrics", "handfast_submissions_total{outcome=\"committed\"}"),
        ("/nothing", "application/problem+json"),
    ] {
        let answer = server.get(path).expect("an answer");
        assert!(answer.contains(expected), "{path}: {answer}");
    }
    assert_eq!(server.terminate(), Some(0), "SIGTERM ends it in order");
    server.json(5, &["outcome", id]); // nobody listens any more
}

#[test]
fn an_unseen_id_is_unknown_until_it_is_barred() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    let drawn = server.json(0, &["submit", text(&example("open-accounts.json")), "--dry-run"]);
    let id = drawn["id"].as_str().expect("an id");
    assert_eq!(server.json(5, &["outcome", id])["outcome"], "unknown");
    assert_eq!(server.json(0, &["outcome", id, "--fence"])["outcome"], "aborted");
    let barred = server.json(4, &["submit", text(&example("open-accounts.json")), "--id", id]);
    assert_eq!(barred["reason"]["fenced"], true);
}

#[test]
fn a_taken_port_and_a_taken_folder_are_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let said = |mut command: Command| {
        let output = command.stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let port = said(serve(&folder.path().join("other"), server.grpc, free_port()));
    assert!(port.contains(&server.grpc.to_string()) && port.contains("--listen"), "{port}");
    let in_use = said(serve(&data, free_port(), free_port()));
    assert!(in_use.contains(text(&data)) && in_use.contains("--data"), "{in_use}");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("it can be written");
    let no_folder = said(serve(&file.join("data"), free_port(), free_port()));
    assert!(no_folder.contains("--data"), "{no_folder}");
}
