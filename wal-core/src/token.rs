//! Where a partition lives: Cassandra's token, and the shard that owns it.

use crate::id::ShardId;

/// A place on Cassandra's ring of `i64`, never `i64::MIN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub i64);

impl Token {
    /// The token of a partition key in its binary form (see [`crate::RowKey`]).
    ///
    /// Murmur3 (x64, 128 bits, seed 0, the first half) as Cassandra has it: the bytes of the tail are
    /// taken as *signed*, so that tails with bytes above 127 hash differently from the original.
    pub fn of(partition: &[u8]) -> Self {
        match murmur3(partition) {
            // Cassandra keeps the least number for the start of the ring.
            i64::MIN => Self(i64::MAX),
            token => Self(token),
        }
    }

    /// The shard that owns this token, of `shards`: `((token + 2^63) * shards) >> 64`.
    pub const fn shard(self, shards: u16) -> ShardId {
        let place = (self.0 as u64) ^ (1 << 63);
        ShardId(((place as u128 * shards as u128) >> 64) as u16)
    }
}

/// The shard of a token: see [`Token::shard`].
pub const fn shard_of(token: Token, shards: u16) -> ShardId {
    token.shard(shards)
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

fn murmur3(data: &[u8]) -> i64 {
    let (mut h1, mut h2) = (0u64, 0u64);
    let mut blocks = data.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = block.split_at(8);
        let k1 = u64::from_le_bytes(low.try_into().expect("half a block has eight bytes"));
        let k2 = u64::from_le_bytes(high.try_into().expect("half a block has eight bytes"));
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }

    let tail = blocks.remainder();
    let (low, high) = tail.split_at(tail.len().min(8));
    h2 ^= mix2(signed_tail(high));
    h1 ^= mix1(signed_tail(low));

    let length = data.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2)) as i64
}

/// Up to eight bytes, little-endian, each with its sign spread over all that lies above it.
fn signed_tail(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |sum, (index, byte)| {
        let signed = i64::from(*byte as i8) as u64;
        sum ^ (signed << (8 * index))
    })
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Published results of Cassandra itself: the tables of known tokens in the tests of DataStax's
    /// C# driver (`TokenTests.cs`, "inputs and result values from Cassandra") and of its Python
    /// driver (`test_metadata.py`).
    const KNOWN: &[(&[u8], i64)] = &[
        (b"123", -7_468_325_962_851_647_638),
        (b"9223372036854775807", 7_162_290_910_810_015_547),
        (b"\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe", -8_927_430_733_708_461_935),
        (b"\x10\x10\x10\x10\x10\x10\x10\x10", 1_446_172_840_243_228_796),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10",
            -5_563_837_382_979_743_776,
        ),
        (
            b"\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11",
            -1_513_403_162_740_402_161,
        ),
        (
            b"\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12",
            -495_360_443_712_684_655,
        ),
        (
            b"\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13",
            1_734_091_135_765_407_943,
        ),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 5_457_549_051_747_178_710),
        (&[0xff; 16], -2_824_192_546_314_762_522),
        (&[0xfe; 16], -833_317_529_301_936_754),
        (&[0xfe; 17], -1_672_437_813_826_982_685),
        (b"\xfe\xfe\xfe\xfe", 4_566_408_979_886_474_012),
        (b"\0\0\0\0", -3_485_513_579_396_041_028),
        (b"\x00\x01\x7f\x7f", 6_573_459_401_642_635_627),
        (b"\x00\xff\xff\xff", 123_573_637_386_978_882),
        (b"\xff\x01\x02\x03", -2_839_127_690_952_877_842),
        (b"\xe2\xe7", -8_582_699_461_035_929_883),
        (b"\xe2\xe7\xe2\xe7\xe2\xe7\x01", 2_222_373_981_930_033_306),
    ];

    /// `SELECT token(id)` over an `int` column, as Cassandra prints it (the same tables of tokens stand
    /// in the tests of its distributed test suite).
    const KNOWN_INTS: &[(i32, i64)] = &[
        (5, -7_509_452_495_886_106_294),
        (10, -6_715_243_485_458_697_746),
        (16, -5_477_287_129_830_487_822),
        (1, -4_069_959_284_402_364_209),
        (8, -3_799_847_372_828_181_882),
        (2, -3_248_873_570_005_575_792),
        (4, -2_729_420_104_000_364_805),
        (7, 1_634_052_884_888_577_606),
        (6, 2_705_480_034_054_113_608),
    ];

    #[test]
    fn tokens_are_those_of_cassandra() {
        for (key, token) in KNOWN {
            assert_eq!(Token::of(key), Token(*token), "{key:x?}");
        }
        let repeated = b"\x00\xff\x10\xfa\x99".repeat(10);
        assert_eq!(Token::of(&repeated), Token(5_837_342_703_291_459_765));
        for (key, token) in KNOWN_INTS {
            assert_eq!(Token::of(&key.to_be_bytes()), Token(*token), "{key}");
        }
    }

    #[test]
    fn shards_are_equal_ranges_of_tokens() {
        let cases = [
            (i64::MIN + 1, 16, 0),
            (-1, 16, 7),
            (0, 16, 8),
            (i64::MAX, 16, 15),
            (i64::MAX, 1, 0),
            (i64::MAX, 1024, 1023),
            (0, 3, 1),
        ];
        for (token, shards, shard) in cases {
            assert_eq!(shard_of(Token(token), shards), ShardId(shard), "{token} of {shards}");
        }
    }

    proptest! {
        #[test]
        fn a_token_always_has_a_shard_and_order_is_kept(a: i64, b: i64, shards in 1u16..=1024) {
            let (low, high) = (Token(a.min(b)), Token(a.max(b)));
            prop_assert!(low.shard(shards) <= high.shard(shards));
            prop_assert!(high.shard(shards).0 < shards);
        }
    }
}
