//! Who should deliver what.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use uuid::Uuid;
use wal_core::ShardId;

use crate::store::Course;

/// Which of those that are alive should have a course: the one with the greatest hash of itself and the course
/// (Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, 1998). So only the courses of one
/// that comes or goes move.
pub(crate) fn should_have(alive: &BTreeSet<Uuid>, course: &Course) -> Option<Uuid> {
    alive.iter().copied().max_by_key(|process| (weight(*process, course), *process))
}

fn weight(process: Uuid, course: &Course) -> u64 {
    let mut hasher = FxHasher::default();
    course.namespace.hash(&mut hasher);
    course.target.hash(&mut hasher);
    hasher.write_u16(course.shard.0);
    hasher.write_u128(process.as_u128());
    // The last multiplication of the hash leaves its low bits poor.
    let hash = hasher.finish();
    (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// All courses of a target.
pub(crate) fn courses(first: &Course, shards: u16) -> impl Iterator<Item = Course> {
    (0..shards).map(|shard| Course { shard: ShardId(shard), ..first.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Course {
        Course { namespace: "bank".into(), target: "shop".into(), shard: ShardId(0) }
    }

    fn count(alive: &BTreeSet<Uuid>, process: Uuid) -> usize {
        courses(&first(), 64).filter(|it| should_have(alive, it) == Some(process)).count()
    }

    #[test]
    fn all_have_about_as_many_and_only_those_of_one_that_goes_move() {
        let alive: BTreeSet<Uuid> = (1..=4).map(|n| Uuid::from_u128((n << 64) | (7 * n))).collect();
        for process in &alive {
            let has = count(&alive, *process);
            assert!((6..=30).contains(&has), "{process} has {has} of 64");
        }
        let gone = *alive.first().expect("there are four");
        let left: BTreeSet<Uuid> = alive.iter().copied().skip(1).collect();
        for course in courses(&first(), 64) {
            let before = should_have(&alive, &course).expect("somebody");
            let after = should_have(&left, &course).expect("somebody");
            assert!(before == after || before == gone, "{course:?} moved without need");
        }
        assert_eq!(should_have(&BTreeSet::new(), &first()), None);
    }
}
