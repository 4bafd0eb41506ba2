//! What an error means: the table of [`super`], as a function.

use super::Code;
use crate::message::ErrorClass;

/// Whether a broker may have meant another record of the batch.
pub(super) fn is_of_a_batch(code: Code) -> bool {
    is_refused(code) || code == Code::InvalidDifferentRecord
}

/// Whether this record will never be taken.
fn is_refused(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
    )
}

/// What an error means for a record. `others`: whether other records were taken meanwhile.
pub(super) fn class_of(code: Code, others: bool) -> ErrorClass {
    match code {
        code if is_refused(code) => ErrorClass::Permanent,
        Code::MessageTimedOut | Code::RequestTimedOut if others => ErrorClass::Transient,
        Code::MessageTimedOut
        | Code::RequestTimedOut
        // The topic is not there, or not as it should be.
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic
        // Who we are.
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::Authentication
        | Code::SSL
        // Nobody is there, or too few.
        | Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::KafkaStorageError
        // Too much.
        | Code::QueueFull
        | Code::ThrottlingQuotaExceeded => ErrorClass::Overloaded { retry_after_us: None },
        _ => ErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_about_the_target_unless_it_took_others() {
        const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };
        let class = |code| [class_of(code, false), class_of(code, true)];
        let given_up = class(Code::MessageTimedOut);
        assert_eq!(given_up, [AWAY, ErrorClass::Transient]);
        for (code, expected) in [
            (Code::MessageSizeTooLarge, ErrorClass::Permanent),
            (Code::InvalidRecord, ErrorClass::Permanent),
            (Code::UnknownTopicOrPartition, AWAY),
            (Code::TopicAuthorizationFailed, AWAY),
            (Code::NotEnoughReplicas, AWAY),
            (Code::AllBrokersDown, AWAY),
            (Code::QueueFull, AWAY),
            (Code::NotLeaderForPartition, ErrorClass::Transient),
            (Code::PurgeInflight, ErrorClass::Transient),
            (Code::Unknown, ErrorClass::Transient),
        ] {
            assert_eq!(class(code), [expected, expected], "{code:?}");
        }
    }

    #[test]
    fn a_fault_of_one_record_may_be_told_of_its_batch() {
        assert!(is_of_a_batch(Code::InvalidDifferentRecord));
        assert!(!is_refused(Code::InvalidDifferentRecord), "another one is");
        assert!(is_of_a_batch(Code::MessageSizeTooLarge));
        assert!(!is_of_a_batch(Code::MessageTimedOut));
    }
}
