//! The suite of the table store port against every store that runs without a server.

use std::path::PathBuf;

use participant::store::TableStore;
use participant::store::conformance::{self, Subject};
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use participant::store::memory::{Faults, MemoryStore};
use tempfile::TempDir;

/// Memory, with a new seed for every store.
struct Memory {
    faults: Faults,
}

impl Subject for Memory {
    fn fresh(&mut self) -> Box<dyn TableStore> {
        self.faults.seed += 1;
        Box::new(MemoryStore::with_faults(self.faults))
    }
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
