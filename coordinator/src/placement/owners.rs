//! Which participant owns which shard.

use std::sync::Arc;

use wal_core::ShardId;

use super::Member;

/// For each shard, its owner: of the participants that own less than their share, the one with the
/// greatest hash of address and shard. `members` are sorted; everybody gets `shards / members` or one
/// more. What an owner is unable to lead goes, beyond all shares, to who is able and has the greatest hash,
/// if anybody is. Empty if there are no members.
pub(super) fn owners(members: &[Member], shards: u16) -> Vec<Arc<str>> {
    let (count, shards_all) = (members.len(), usize::from(shards));
    if count == 0 {
        return Vec::new();
    }
    let (least, mut larger) = (shards_all / count, shards_all % count);
    let mut owned = vec![0; count];
    let mut owners = Vec::with_capacity(shards_all);
    for shard in 0..shards {
        let has_room =
            |&index: &usize| owned[index] < least || (owned[index] == least && larger > 0);
        let rank = |index: &usize| (weight(&members[*index].0, shard), *index);
        let owner =
            (0..count).filter(has_room).max_by_key(rank).expect("the shares add up to all shards");
        if owned[owner] == least {
            larger -= 1;
        }
        owned[owner] += 1;
        let is_able = |&index: &usize| !members[index].1.contains(&ShardId(shard));
        let stand_in =
            if is_able(&owner) { None } else { (0..count).filter(is_able).max_by_key(rank) };
        owners.push(members[stand_in.unwrap_or(owner)].0.clone());
    }
    owners
}

/// FNV-1a, then the finaliser of SplitMix64: stable over versions and platforms.
fn weight(address: &str, shard: u16) -> u64 {
    let bytes = address.bytes().chain(shard.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut mixed = hash;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn members(names: &[impl AsRef<str>]) -> Vec<Member> {
        let mut members: Vec<Member> =
            names.iter().map(|name| (Arc::from(name.as_ref()), Vec::new())).collect();
        members.sort_unstable();
        members
    }

    #[test]
    fn everybody_has_a_fair_share() {
        for (count, shards) in [(1, 16), (3, 16), (5, 16), (16, 16), (20, 16), (7, 1024)] {
            let names: Vec<String> = (0..count).map(|n| format!("10.0.0.{n}:7420")).collect();
            let mut shares: BTreeMap<Arc<str>, usize> = BTreeMap::new();
            for owner in owners(&members(&names), shards) {
                *shares.entry(owner).or_default() += 1;
            }
            let (least, most) = (usize::from(shards) / count, usize::from(shards).div_ceil(count));
            assert!(shares.values().all(|n| (least..=most).contains(n)), "{shares:?}");
            assert_eq!(shares.values().sum::<usize>(), usize::from(shards));
        }
    }

    #[test]
    fn a_newcomer_moves_little_more_than_its_share() {
        let (three, four) = (members(&["a", "b", "c"]), members(&["a", "b", "c", "d"]));
        let moved = owners(&three, 256)
            .iter()
            .zip(owners(&four, 256))
            .filter(|(before, after)| *before != after)
            .count();
        assert!((64..=112).contains(&moved), "{moved} of 256 moved; its share is 64");
    }

    #[test]
    fn what_its_owner_is_unable_to_lead_is_another_s_and_nothing_else_moves() {
        let mut three = members(&["a", "b", "c"]);
        let before = owners(&three, 16);
        let shard = before.iter().position(|owner| &**owner == "b").expect("everybody has a share");
        three[1].1.push(ShardId(u16::try_from(shard).expect("of 16")));
        let after = owners(&three, 16);
        assert_ne!(&*after[shard], "b");
        let same = |index: &usize| before[*index] == after[*index];
        assert_eq!((0..16).filter(same).count(), 15);
        // What nobody is able to lead stays with its owner.
        for member in &mut three {
            member.1 = (0..16).map(ShardId).collect();
        }
        assert_eq!(owners(&three, 16), before);
    }
}
