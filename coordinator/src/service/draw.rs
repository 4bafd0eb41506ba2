//! Numbers that look drawn by chance and are the same on every server.

/// A number mixed as SplitMix64 does (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*,
/// 2014).
pub(super) const fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number for bytes.
pub(super) fn mixed_bytes(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(mixed(seed), |so_far, byte| mixed(so_far ^ u64::from(*byte)))
}
