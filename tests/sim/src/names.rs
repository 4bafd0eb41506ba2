//! Names of what happens, for coverage and for the timeline.

use std::fmt::Debug;

use coordinator::api::{Answer, CallAnswer, OutcomeAnswer, ReadAnswer};
use coordinator::interface::CommitEvent;
use participant::engine::{ShardCommand, ShardEvent};
use participant::message::{Known, NoReason, Resolution, ShardReply, ShardRequest, Vote};
use wal_core::AbortReason;

/// How much of a message a line of the timeline shows.
const BRIEF: usize = 400;

/// A line that shows a value.
pub(crate) fn brief(value: &impl Debug) -> String {
    let mut line = format!("{value:?}");
    if line.len() > BRIEF {
        let cut = (0..=BRIEF).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

pub(crate) const fn event(event: &ShardEvent) -> &'static str {
    match event {
        ShardEvent::Logged { .. } => "event Logged",
        ShardEvent::Stand { .. } => "event Stand",
        ShardEvent::Appended { .. } => "event Appended",
        ShardEvent::AppendFailed { .. } => "event AppendFailed",
        ShardEvent::Request { .. } => "event Request",
        ShardEvent::RowsRead { .. } => "event RowsRead",
        ShardEvent::ReadFailed { .. } => "event ReadFailed",
        ShardEvent::Flushed { .. } => "event Flushed",
        ShardEvent::FlushFailed { .. } => "event FlushFailed",
        ShardEvent::FlushRefused { .. } => "event FlushRefused",
        // Nobody discards here: what is discarded was committed, and no serial order explains its absence.
        ShardEvent::RetryParked { .. } | ShardEvent::DiscardParked { .. } => "event RetryParked",
        ShardEvent::Synced { .. } => "event Synced",
        ShardEvent::Tick => "event Tick",
        ShardEvent::Drain => "event Drain",
    }
}

pub(crate) const fn commit_event(event: &CommitEvent) -> &'static str {
    match event {
        CommitEvent::Call { .. } => "commit event Call",
        CommitEvent::Forget { .. } => "commit event Forget",
        CommitEvent::Reply { .. } => "commit event Reply",
        CommitEvent::Route { .. } => "commit event Route",
        CommitEvent::Drive { .. } => "commit event Drive",
        CommitEvent::Recover { .. } => "commit event Recover",
        CommitEvent::Tick => "commit event Tick",
    }
}

pub(crate) const fn command(command: &ShardCommand) -> &'static str {
    match command {
        ShardCommand::Reply { .. } => "command Reply",
        ShardCommand::Tell { .. } => "command Tell",
        ShardCommand::ReadRows { .. } => "command ReadRows",
        ShardCommand::Flush { .. } => "command Flush",
        ShardCommand::SyncStore { .. } => "command SyncStore",
        ShardCommand::Checkpointed { .. } => "command Checkpointed",
        ShardCommand::Drive { .. } => "command Drive",
        ShardCommand::Recover { .. } => "command Recover",
        ShardCommand::Leading { .. } => "command Leading",
        ShardCommand::Halt { .. } => "command Halt",
        ShardCommand::Parked { .. } | ShardCommand::Discarded { .. } => "command Parked",
    }
}

pub(crate) const fn request(request: &ShardRequest) -> &'static str {
    match request {
        ShardRequest::Single { .. } => "request Single",
        ShardRequest::Prepare(_) => "request Prepare",
        ShardRequest::Commit { .. } => "request Commit",
        ShardRequest::Abort { .. } => "request Abort",
        ShardRequest::Open { .. } => "request Open",
        ShardRequest::Resolve { .. } => "request Resolve",
        ShardRequest::Closed { .. } => "request Closed",
        ShardRequest::Acknowledge { .. } => "request Acknowledge",
        ShardRequest::Finished { .. } => "request Finished",
        ShardRequest::Condemn { .. } => "request Condemn",
        ShardRequest::Ask { .. } => "request Ask",
        ShardRequest::Fence { .. } => "request Fence",
        ShardRequest::AwaitApplied { .. } => "request AwaitApplied",
        ShardRequest::Read { .. } => "request Read",
        ShardRequest::Confirm { .. } => "request Confirm",
        ShardRequest::Hold { .. } => "request Hold",
        ShardRequest::Release { .. } => "request Release",
    }
}

