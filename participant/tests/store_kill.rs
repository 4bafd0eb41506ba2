//! `kill -9` while the embedded store applies, flushes and syncs: nothing answered is lost or torn.
//!
//! The test starts itself as the process to be killed, over and over on the same folder.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use participant::store::TableStore;
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

const FOLDER: &str = "HANDFAST_TEST_STORE";
const KILLS: u64 = 12;
const ROWS: u32 = 300;
const COLUMNS: u16 = 4;

fn open(folder: &Path) -> Result<EmbeddedStore, OpenError> {
    // Small, so that the kill falls into flushes and compactions too.
    let options = EmbeddedOptions { write_buffer_bytes: 256 << 10, ..EmbeddedOptions::default() };
    EmbeddedStore::open(folder, options)
}

fn key(row: u32) -> RowKey {
    RowKey {
        table: TableId(row % 2),
        partition: row.to_be_bytes().to_vec().into(),
        clustering: Default::default(),
    }
}

/// Generation `number` of a row: every cell says which.
fn generation(row: u32, number: i64) -> RowMutation {
    let cell = |column| Cell {
        column: ColumnId(column),
        timestamp: Timestamp(number),
        value: Some(number.to_be_bytes().repeat(5).into()),
    };
    let delta = Row { cells: (0..COLUMNS).map(cell).collect(), ..Row::default() };
    RowMutation { key: key(row), delta }
}

/// The generation of every row. Fails if one is torn.
fn generations(store: &EmbeddedStore) -> Vec<i64> {
    let keys: Vec<RowKey> = (0..ROWS).map(key).collect();
    let rows = store.read(&keys).expect("reads");
    rows.iter()
        .zip(0..)
        .map(|(found, row)| {
            let Some(number) = found.newest() else { return 0 };
            assert_eq!(*found, generation(row, number.0).delta, "row {row} is torn");
            number.0
        })
        .collect()
}

/// Not a test by itself: the process that is killed. It says what it was answered.
#[test]
#[ignore = "started by the test below"]
fn apply_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open(Path::new(&folder)).expect("the store opens after every kill");
    // The generation that the last kill tore is made whole first: there are never three.
    let mut number = generations(&store).into_iter().min().expect("there are rows");
    let mut answers = std::io::stdout();
    loop {
        number += 1;
        let batch: Vec<_> = (0..ROWS).map(|row| generation(row, number)).collect();
        for part in batch.chunks(100) {
            store.apply(part).expect("applies");
        }
        if number % 7 == 0 {
            store.sync().expect("syncs");
        }
        writeln!(answers, "answered {number}").expect("the test listens");
    }
}

/// Runs the process, kills it after `wait`, and returns the last generation that it was answered.
fn run_and_kill(folder: &Path, wait: Duration) -> i64 {
    let mut child = Command::new(std::env::current_exe().expect("the test's own program"))
        .args(["--ignored", "--exact", "apply_until_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = child.stdout.take().expect("it is piped");
    let answers = std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        // The last line may be cut off: only whole numbers with their line's end count.
        lines.filter_map(|line| line.strip_prefix("answered ")?.parse().ok()).fold(0i64, i64::max)
    });
    std::thread::sleep(wait);
    child.kill().expect("it still runs"); // SIGKILL
    child.wait().expect("it is gone");
    answers.join().expect("the reader ends with the pipe")
}

#[test]
fn nothing_answered_is_lost_or_torn_by_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let mut last = 0;
    for kill in 0..KILLS {
        // From kills while the store is being made to kills well into compactions.
        let answered = run_and_kill(&folder, Duration::from_millis(3 + kill * kill * 5));
        let store = open(&folder).expect("the store opens after every kill");
        let found = generations(&store);
        let oldest = *found.iter().min().expect("there are rows");
        assert!(oldest >= answered.max(last), "answered {answered}, earlier {last}: {oldest}");
        assert!(found.iter().all(|number| (oldest..=oldest + 1).contains(number)));
        last = oldest;
    }
    assert!(last > 20, "too little was applied to mean anything: {last}");
}
