//! What has really happened to each message, and whether it may have.

use std::collections::BTreeMap;

use delivery::{Mark, Name, Outgoing, Ticket};
use wal_core::Timestamp;
use wal_core::message::messages_of;

use super::messages::TARGETS;
use super::{CourseId, Deliveries};
use crate::failure::{Check, Failure, ensure};
use crate::oracle::committed;
use crate::space::Space;

/// What happened to one message at one target; when, counted in what happened.
#[derive(Debug)]
struct Fate {
    course: CourseId,
    ticket: Ticket,
    outgoing: Outgoing,
    sent: Option<u64>,
    arrived: Option<u64>,
    buried: Option<u64>,
}

impl Fate {
    /// When it was dealt with.
    fn dealt(&self) -> Option<u64> {
        self.arrived.into_iter().chain(self.buried).min()
    }
}

/// Messages of one key, each with its place in the order in which they committed.
type Lane<'a> = Vec<(Timestamp, u16, &'a Fate)>;

/// Everything that happened, as nobody in the world knows it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    happened: u64,
    fates: BTreeMap<(u8, Name), Fate>,
    /// What was read by anybody and has neither arrived nor been buried.
    undealt: BTreeMap<CourseId, BTreeMap<Ticket, Name>>,
}

impl Book {
    /// One more thing happens; which it is.
    pub(super) const fn happen(&mut self) -> u64 {
        self.happened += 1;
        self.happened
    }

    /// A message was read: whoever reads it finds the same in the same place.
    pub(super) fn on_read(
        &mut self,
        course: CourseId,
        ticket: Ticket,
        outgoing: &Outgoing,
    ) -> Result<(), Failure> {
        let name = outgoing.name;
        let fate = self.fates.entry((course.target, name)).or_insert_with(|| {
            self.undealt.entry(course).or_default().insert(ticket, name);
            let outgoing = outgoing.clone();
            Fate { course, ticket, outgoing, sent: None, arrived: None, buried: None }
        });
        let same = fate.course == course && fate.ticket == ticket && fate.outgoing == *outgoing;
        ensure!(same, Delivery, "{course:?} has {name} at {ticket}, and before it was {fate:?}");
        Ok(())
    }

    /// A message is sent in its turn by a process that claimed the course at that time.
    pub(super) fn on_sent(
        &mut self,
        course: CourseId,
        claimed: u64,
        (ticket, name): (Ticket, Name),
    ) -> Result<(), Failure> {
        let now = self.happen();
        let key = |name| self.fates[&(course.target, name)].outgoing.message.key.as_ref();
        if let Some(own) = key(name)
            && let Some(undealt) = self.undealt.get(&course)
        {
            let mut before = undealt.range(..ticket);
            let before = before.find(|(_, other)| key(**other) == Some(own));
            ensure!(
                before.is_none(),
                Delivery,
                "{course:?} sends {name} at {ticket} before {before:?} of its key is dealt with"
            );
        }
        let fate = self.fates.get_mut(&(course.target, name)).expect("what is sent was read");
        ensure!(
            fate.buried.is_none_or(|buried| buried > claimed),
            Delivery,
            "{course:?} sends {name} in its turn, which was a dead letter when the course was claimed"
        );
        fate.sent.get_or_insert(now);
        Ok(())
    }

    /// A target has it; says whether for the first time.
    pub(super) fn on_arrived(&mut self, target: u8, name: Name) -> bool {
        let now = self.happen();
        let fate = self.fates.get_mut(&(target, name)).expect("what arrives was read");
        let first = fate.arrived.is_none();
        fate.arrived.get_or_insert(now);
        self.deal(target, name);
        first
    }

    /// The store has it.
    pub(super) fn on_buried(&mut self, target: u8, name: Name) {
        let now = self.happen();
        let fate = self.fates.get_mut(&(target, name)).expect("what is buried was read");
        fate.buried.get_or_insert(now);
        self.deal(target, name);
    }

