//! Regions: what one region has committed is shipped to another, up to a closed timestamp.
//!
//! * [`ship`]: the logs of two shards, what a follower concludes from them, and who applies it elsewhere.
//! * [`converge`]: two regions that write the same rows and ship to each other.
//! * [`home`]: a table that is written in one region only moves its home to the other.
//!
//! A timestamp is **closed** on a shard when nothing that is learned of later commits there at or below it.

pub mod converge;
pub mod home;
pub mod ship;

/// What the clocks may say: one is slow.
const CLOCKS: [u8; 2] = [1, 4];

/// A set of shards or transactions as words.
fn listed(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    match names.as_slice() {
        [] => "nothing".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
