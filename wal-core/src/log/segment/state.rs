//! The small file beside the segments: identity, which segments there are, trim positions and hints.
//!
//! It is replaced as a whole, atomically, and never on the path of an append.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::block::{FORMAT, check_format, checksum_around};
use crate::id::{Nonce, Position, ShardId};
use crate::log::LogError;
use crate::log::file::{Disk, replace};
use crate::record::DecodeError;
use crate::record::pieces::{Reader, Writer};

/// The name of the file.
pub(super) const STATE_FILE: &str = "log.state";
const MAGIC: &[u8; 8] = b"HFstate1";
const HEADER_BYTES: usize = 16;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The log's identity.
    pub(super) identity: Nonce,
    /// The first segment; those before it may be removed.
    pub(super) oldest: u64,
    /// The last segment that is ready for use; 0 if there is none yet. Later ones hold nothing.
    pub(super) newest: u64,
    /// For every shard that ever wrote a record, the position before which it needs nothing.
    pub(super) trims: BTreeMap<ShardId, Position>,
    /// The newest hint of each shard.
    pub(super) hints: BTreeMap<ShardId, Position>,
}

impl State {
    /// Reads the file; `None` if there is none.
    pub(super) fn load(disk: &dyn Disk) -> Result<Option<Self>, LogError> {
        let failed = |source| LogError::Io { action: format!("read {STATE_FILE}"), source };
        let file = match disk.open(STATE_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = vec![0; file.size_bytes().map_err(failed)? as usize];
        let read = file.read_at(&mut bytes, 0).map_err(failed)?;
        bytes.truncate(read);
        check_format(&bytes, MAGIC, STATE_FILE)?;
        let mut input = Reader::new(Bytes::from(bytes).slice(HEADER_BYTES..));
        let state = Self::decode(&mut input);
        let damaged = |why| LogError::Damaged { what: format!("{STATE_FILE}: {why}") };
        state.map(Some).map_err(damaged)
    }

    /// Replaces the file.
    pub(super) fn save(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let failed = |source| super::io_error(&format!("replace {STATE_FILE}"), source);
        replace(disk, STATE_FILE, &self.encode()).map_err(failed)
    }

    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let identity = input.piece()?;
        let oldest = input.varint()?;
        let newest = input.varint()?;
        let trims = input.list::<(ShardId, Position)>()?.into_iter().collect();
        let hints = input.list::<(ShardId, Position)>()?.into_iter().collect();
        input.finish()?;
        Ok(Self { identity, oldest, newest, trims, hints })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let mut writer = Writer::new(&mut bytes);
        writer.piece(&self.identity);
        writer.varint(self.oldest);
        writer.varint(self.newest);
        for positions in [&self.trims, &self.hints] {
            let list: Vec<_> = positions.iter().map(|(shard, at)| (*shard, *at)).collect();
            writer.list(&list);
        }
        let checksum = checksum_around(&bytes);
        bytes[12..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::file::test_disk::TestDisk;

    #[test]
    fn the_state_is_kept_and_every_flipped_bit_is_noticed() {
        let disk = TestDisk::new(1);
        assert_eq!(State::load(&disk).expect("no file"), None);
        let state = State {
            identity: Nonce(9),
            oldest: 3,
            newest: 300,
            trims: [(ShardId(1), Position(4096))].into(),
            hints: [(ShardId(2), Position(1 << 40))].into(),
        };
        state.save(&disk).expect("a saved state");
        assert_eq!(State::load(&disk).expect("a state"), Some(state));
        for offset in 0..disk.content(STATE_FILE).len() {
            disk.flip_bit(STATE_FILE, offset, 3);
            assert!(matches!(State::load(&disk), Err(LogError::Damaged { .. })), "{offset}");
            disk.flip_bit(STATE_FILE, offset, 3);
        }
    }
}
