//! Nothing is left running by a process that dies.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handfast_stack::{Server, Stack, StackSpec};

const PATIENCE: Duration = Duration::from_secs(30);

fn postgres() -> Stack {
    Stack::start(&StackSpec { postgres: true, ..StackSpec::default() }).expect("a stack")
}

fn process(stack: &Stack) -> PathBuf {
    let pid = stack.states()[0].pid.expect("it runs");
    Path::new("/proc").join(pid.to_string())
}

#[test]
fn servers_outlive_the_thread_that_started_them_and_end_with_the_stack() {
    let stack = std::thread::spawn(postgres).join().expect("started");
    // The kernel would have killed it by now.
    std::thread::sleep(Duration::from_millis(300));
    assert!(stack.is_alive(Server::Postgres));
    let (process, folder) = (process(&stack), stack.folder().to_owned());
    drop(stack);
    assert!(!process.exists(), "it ended with the stack");
    assert!(!folder.exists(), "its files are gone");
}

#[test]
fn servers_end_with_a_test_that_panics() {
    let (told, hears) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let stack = postgres();
        told.send(process(&stack)).expect("heard");
        panic!("as a failed assertion does");
    });
    assert!(panicked.join().is_err());
    assert!(!hears.recv().expect("told").exists());
}

/// This test starts itself again in another process, which starts a server and is killed.
#[test]
fn servers_end_with_a_process_that_is_killed() {
    const HOLD: &str = "HANDFAST_STACK_TEST_HOLDS";
    if std::env::var_os(HOLD).is_some() {
        let stack = postgres();
        println!("\nholding {} {}", process(&stack).display(), stack.folder().display());
        std::thread::sleep(PATIENCE);
        return;
    }
    let mut holder = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "servers_end_with_a_process_that_is_killed", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("started again");
    let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    let holding = lines.find_map(|line| {
        let line = line.expect("text");
        let (process, folder) = line.strip_prefix("holding ")?.split_once(' ')?;
        Some((PathBuf::from(process), PathBuf::from(folder)))
    });
    let (process, folder) = holding.expect("it holds a server");
    assert!(process.exists());
    holder.kill().expect("killed");
    holder.wait().expect("it ended");
    let end = Instant::now() + PATIENCE;
    while process.exists() {
        assert!(Instant::now() < end, "{} outlived its process", process.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody was left to do it.
    std::fs::remove_dir_all(folder).expect("its files are there");
}
