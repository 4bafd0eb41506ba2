//! What must hold in every state, whatever happens.

use std::fmt;

macro_rules! invariants {
    ($($variant:ident $sentence:literal)*) => {
        /// Something that no client and no reader may ever observe.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Broken {
            $(#[doc = $sentence] $variant,)*
        }

        impl Broken {
            /// What went wrong, in one sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

invariants! {
    FalselyCommitted "a client may be told \"committed\" although not every participant holds the prepare"
    TwoDecisions "an attempt commits after a participant has said no to it"
    Torn "one participant aborts a transaction that is committed"
    Doubled "the effects of one transaction happen twice"
    AbortedYetCommitted "a client may be told \"aborted\" about a transaction that is or can still be committed"
    IntentLost "an intent acknowledged as logged is neither open nor decided"
    OtherContent "a client is told \"committed\" for content that was never committed"
    AcknowledgedNotAccepted "an acknowledged record is not among those that readers accept"
    FailedYetAccepted "a record that its leader reported as failed is accepted"
    WithoutItsCause "an accepted record was written without knowing every accepted record before it"
    TwoLeaders "two processes lead the same epoch"
    NeedlessEnd "a leader without rival and without an unknown result loses its epoch"
    StaleRead "a read that began after a write was acknowledged misses it"
    TornRead "a read returns a combination of values that never existed"
    NotSerializable "no serial order explains the committed transactions"
    LogOrderWrong "replaying the log gives another final value than the serial order"
    TimestampNotAbove "a later write of a row does not carry a higher timestamp than an earlier one"
    TimestampOrderWrong "a transaction has a lower timestamp than one that it follows"
    WriteInvisible "a committed write is hidden by a write that it replaced"
    Deadlock "nobody can make progress any more"
    Livelock "attempts of one transaction are refused without end"
    Overtaken "a younger transaction is granted before an older waiter"
    ClosedNotClosed "a transaction commits at or below a timestamp that was closed without it"
    RemoteTorn "the remote region shows a part of a transaction and not the rest"
    RemoteNotPrefix "the remote region shows something else than all that is committed up to its watermark"
    Resurrected "a row that was deleted comes back"
    Diverged "two regions that have shipped everything show different rows"
    FailoverLost "a new home opens without something that the old one has committed"
    TwoHomes "the old home commits a write after the new one has opened"
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
