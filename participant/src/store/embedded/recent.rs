//! The rows last written, as they are stored, so that a hot row is not looked up in the tree again.
//!
//! Only the writer uses it, under its lock. It holds nothing that the tree does not hold: it is told
//! of a batch after the batch was committed, and forgets everything after a doubt.

use fjall::Slice;
use rustc_hash::FxHashMap;

/// Keys and rows that are kept, bytes. Beyond it all are forgotten.
const MAX_BYTES: usize = 8 << 20;
/// A row longer than this is not kept.
const MAX_ROW_BYTES: usize = 16 << 10;
/// What an entry takes besides key and row, roughly.
const ENTRY_BYTES: usize = 96;

const _: () = assert!(MAX_ROW_BYTES * 100 < MAX_BYTES);

#[derive(Default)]
pub(super) struct Recent {
    // Never iterated.
    rows: FxHashMap<Slice, Option<Slice>>,
    bytes: usize,
}

impl Recent {
    /// The stored row, `Some(None)` if it is known to be absent.
    pub(super) fn get(&self, key: &Slice) -> Option<Option<Slice>> {
        self.rows.get(key).cloned()
    }

    /// Takes over what a committed batch wrote.
    pub(super) fn committed(&mut self, written: impl Iterator<Item = (Slice, Option<Slice>)>) {
        for (key, row) in written {
            let key_bytes = key.len();
            let size = |row: &Option<Slice>| {
                key_bytes + ENTRY_BYTES + row.as_ref().map_or(0, |row| row.len())
            };
            let added = size(&row);
            let replaced = if added > MAX_ROW_BYTES {
                self.rows.remove(&key)
            } else {
                self.bytes += added;
                self.rows.insert(key, row)
            };
            self.bytes -= replaced.as_ref().map_or(0, size);
        }
        if self.bytes > MAX_BYTES {
            self.forget();
        }
    }

    /// Forgets everything: what the tree holds is in doubt, or there is too much.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: u32, row: Option<Vec<u8>>) -> (Slice, Option<Slice>) {
        (key.to_be_bytes().into(), row.map(Slice::from))
    }

    fn get(recent: &Recent, key: u32) -> Option<Option<Slice>> {
        recent.get(&key.to_be_bytes().into())
    }

    #[test]
    fn the_last_write_is_known_and_a_removed_row_is_known_absent() {
        let mut recent = Recent::default();
        recent.committed([write(1, Some(vec![1])), write(2, Some(vec![2]))].into_iter());
        recent.committed([write(1, Some(vec![3])), write(2, None)].into_iter());
        assert_eq!(get(&recent, 1), Some(Some(Slice::from(vec![3]))));
        assert_eq!(get(&recent, 2), Some(None));
        assert_eq!(get(&recent, 3), None);
        assert_eq!(recent.bytes, 4 + 1 + ENTRY_BYTES + 4 + ENTRY_BYTES);
    }

    #[test]
    fn a_row_that_grew_too_long_is_not_known_as_it_was() {
        let mut recent = Recent::default();
        recent.committed([write(1, Some(vec![1]))].into_iter());
        recent.committed([write(1, Some(vec![1; MAX_ROW_BYTES + 1]))].into_iter());
        assert_eq!((get(&recent, 1), recent.bytes), (None, 0));
    }

    #[test]
    fn it_stays_within_its_bound() {
        let mut recent = Recent::default();
        for key in 0..200_000 {
            recent.committed([write(key, Some(vec![0; 100]))].into_iter());
            assert!(recent.bytes <= MAX_BYTES);
        }
        assert!(get(&recent, 199_999).is_some());
        assert!(get(&recent, 0).is_none());
    }
}
