//! The suite of the table store port against every store that runs without a server.

use std::path::PathBuf;

use bytes::Bytes;
use participant::store::TableStore;
use participant::store::conformance::{self, Subject};
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use participant::store::memory::{Faults, MemoryStore};
use tempfile::TempDir;
use wal_core::{Row, RowKey, RowMutation, TableId, Timestamp};

/// Memory, with a new seed for every store.
struct Memory {
    faults: Faults,
}

impl Subject for Memory {
    fn fresh(&mut self) -> Box<dyn TableStore> {
        self.faults.seed += 1;
        let store = MemoryStore::with_faults(self.faults);
        store.refuse([refused(1).key]);
        Box::new(store)
    }

    fn refused(&self) -> Option<RowMutation> {
        Some(refused(1))
    }
}

/// A row with so many bytes of clustering.
fn refused(bytes: usize) -> RowMutation {
    let key = RowKey {
        table: TableId(1),
        partition: Bytes::from_static(b"refused"),
        clustering: vec![0; bytes].into(),
    };
    RowMutation { key, delta: Row { marker_at: Some(Timestamp(9)), ..Row::default() } }
}

struct Embedded {
    options: EmbeddedOptions,
    folders: TempDir,
    count: u32,
}

impl Embedded {
    fn new(options: EmbeddedOptions) -> Self {
        Self { options, folders: tempfile::tempdir().expect("a folder for stores"), count: 0 }
    }

    fn folder(&self) -> PathBuf {
        self.folders.path().join(self.count.to_string())
    }

    fn open(&self) -> Box<dyn TableStore> {
        let store = EmbeddedStore::open(&self.folder(), self.options.clone());
        Box::new(store.expect("the folder is ours"))
    }
}

impl Subject for Embedded {
    fn fresh(&mut self) -> Box<dyn TableStore> {
        self.count += 1;
        self.open()
    }

    fn refused(&self) -> Option<RowMutation> {
        Some(refused(65_530))
    }

    fn reopen(&mut self, store: Box<dyn TableStore>) -> Option<Box<dyn TableStore>> {
        drop(store);
        Some(self.open())
    }
}

#[test]
fn the_memory_store_conforms() {
    conformance::run(&mut Memory { faults: Faults::default() });
}

#[test]
fn the_memory_store_conforms_while_calls_fail() {
    conformance::run(&mut Memory {
        faults: Faults { seed: 0, apply_per_mille: 300, read_per_mille: 100, sync_per_mille: 300 },
    });
}

#[test]
fn the_embedded_store_conforms() {
    conformance::run(&mut Embedded::new(EmbeddedOptions::default()));
}

#[test]
fn the_embedded_store_conforms_while_it_flushes_and_compacts() {
    conformance::run(&mut Embedded::new(EmbeddedOptions {
        cache_bytes: 1 << 20,
        write_buffer_bytes: 64 << 10,
        ..EmbeddedOptions::default()
    }));
}