const fn vote(vote: &Vote) -> &'static str {
    match vote {
        Vote::Yes { .. } => "vote yes",
        Vote::No(NoReason::WrongEpoch { .. }) => "vote no: wrong epoch",
        Vote::No(NoReason::Busy) => "vote no: busy",
        Vote::No(NoReason::Refused) => "vote no: refused",
        Vote::No(NoReason::Overloaded) => "vote no: overloaded",
        Vote::No(NoReason::Drift) => "vote no: drift",
        Vote::No(NoReason::NewerVersion) => "vote no: newer version",
        Vote::Condemned(_) => "vote condemned",
        Vote::Decided(_) => "vote decided",
        Vote::IdReused => "vote id reused",
        Vote::TooOld { .. } => "vote too old",
        Vote::FromFuture => "vote from future",
    }
}

pub(crate) const fn reply(reply: &ShardReply) -> &'static str {
    match reply {
        ShardReply::Voted { vote: v, .. } => vote(v),
        ShardReply::Single { vote: v, .. } => vote(v),
        ShardReply::Opened { .. } => "reply Opened",
        ShardReply::Applied { .. } => "reply Applied",
        ShardReply::Resolved { resolution, .. } => match resolution {
            Resolution::Prepared { .. } => "resolved prepared",
            Resolution::Refused => "resolved refused",
            Resolution::Decided { .. } => "resolved decided",
        },
        ShardReply::Known { known, .. } => match known {
            Known::Outcome { .. } => "known outcome",
            Known::Open { .. } => "known open",
            Known::Prepared { .. } => "known prepared",
            Known::Nothing => "known nothing",
            Known::TooOld { .. } => "known too old",
        },
        ShardReply::Rows { .. } => "reply Rows",
        ShardReply::Held { .. } => "reply Held",
        ShardReply::Confirmed { unchanged: true, .. } => "confirmed unchanged",
        ShardReply::Confirmed { unchanged: false, .. } => "confirmed changed",
        ShardReply::NotLeading { .. } => "reply NotLeading",
        ShardReply::Overloaded => "reply Overloaded",
    }
}

const fn reason(reason: &AbortReason) -> &'static str {
    match reason {
        AbortReason::ConditionFailed { .. } => "aborted: condition failed",
        AbortReason::Overflow { .. } => "aborted: overflow",
        AbortReason::TimestampInFuture { .. } => "aborted: timestamp in future",
        AbortReason::Schema { .. } => "aborted: schema",
        AbortReason::Fenced => "aborted: fenced",
        AbortReason::IdReused => "aborted: id reused",
    }
}

pub(crate) const fn answer(answer: &CallAnswer) -> &'static str {
    match answer {
        CallAnswer::Submit(answer) => match answer {
            Answer::Logged(_) => "answer logged",
            Answer::Committed { applied: false, .. } => "answer committed",
            Answer::Committed { applied: true, .. } => "answer applied",
            Answer::Aborted { reason: why, .. } => reason(why),
            Answer::IdReused => "answer id reused",
            Answer::TooOld { .. } => "answer too old",
            Answer::FromFuture => "answer from future",
            Answer::Overloaded { .. } => "answer overloaded",
            Answer::Unavailable { .. } => "answer unavailable",
            Answer::ClocksApart { .. } => "answer clocks apart",
        },
        CallAnswer::Read(answer) => match answer {
            ReadAnswer::Rows(_) => "read rows",
            ReadAnswer::Overloaded { .. } => "read overloaded",
            ReadAnswer::Unavailable { .. } => "read unavailable",
        },
        CallAnswer::Outcome(answer) => match answer {
            OutcomeAnswer::Committed { .. } => "outcome committed",
            OutcomeAnswer::Aborted { .. } => "outcome aborted",
            OutcomeAnswer::Open => "outcome open",
            OutcomeAnswer::Unknown => "outcome unknown",
            OutcomeAnswer::TooOld { .. } => "outcome too old",
            OutcomeAnswer::Unavailable { .. } => "outcome unavailable",
        },
    }
}

