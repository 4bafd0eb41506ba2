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

/// What a process does about a course that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It claims it.
    Claim,
    /// It lets it go (once more).
    Release,
    /// Nothing.
    Nothing,
}

impl About {
    /// What `me` does, if `wanted` should have the course and the store says that `owner` has it.
    ///
    /// A course that is one's own by the store alone was claimed, or let go, and the answer was lost. Nobody else
    /// claims it while this process lives, so who should not have it lets it go.
    pub fn of<P: Copy + Ord>(me: P, wanted: P, owner: Option<P>, alive: &BTreeSet<P>) -> Self {
        let is_free = owner.is_none_or(|owner| owner == me || !alive.contains(&owner));
        if wanted == me && is_free {
            Self::Claim
        } else if owner == Some(me) && wanted != me {
            Self::Release
        } else {
            Self::Nothing
        }
    }
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
    fn what_was_let_go_without_an_answer_is_let_go_again() {
        let alive = BTreeSet::from([1, 2]);
        let about = |wanted, owner| About::of(1, wanted, owner, &alive);
        // The release failed, or a claim was not answered: the store says that it is ours, and another should have it.
        assert_eq!(about(2, Some(1)), About::Release);
        assert_eq!(about(1, Some(1)), About::Claim);
        assert_eq!(about(1, None), About::Claim);
        assert_eq!(about(1, Some(3)), About::Claim, "3 is gone");
        assert_eq!(about(1, Some(2)), About::Nothing, "2 lets it go");
        assert_eq!([about(2, None), about(2, Some(2)), about(2, Some(3))], [About::Nothing; 3]);
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
