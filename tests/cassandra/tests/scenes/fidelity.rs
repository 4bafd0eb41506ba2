//! Real nodes give the same answers to the same scripts as the models of the tables do.

use std::time::{Duration, Instant};

use handfast_cassandra_tests::{Cql, options, store};
use handfast_fidelity::script::{check, record};
use handfast_fidelity::seed;
use handfast_fidelity::tables::{
    COLUMNS, Engine, GOES, Rows, drops, random, rising, scripts, tables,
};
use handfast_sim::fidelity::ModelTables;
use participant::store::TableStore;
use participant::store::cassandra::{CassandraStore, Cluster};
use wal_core::value::Value;
use wal_core::{Cell, RowMutation, TableId};

use super::Scene;

const KEYSPACE: &str = "fidelity";
/// How long scripts are drawn.
const DRAWING: Duration = Duration::from_secs(30);
/// Fewer than any machine plays in that time.
const LEAST_DRAWN: u64 = 20;

struct Nodes<'a> {
    store: CassandraStore,
    cql: &'a Cql,
}

impl Engine for Nodes<'_> {
    fn store(&self) -> &dyn TableStore {
        &self.store
    }

    /// By an ordinary client, in statements that people would write.
    fn others(&self, mutation: &RowMutation) {
        for statement in statements(mutation) {
            self.cql.run(&statement);
        }
    }

    fn drop_table(&self, table: TableId) {
        assert_eq!(table, GOES);
        self.cql.run(&format!("DROP TABLE {KEYSPACE}.goes"));
    }
}

fn statements(mutation: &RowMutation) -> Vec<String> {
    let RowMutation { key, delta } = mutation;
    let name = tables()[key.table.0 as usize].name().to_owned();
    let text = |bytes: &[u8]| format!("'{}'", String::from_utf8_lossy(bytes));
    let (p, c) = (text(&key.partition), text(&key.clustering[4..]));
    let value = |cell: &Cell| match &cell.value {
        None => "null".to_owned(),
        Some(bytes) if cell.column == COLUMNS[2].1 => {
            let bytes = bytes.as_ref().try_into().expect("a bigint has eight bytes");
            Value::BigInt(i64::from_be_bytes(bytes)).to_string()
        }
        Some(bytes) => text(bytes),
    };
    let column =
        |cell: &Cell| COLUMNS.iter().find(|(_, id)| *id == cell.column).expect("a column").0;
    let mut all = Vec::new();
    if let Some(at) = delta.deleted_at {
        all.push(format!(
            "DELETE FROM {KEYSPACE}.{name} USING TIMESTAMP {} WHERE p = {p} AND c = {c}",
            at.0
        ));
    }
    let inserted = |cell: &&Cell| Some(cell.timestamp) == delta.marker_at;
    if let Some(at) = delta.marker_at {
        let cells: Vec<&Cell> = delta.cells.iter().filter(inserted).collect();
        let names: String = cells.iter().map(|cell| format!(", {}", column(cell))).collect();
        let values: String = cells.iter().map(|cell| format!(", {}", value(cell))).collect();
        all.push(format!(
            "INSERT INTO {KEYSPACE}.{name} (p, c{names}) VALUES ({p}, {c}{values}) USING TIMESTAMP {}",
            at.0
        ));
    }
    for cell in delta.cells.iter().filter(|cell| !inserted(cell)) {
        all.push(format!(
            "UPDATE {KEYSPACE}.{name} USING TIMESTAMP {} SET {} = {} WHERE p = {p} AND c = {c}",
            cell.timestamp.0,
            column(cell),
            value(cell)
        ));
    }
    all
}

/// The simulator's tables.
#[derive(Default)]
struct Model(ModelTables);

impl Engine for Model {
    fn store(&self) -> &dyn TableStore {
        &self.0
    }

    fn drop_table(&self, table: TableId) {
        self.0.drop_table(table);
    }
}

pub(crate) fn the_nodes_answer_as_the_models_do(scene: &Scene<'_>) {
    scene.cql.keyspace(KEYSPACE, 3);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let nodes = Nodes { store: store(&cluster, KEYSPACE, &tables()), cql: scene.cql };
    let scripts = scripts();
    let play = |number: usize| {
        check("Cassandra", &scripts[number], &mut Rows::new(&nodes, format!("script{number}-")));
    };
    let (last, others): (Vec<usize>, Vec<usize>) =
        (0..scripts.len()).partition(|number| drops(&scripts[*number]));
    others.into_iter().for_each(play);

    let first = seed("the_nodes_answer_as_the_models_do");
    let (begun, mut drawn) = (Instant::now(), 0);
    while begun.elapsed() < DRAWING {
        let seed = first.wrapping_add(drawn);
        let steps = if drawn % 4 == 3 { rising(seed) } else { random(seed) };
        let model = Model::default();
        let name = format!("seed {first}, script {drawn}");
        let script = record(name, steps, &mut Rows::new(&model, String::new()));
        check("Cassandra", &script, &mut Rows::new(&nodes, format!("drawn{drawn}-")));
        drawn += 1;
    }
    println!("  {} scripts, and {drawn} that were drawn", scripts.len());
    assert!(drawn >= LEAST_DRAWN, "only {drawn} scripts in {DRAWING:?}");
    last.into_iter().for_each(play);
}