    fn deal(&mut self, target: u8, name: Name) {
        let fate = &self.fates[&(target, name)];
        if let Some(undealt) = self.undealt.get_mut(&fate.course) {
            undealt.remove(&fate.ticket);
        }
    }

    /// A mark is stored.
    pub(super) fn on_marked(&self, course: CourseId, mark: &Mark) -> Result<(), Failure> {
        let first = self.undealt.get(&course).and_then(|undealt| undealt.first_key_value());
        ensure!(
            first.is_none_or(|(ticket, _)| ticket.position >= mark.dealt_with),
            Delivery,
            "the mark of {course:?} is {}, and {first:?} is neither delivered nor buried",
            mark.dealt_with
        );
        Ok(())
    }

    /// What was read and is not dealt with.
    pub(super) fn undealt(&self) -> impl Iterator<Item = (CourseId, Ticket, Name)> + '_ {
        let all = self.undealt.iter();
        all.flat_map(|(id, all)| all.iter().map(|(ticket, name)| (*id, *ticket, *name)))
    }
}

/// Holds everything that was delivered against what committed.
pub(crate) fn check(space: &Space) -> Result<(), Failure> {
    let Some(deliveries) = &space.deliveries else { return Ok(()) };
    let fates = &deliveries.book.fates;
    let mut expected = 0;
    // Of each target and key, in the order in which they committed.
    let mut lanes: BTreeMap<(u8, &[u8]), Lane<'_>> = BTreeMap::new();
    for txn in &space.history.txns {
        let Some(committed) = committed(space, txn) else { continue };
        let id = txn.txn.id;
        for (shard, part) in &txn.txn.parts {
            for message in messages_of(part.iter()) {
                let (index, message) = message.expect("messages are drawn whole");
                for (target, called) in (0..deliveries.plan.targets).zip(TARGETS) {
                    if !message.targets.iter().any(|name| name == called) {
                        continue;
                    }
                    expected += 1;
                    let name = Name { id, index };
                    let fate = fates.get(&(target, name)).ok_or_else(|| {
                        let story = format!("{name} is committed, and never read for {called}");
                        Failure::new(Check::Delivery, story)
                    })?;
                    check_one(deliveries, (target, name), fate)?;
                    let sent = &fate.outgoing;
                    ensure!(
                        *sent.message == message
                            && sent.shard == *shard
                            && sent.timestamp == committed.timestamp,
                        Delivery,
                        "{sent:?} was sent, and {message:?} of shard {shard} committed at {}",
                        committed.timestamp
                    );
                    if let Some(key) = &sent.message.key {
                        let lane = lanes.entry((target, &key[..])).or_default();
                        lane.push((committed.timestamp, index, fate));
                    }
                }
            }
        }
    }
    ensure!(
        expected == fates.len(),
        Delivery,
        "{expected} messages are committed, and {} were read",
        fates.len()
    );
    lanes.into_values().try_for_each(check_order)
}

fn check_one(
    deliveries: &Deliveries,
    (target, name): (u8, Name),
    fate: &Fate,
) -> Result<(), Failure> {
    let has = fate.arrived.is_some() || deliveries.store.has_letter(target, name);
    ensure!(has, Delivery, "{name} is lost: {fate:?}");
    Ok(())
}

/// No message of a key was sent before all that committed before it were dealt with.
fn check_order(mut lane: Lane<'_>) -> Result<(), Failure> {
    lane.sort_by_key(|(timestamp, index, _)| (*timestamp, *index));
    let mut dealt = 0;
    for (_, _, fate) in lane {
        ensure!(
            fate.sent.is_none_or(|sent| sent > dealt),
            Delivery,
            "{fate:?} was sent before another of its key was dealt with, which was at {dealt}"
        );
        dealt = dealt.max(fate.dealt().unwrap_or(u64::MAX));
    }
    Ok(())
}