/// What these worlds cannot show.
pub(crate) const NEVER: &[&str] = &[
    // Versions of a namespace do not change here, so that no transaction is built against an old one.
    "aborted: schema",
    // The commit engine says it as "id reused".
    "aborted: id reused",
];

/// Everything that is counted and must happen in some of many worlds, and what is counted elsewhere.
#[rustfmt::skip]
pub(crate) const ALL: &[&str] = &[
    "ignored: older epoch",
    "ignored: lost election",
    "ignored: behind a gap",
    "ignored: repeated",
    "read back",
    "halted: deposed",
    "halted: append in doubt",
    "halted: resigned",
    "deposed by hearsay",
    "drain took too long",
    "aborted for two reasons",
    "event Logged",
    "event Stand",
    "event Appended",
    "event AppendFailed",
    "event Request",
    "event RowsRead",
    "event ReadFailed",
    "event Flushed",
    "event FlushFailed",
    "event FlushRefused",
    "event RetryParked",
    "event Synced",
    "event Tick",
    "event Drain",
    "commit event Call",
    "commit event Forget",
    "commit event Reply",
    "commit event Route",
    "commit event Drive",
    "commit event Recover",
    "commit event Tick",
    "command Reply",
    "command Tell",
    "command ReadRows",
    "command Flush",
    "command SyncStore",
    "command Checkpointed",
    "command Drive",
    "command Recover",
    "command Leading",
    "command Halt",
    "command Parked",
    "request Single",
    "request Prepare",
    "request Commit",
    "request Abort",
    "request Open",
    "request Resolve",
    "request Closed",
    "request Acknowledge",
    "request Finished",
    "request Condemn",
    "request Ask",
    "request Fence",
    "request AwaitApplied",
    "request Read",
    "request Confirm",
    "request Hold",
    "request Release",
    "vote yes",
    "vote no: wrong epoch",
    "vote no: busy",
    "vote no: refused",
    "vote no: overloaded",
    "vote no: drift",
    "vote no: newer version",
    "vote condemned",
    "vote decided",
    "vote id reused",
    "vote too old",
    "vote from future",
    "reply Opened",
    "reply Applied",
    "resolved prepared",
    "resolved refused",
    "resolved decided",
    "known outcome",
    "known open",
    "known prepared",
    "known nothing",
    "known too old",
    "reply Rows",
    "reply Held",
    "confirmed unchanged",
    "confirmed changed",
    "reply NotLeading",
    "reply Overloaded",
    "aborted: condition failed",
    "aborted: overflow",
    "aborted: timestamp in future",
    "aborted: schema",
    "aborted: fenced",
    "aborted: id reused",
    "answer logged",
    "answer committed",
    "answer applied",
    "answer id reused",
    "answer too old",
    "answer from future",
    "answer overloaded",
    "answer unavailable",
    "answer clocks apart",
    "read rows",
    "read overloaded",
    "read unavailable",
    "outcome committed",
    "outcome aborted",
    "outcome open",
    "outcome unknown",
    "outcome too old",
    "outcome unavailable",
];

/// What a thousand worlds may not show: one world in a few hundred does, and then more than once.
pub(crate) const RARE: [&str; 1] = ["aborted: timestamp in future"];

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_is_in_the_list() {
        let arms = include_str!("names.rs").lines().filter_map(|line| line.split_once("=> \""));
        let names = arms.filter_map(|(_, rest)| Some(rest.split_once('"')?.0));
        let mut known = 0;
        for name in names.filter(|name| !name.contains('{')) {
            assert!(super::ALL.contains(&name), "{name:?} is counted and never demanded");
            known += 1;
        }
        assert!(known > 80, "only {known} names were found");
    }
}
