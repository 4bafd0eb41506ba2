//! The models, the stores and logs in memory, and the embedded ones: the same answers to every script.

use handfast_fidelity::script::{Player, Script, check, record};
use handfast_fidelity::{log, seed, tables};
use handfast_sim::fidelity::{ModelBroker, ModelLog, ModelTables};
use participant::store::TableStore;
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use participant::store::memory::MemoryStore;
use wal_core::log::memory::MemoryLog;
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::log::{IntentLog, ShardBatch};
use wal_core::{Nonce, TableId};

/// Scripts of each kind that are drawn.
const DRAWN: u64 = 5_000;

/// The simulator's tables.
#[derive(Default)]
struct Model(ModelTables);

impl tables::Engine for Model {
    fn store(&self) -> &dyn TableStore {
        &self.0
    }

    fn drop_table(&self, table: TableId) {
        self.0.drop_table(table);
    }
}

/// A store that has its tables for ever.
struct Whole<S>(S);

impl<S: TableStore> tables::Engine for Whole<S> {
    fn store(&self) -> &dyn TableStore {
        &self.0
    }

    fn drop_table(&self, _: TableId) {
        panic!("this store drops no table");
    }
}

fn play_rows(name: &str, engine: &dyn tables::Engine, number: usize, script: &Script) {
    check(name, script, &mut tables::Rows::new(engine, format!("{number}-")));
}

#[test]
fn tables_answer_what_the_scripts_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = EmbeddedStore::open(folder.path(), EmbeddedOptions::default());
    let embedded = Whole(embedded.expect("an empty folder"));
    let memory = Whole(MemoryStore::default());
    let scripts = tables::scripts();
    assert!(scripts.len() >= 12, "{} scripts", scripts.len());
    for (number, script) in scripts.iter().enumerate() {
        play_rows("the model", &Model::default(), number, script);
        if !tables::drops(script) {
            play_rows("the store in memory", &memory, number, script);
            play_rows("the embedded store", &embedded, number, script);
        }
    }
}

#[test]
fn tables_answer_alike_to_scripts_that_are_drawn() {
    let first = seed("tables_answer_alike_to_scripts_that_are_drawn");
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = EmbeddedStore::open(folder.path(), EmbeddedOptions::default());
    let embedded = Whole(embedded.expect("an empty folder"));
    let memory = Whole(MemoryStore::default());
    let mut seen = 0;
    for number in 0..2 * DRAWN {
        let seed = first.wrapping_add(number);
        let rising = number % 2 == 1;
        let steps = if rising { tables::rising(seed) } else { tables::random(seed) };
        let model = Model::default();
        let rows = &mut tables::Rows::new(&model, String::new());
        let script = record(format!("seed {seed}, rising: {rising}"), steps, rows);
        let number = usize::try_from(number).expect("few");
        play_rows("the store in memory", &memory, number, &script);
        play_rows("the embedded store", &embedded, number, &script);
        seen += if rising { memory_is_right(&script) } else { 0 };
    }
    assert!(seen > 1_000, "memory knew only {seen} times");
}

/// What was kept in memory is what is read next, unless memory says that it does not know. How often it knew.
fn memory_is_right(script: &Script) -> usize {
    let mut known = 0;
    for pair in script.lines.windows(2) {
        if pair[0].step.starts_with("kept") && !pair[0].answer.ends_with("undecided") {
            assert_eq!(pair[0].answer, pair[1].answer, "{}: {:#?}", script.name, script.lines);
            known += 1;
        }
    }
    known
}

/// The simulator's log.
struct ModelEngine(ModelBroker);

impl log::Engine for ModelEngine {
    fn open(&self) -> Box<dyn IntentLog> {
        let log: ModelLog = self.0.open();
        Box::new(log)
    }

    fn land(&self, batch: &ShardBatch) {
        self.0.land(batch);
    }
}

/// The log in memory, which takes its owners at their word.
struct MemoryEngine(MemoryLog);

impl log::Engine for MemoryEngine {
    fn open(&self) -> Box<dyn IntentLog> {
        Box::new(self.0.clone())
    }

    fn land(&self, batch: &ShardBatch) {
        self.0.land(batch);
    }

    fn keeps_junk(&self) -> bool {
        false
    }
}

/// The log in files, which has one owner.
struct SegmentEngine(tempfile::TempDir);

impl log::Engine for SegmentEngine {
    fn open(&self) -> Box<dyn IntentLog> {
        let log = SegmentLog::open(self.0.path(), &SegmentOptions::default());
        Box::new(log.expect("a folder of its own"))
    }

    fn land(&self, _: &ShardBatch) {
        panic!("nobody else writes to this log");
    }
}

fn play_owners(name: &str, engine: &dyn log::Engine, script: &Script) {
    let owners: &mut dyn Player = &mut log::Owners::new(engine, 0);
    check(name, script, owners);
}

/// Junk is not for a log that takes its owners at their word.
fn is_without_junk(script: &Script) -> bool {
    script.lines.iter().all(|line| !line.step.starts_with("junk"))
}

#[test]
fn logs_answer_what_the_scripts_say() {
    let scripts = log::scripts();
    assert!(scripts.len() >= 8, "{} scripts", scripts.len());
    let mut of_one_owner = 0;
    for script in &scripts {
        play_owners("the model", &ModelEngine(ModelBroker::new(log::SHARDS)), script);
        if is_without_junk(script) {
            let memory = MemoryEngine(MemoryLog::new(Nonce(1)));
            play_owners("the log in memory", &memory, script);
        }
        if log::is_of_one_owner(script) {
            let folder = tempfile::tempdir().expect("a folder");
            play_owners("the log in files", &SegmentEngine(folder), script);
            of_one_owner += 1;
        }
    }
    assert!(of_one_owner >= 2);
}

#[test]
fn logs_answer_alike_to_scripts_that_are_drawn() {
    let first = seed("logs_answer_alike_to_scripts_that_are_drawn");
    let mut answers = String::new();
    for number in 0..DRAWN {
        let seed = first.wrapping_add(number);
        let model = ModelEngine(ModelBroker::new(log::SHARDS));
        let mut owners = log::Owners::new(&model, 0);
        let script = record(format!("seed {seed}"), log::random(seed), &mut owners);
        if is_without_junk(&script) {
            let memory = MemoryEngine(MemoryLog::new(Nonce(1)));
            play_owners("the log in memory", &memory, &script);
        }
        answers.extend(script.lines.into_iter().map(|line| line.answer + "\n"));
    }
    for answer in ["leads 5", "lost", "durable durable", "failed", "over", "trimmed", "("] {
        assert!(answers.contains(answer), "no script came to {answer:?}");
    }
}
