//! A server of the real program, on free ports and a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test, built if it is older than its sources.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("this test is a file");
        let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--locked", "--quiet", "-p", "handfast"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(folder.parent().expect("the folder of a profile"));
        let built = build.current_dir(crate::root()).status().expect("cargo can be run");
        assert!(built.success(), "the program was not built");
        folder.join("handfast")
    })
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    endpoint: String,
    folder: TempDir,
}

impl Server {
    /// Starts a server that has no namespace yet, and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Both are held until both are drawn, so that they differ.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [grpc, http] = ports.map(|port| port.local_addr().expect("the address of a port"));
        let log = std::fs::File::create(folder.path().join("server.log")).expect("a new file");
        let child = Command::new(program())
            .args(["serve", "--listen", &grpc.to_string(), "--http", &http.to_string()])
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        let mut server = Self { child, endpoint: format!("http://{grpc}"), folder };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while !self.run("handfast namespace list --timeout 1s").status.success() {
            let ended = self.child.try_wait().expect("the server's state");
            let log = std::fs::read_to_string(self.folder.path().join("server.log"));
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "the server does not serve ({ended:?}); its log:\n{}",
                log.unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it serves.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Runs a script of the shell as a reader of the documentation would: in the repository, `handfast`
    /// on the path, this server as the one to talk to. It ends with the first command that fails.
    pub fn run(&self, script: &str) -> Output {
        let folder = program().parent().expect("the folder of the program");
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-eu", "-c", script])
            .current_dir(crate::root())
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("HANDFAST_ENDPOINT", &self.endpoint)
            .output()
            .expect("sh can be run")
    }

    /// As [`Server::run`], for a script that must succeed: what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn check(&self, script: &str) -> String {
        let output = self.run(script);
        let (out, error) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{script}\nfailed: {}\n{out}{error}", output.status);
        out
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
