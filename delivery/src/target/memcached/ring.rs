//! Which of several servers has a key: ketama, as libmemcached, twemproxy and spymemcached compute it.
//!
//! Each server has 160 points on a circle of 32 bits: the MD5 of `NAME-0` to `NAME-39`, four from each. A key's
//! server is the one whose point comes first at or behind the first four bytes of the key's MD5. So only the keys
//! of a server that comes or goes have another one than before.

use md5::{Digest, Md5};

/// Digests of a server.
const DIGESTS: u32 = 40;
/// Points in one digest.
const POINTS: usize = 4;

/// The points of all servers, in order.
#[derive(Debug)]
pub(super) struct Ring(Vec<(u32, usize)>);

impl Ring {
    /// Of servers with these names, of which there is at least one.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut points = Vec::new();
        for (server, name) in names.enumerate() {
            for number in 0..DIGESTS {
                let digest = md5(format!("{name}-{number}").as_bytes());
                points.extend((0..POINTS).map(|at| (point(&digest, at), server)));
            }
        }
        points.sort_unstable();
        Self(points)
    }

    /// The number of the server that has a key.
    pub(super) fn server_of(&self, key: &[u8]) -> usize {
        let hash = point(&md5(key), 0);
        let at = self.0.partition_point(|(point, _)| *point < hash);
        let (_, server) = self.0.get(at).or(self.0.first()).expect("there is a server");
        *server
    }
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// Four bytes of a digest, the least first.
fn point(digest: &[u8; 16], at: usize) -> u32 {
    let bytes = digest[POINTS * at..][..POINTS].try_into().expect("four bytes");
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libmemcached 1.1.4 did, asked for its ketama with weights and MD5, with three servers.
    #[test]
    fn keys_are_where_libmemcached_looks_for_them() {
        let servers = ["127.0.0.1:41211", "127.0.0.1:41212", "127.0.0.1:41213"];
        let ring = Ring::new(servers.into_iter());
        let keys = (0..24).map(|number| format!("order-{number}"));
        let keys = keys.chain(["a".to_owned(), "cid:Hello".to_owned()]);
        let found: String = keys.map(|key| ring.server_of(key.as_bytes()).to_string()).collect();
        assert_eq!(found, "21012201222202120122102211");
    }

    #[test]
    fn all_have_about_as_many_and_only_those_of_one_that_goes_move() {
        let names = ["a", "b", "c", "d"];
        let (all, left) = (Ring::new(names.into_iter()), Ring::new(names[..3].iter().copied()));
        let mut counts = [0; 4];
        for number in 0..4_000 {
            let key = format!("key {number}");
            let (before, after) = (all.server_of(key.as_bytes()), left.server_of(key.as_bytes()));
            assert!(before == after || before == 3, "{key} moved without need");
            counts[before] += 1;
        }
        assert!(counts.iter().all(|count| (600..=1_500).contains(count)), "{counts:?}");
        let alone = Ring::new(["a"].into_iter());
        assert_eq!(alone.server_of(b"anything"), 0);
    }
}
