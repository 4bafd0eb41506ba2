//! What is drawn of regions, and the namespace that both are: where its tables are written, and what of a client's
//! transaction may be asked there.

use std::fmt::Write as _;
use std::sync::Arc;

use coordinator::runtime::engine_schema;
use participant::engine::EngineSchema;
use wal_core::namespace::{ANY, ARRIVED_CQL, Namespace};
use wal_core::{CellOp, RowOp, TableId, WriteOp};

use crate::focus::Focus;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::workload::{ACCOUNTS, BALANCE, NOTES};

/// The table that says what has arrived.
pub(super) const ARRIVED: TableId = TableId(2);
/// The names of the regions, by their numbers.
pub(super) const NAMES: [&str; 2] = ["eu", "us"];
/// How many in a million of the worlds with two namespaces or more have regions, if nothing else is asked.
const WORLDS_PPM: u32 = 250_000;

/// What is drawn for one of the two regions; most of it is the same for both.
#[derive(Clone, Debug)]
pub(crate) struct RegionPlan {
    /// Its number.
    pub(super) number: u8,
    /// Where accounts are written, and where notes: in the region with this number, or in both.
    homes: [Option<u8>; 2],
    /// Bytes that go over at once.
    pub(super) batch_bytes: usize,
    /// Bytes of what was read and waits.
    pub(super) buffer_bytes: usize,
    pub(super) pulse_after_us: u64,
    /// How long a sender waits for an answer.
    pub(super) timeout_us: u64,
    /// How often, in a million looks, another process takes over from one that is alive.
    pub(super) takes_over_ppm: u32,
    /// How many transactions in a million stay where they were committed.
    pub(super) stays_ppm: u32,
}

/// Makes the first two namespaces of some worlds regions of one another. Drawn apart, so that worlds without
/// regions stay what they were.
pub(crate) fn draw(rng: &Rng, plans: &mut [Plan]) {
    let mut rng = Rng::new(rng.clone().next() ^ 0x7265_6769_6f6e_7321);
    let [first, second, ..] = plans else { return };
    // Bugs that are planted elsewhere are looked for in the worlds in which they always were.
    let drawn = first.planted.is_none() && first.deliveries.is_none() && rng.chance(WORLDS_PPM);
    if first.focus != Some(Focus::Regions) && !drawn {
        return;
    }
    let mut home = || *rng.pick(&[Some(0), Some(1), None]);
    let homes = [home(), home()];
    let region = RegionPlan {
        number: 0,
        homes,
        batch_bytes: rng.scale(200, 20_000) as usize,
        buffer_bytes: rng.scale(2_000, 200_000) as usize,
        pulse_after_us: rng.scale(5_000, 100_000),
        timeout_us: rng.scale(100_000, 3_000_000),
        takes_over_ppm: *rng.pick(&[0, 20_000, 100_000]),
        stays_ppm: *rng.pick(&[0, 100_000]),
    };
    for (number, plan) in (0..).zip([first, second]) {
        plan.shards = plan.shards.max(2);
        plan.region = Some(RegionPlan { number, ..region.clone() });
    }
}

impl RegionPlan {
    /// The home of one of the clients' tables: the number of a region, or none.
    fn home_of(&self, table: TableId) -> Option<u8> {
        match table {
            ACCOUNTS => self.homes[0],
            NOTES => self.homes[1],
            _ => Some(self.number),
        }
    }

    /// Whether accounts are written in this region alone, so that their sum is made here.
    pub(crate) fn has_accounts(&self) -> bool {
        self.home_of(ACCOUNTS).is_none_or(|home| home == self.number)
    }

    /// The namespace as this region has it.
    pub(super) fn namespace(&self, plan: &Plan, version: u32) -> Namespace {
        let word = |home: Option<u8>| home.map_or(ANY, |home| NAMES[usize::from(home)]);
        let owned = |owned: bool| if owned { "owned" } else { "shared" };
        let mut file = format!(
            "name = \"sim\"\nshards = {}\n[region]\nhere = \"{}\"\nhome = \"{ANY}\"\ntable = \"arrived\"\n\
             [region.tables]\naccounts = \"{}\"\nnotes = \"{}\"\n",
            plan.shards,
            NAMES[usize::from(self.number)],
            word(self.homes[0]),
            word(self.homes[1]),
        );
        for name in NAMES {
            write!(file, "[[region.all]]\nname = \"{name}\"\nservers = [\"http://{name}\"]\n")
                .expect("a string takes everything");
        }
        let accounts = "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint, tag bigint)";
        let notes = "CREATE TABLE notes (id bigint, at bigint, body bigint, count bigint, PRIMARY KEY (id, at))";
        for (cql, ownership) in [
            (accounts, owned(plan.owned[0])),
            (notes, owned(plan.owned[1])),
            (ARRIVED_CQL, owned(true)),
        ] {
            write!(file, "[[table]]\nownership = \"{ownership}\"\ncql = \"{cql}\"\n")
                .expect("a string takes everything");
        }
        let namespace = Namespace::from_toml(&file);
        namespace.unwrap_or_else(|error| panic!("{error}\n{file}")).with_version(version)
    }

    /// What the engines know of it.
    pub(crate) fn schema(&self, plan: &Plan, version: u32) -> Arc<EngineSchema> {
        Arc::new(engine_schema(&self.namespace(plan, version)))
    }

    /// What of a row's operation may be asked here: everything where the row is at home; writes without
    /// conditions and sums where it has no home; nothing where it has another.
    fn allowed(&self, mut op: RowOp) -> Option<RowOp> {
        if op.key.table != ACCOUNTS && op.key.table != NOTES {
            return Some(op);
        }
        let Some(home) = self.home_of(op.key.table) else {
            op.conditions.clear();
            let is_blind = match &op.write {
                WriteOp::None | WriteOp::Merge(_) => false,
                WriteOp::DeleteRow => true,
                WriteOp::Cells { cells, .. } => cells.iter().all(|cell| {
                    let money = op.key.table == ACCOUNTS && cell.column() == BALANCE;
                    !matches!(cell, CellOp::Add { .. }) && !money
                }),
            };
            return is_blind.then_some(op);
        };
        (home == self.number).then_some(op)
    }
}

/// What of a transaction may be asked of a namespace.
pub(crate) fn written_here(plan: &Plan, ops: Vec<RowOp>) -> Vec<RowOp> {
    match &plan.region {
        Some(region) => ops.into_iter().filter_map(|op| region.allowed(op)).collect(),
        None => ops,
    }
}
