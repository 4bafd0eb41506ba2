//! Jars from Maven Central, kept in a folder of the user's, complete or absent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::process::tail;

/// What runs once Maven has fetched it.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// What people call it.
    pub title: &'static str,
    /// The folder in the cache, with the version.
    pub folder: &'static str,
    /// Group, artifact and version of each root; what they need is found by Maven.
    coordinates: &'static [[&'static str; 3]],
    /// About how much is fetched, megabytes.
    megabytes: u32,
}

/// Kafka's broker and controller.
pub const KAFKA: Engine = Engine {
    title: "Kafka 4.1.1",
    folder: "kafka-4.1.1",
    coordinates: &[
        ["org.apache.kafka", "kafka_2.13", "4.1.1"],
        ["org.slf4j", "slf4j-simple", "1.7.36"],
    ],
    megabytes: 43,
};

/// Cassandra.
pub const CASSANDRA: Engine = Engine {
    title: "Cassandra 5.0.8",
    folder: "cassandra-5.0.8",
    coordinates: &[["org.apache.cassandra", "cassandra-all", "5.0.8"]],
    megabytes: 67,
};

const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.10.0:copy-dependencies";
/// How long one run of Maven may take.
const MAVEN_PATIENCE: Duration = Duration::from_secs(600);
/// Downloads fail now and then.
const MAVEN_TRIES: usize = 3;
/// What to install where Java is missing.
const INSTALL_JAVA: &str = "apt-get install default-jdk-headless";

/// Where fetched engines are kept: `HANDFAST_ENGINES`, or `handfast/engines` in the user's cache folder.
pub fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HANDFAST_ENGINES") {
        return Ok(folder.into());
    }
    let caches = match std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .context("there is no home folder to keep engines in: set HANDFAST_ENGINES")?
            .join(".cache"),
    };
    Ok(caches.join("handfast").join("engines"))
}

/// A program of that name on the path.
pub(crate) fn program(name: &str, install: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.is_file());
    found.with_context(|| format!("{name} is missing: {install}"))
}

/// The Java that runs engines.
pub(crate) fn java() -> anyhow::Result<PathBuf> {
    program("java", INSTALL_JAVA)
}

impl Engine {
    /// Whether it is in the cache.
    pub fn is_fetched(&self) -> anyhow::Result<bool> {
        Ok(cache()?.join(self.folder).is_dir())
    }

    /// The folder of its jars. Fetches them if they are not in the cache; of several processes that want
    /// them one fetches and the others wait.
    pub fn fetch(&self) -> anyhow::Result<PathBuf> {
        let cache = cache()?;
        let jars = cache.join(self.folder);
        if jars.is_dir() {
            return Ok(jars);
        }
        fs::create_dir_all(&cache)
            .with_context(|| format!("cannot create the cache folder {}", cache.display()))?;
        let lock = File::create(cache.join(format!("{}.lock", self.folder)))?;
        lock.lock().context("cannot lock the cache folder")?;
        if jars.is_dir() {
            return Ok(jars);
        }
        java()?;
        let maven = program("mvn", "apt-get install maven")?;
        eprintln!("fetching {} with Maven, about {} MB, once", self.title, self.megabytes);
        let begun = Instant::now();
        let making = tempfile::Builder::new().prefix(".making-").tempdir_in(&cache)?;
        fs::write(making.path().join("pom.xml"), self.pom())?;
        let log = cache.join(format!("{}.maven.log", self.folder));
        let made = making.path().join("jars");
        let mut tried = 0;
        loop {
            tried += 1;
            match run_maven(&maven, making.path(), &made, &log) {
                Ok(()) => break,
                Err(error) if tried < MAVEN_TRIES => eprintln!("{error:#}; trying again"),
                Err(error) => return Err(error.context(format!("cannot fetch {}", self.title))),
            }
        }
        ensure!(holds_jars(&made), "Maven copied no jars; its log is {}", log.display());
        fs::rename(&made, &jars)?;
        eprintln!("fetched {} in {:.0} s", self.title, begun.elapsed().as_secs_f64());
        Ok(jars)
    }

    fn pom(&self) -> String {
        let dependencies: String = self
            .coordinates
            .iter()
            .map(|[group, artifact, version]| {
                format!(
                    "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                     <version>{version}</version></dependency>"
                )
            })
            .collect();
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
             <groupId>handfast</groupId><artifactId>engine</artifactId><version>1</version>\
             <dependencies>{dependencies}</dependencies></project>"
        )
    }
}

fn holds_jars(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|files| {
        files.flatten().any(|file| file.path().extension().is_some_and(|kind| kind == "jar"))
    })
}

fn run_maven(maven: &Path, folder: &Path, jars: &Path, log: &Path) -> anyhow::Result<()> {
    let said = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(maven)
        .args(["-q", "-B", "-U", "-f", "pom.xml", COPY_DEPENDENCIES, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .context("cannot start mvn")?;
    let end = Instant::now() + MAVEN_PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!(
                "Maven did not end in {} s; its log is {}",
                MAVEN_PATIENCE.as_secs(),
                log.display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(
        status.success(),
        "Maven failed with {status}; its log is {}, and ends with:\n{}",
        log.display(),
        tail(log)
    );
    Ok(())
}
