//! Names of what happens, for coverage and for the timeline.

use std::fmt::Debug;

use coordinator::api::{Answer, CallAnswer, OutcomeAnswer, ReadAnswer};
use participant::engine::ShardCommand;
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
