//! Targets and dead letters, for administrators.

use std::sync::Arc;

use delivery::runtime::ShardDelivery;
use delivery::{
    Cause, DeadLetter, ErrorClass, LetterPlace, LetterState, Name, Owner, Paused, Selection, Store,
    StoreError, Try, Wish,
};
use handfast_proto::v1;
use wal_core::Millis;
use wal_core::message::Message;
use wal_core::namespace::{Namespace, Target};

use super::admin::AdminService;
use super::errors::ServiceError;
use super::listing;
use super::values::message_to_wire;

/// Letters that are taken from the store at a time, with their messages and without.
const PAGE_LETTERS: u32 = 16;
const PAGE_OUTLINES: u32 = 128;
/// An answer grows no further once its letters have so many bytes.
const ANSWER_BYTES: usize = 1 << 20;
/// Names of one selection.
const MAX_NAMES: usize = 10_000;

impl AdminService {
    fn store(&self) -> Result<Arc<dyn Store>, ServiceError> {
        Ok(self.control.deliveries()?)
    }

    pub(super) async fn targets(
        &self,
        name: &str,
    ) -> Result<v1::ListTargetsResponse, ServiceError> {
        let namespace = self.shared.namespace(name, "namespace")?;
        let store = self.store()?;
        let owners = store.owners(namespace.name()).await?;
        let counts = store.count(namespace.name()).await?;
        let mut here = self.shared.backend.delivering(&namespace);
        let targets = namespace.targets().iter().map(|target| {
            let count = |state| {
                let of = counts.iter().filter(|it| it.target == target.name && it.state == state);
                of.map(|it| it.count).sum()
            };
            let place = here.iter().position(|it| it.target == target.name);
            let here = place.map(|place| here.swap_remove(place));
            let (shards, problem) =
                here.map_or_else(Default::default, |it| (it.shards, it.problem));
            let unread = shards.iter().find_map(|it| {
                it.unread.as_ref().map(|why| format!("shard {} cannot be read on: {why}", it.shard))
            });
            v1::TargetStatus {
                name: target.name.clone(),
                kind: target.place.kind().to_owned(),
                paused: target.paused,
                retired: target.retired,
                dead_letters: count(LetterState::Dead),
                redriving: count(LetterState::Redriving),
                shards: shard_deliveries(target, &owners, &shards),
                problem: problem.or(unread).unwrap_or_default(),
            }
        });
        Ok(v1::ListTargetsResponse { targets: targets.collect() })
    }

    pub(super) fn retry_deliveries(
        &self,
        request: &v1::RetryTargetRequest,
    ) -> Result<v1::RetryTargetResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let target = namespace.target_named(&request.target);
        let target = target.map_err(|error| ServiceError::invalid("target", error))?;
        self.shared.backend.retry_target(&namespace, &target.name);
        Ok(v1::RetryTargetResponse {})
    }

    pub(super) async fn dead_letters(
        &self,
        request: v1::ListDeadLettersRequest,
    ) -> Result<v1::ListDeadLettersResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let selection = selection(&namespace, request.selection.unwrap_or_default())?;
        let mut after = listing::after(&request.after, place)?;
        let limit = listing::limit(request.limit);
        let store = self.store()?;
        let mut letters = Vec::new();
        let mut bytes = 0;
        // Letters may be large: few are taken at a time, and an answer grows only so far.
        while bytes < ANSWER_BYTES {
            let left = limit.saturating_sub(u32::try_from(letters.len()).unwrap_or(limit));
            if left == 0 {
                break;
            }
            let (page, found) = if request.without_payloads {
                let page = left.min(PAGE_OUTLINES);
                (page, store.outlines(namespace.name(), selection.clone(), after, page).await?)
            } else {
                let page = left.min(PAGE_LETTERS);
                (page, store.letters(namespace.name(), selection.clone(), after, page).await?)
            };
            let is_last = found.len() < page as usize;
            after = found.last().map(DeadLetter::place);
            bytes += found.iter().map(size).sum::<usize>();
            for letter in found {
                letters.push(if request.without_payloads {
                    outline(letter)
                } else {
                    dead_letter(letter)?
                });
            }
            if is_last {
                return Ok(v1::ListDeadLettersResponse { letters, next: String::new() });
            }
        }
        let next = after.as_ref().map_or_else(String::new, place_text);
        Ok(v1::ListDeadLettersResponse { letters, next })
    }

    pub(super) async fn count_letters(
        &self,
        request: v1::CountDeadLettersRequest,
    ) -> Result<v1::CountDeadLettersResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let selection = selection(&namespace, request.selection.unwrap_or_default())?;
        let chosen = self.store()?.count_chosen(namespace.name(), selection).await?;
        Ok(v1::CountDeadLettersResponse {
            dead: chosen.dead,
            redriving: chosen.redriving,
            newest_ms: chosen.newest.map_or(0, |at| at.0),
        })
    }

    pub(super) async fn change_letters(
        &self,
        request: v1::ChangeDeadLettersRequest,
    ) -> Result<v1::ChangeDeadLettersResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let selection = selection(&namespace, request.selection.unwrap_or_default())?;
        let wish = match v1::DeadLetterWish::try_from(request.wish) {
            Ok(v1::DeadLetterWish::Redrive) => Wish::Redrive,
            Ok(v1::DeadLetterWish::Cancel) => Wish::Cancel,
            Ok(v1::DeadLetterWish::Discard) => Wish::Discard,
            Ok(v1::DeadLetterWish::Unspecified) | Err(_) => {
                return Err(ServiceError::invalid("wish", "say REDRIVE, CANCEL or DISCARD"));
            }
        };
        if wish == Wish::Discard && selection == Selection::default() {
            let what = "name the letters, a target, a key or a time: all of a namespace are not \
                        discarded at once";
            return Err(ServiceError::invalid("selection", what));
        }
        let letters = self.store()?.wish(namespace.name(), selection, wish).await?;
        Ok(v1::ChangeDeadLettersResponse { letters })
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        Self::ControlUnavailable(error.to_string())
    }
}

fn selection(
    namespace: &Namespace,
    wire: v1::DeadLetterSelection,
) -> Result<Selection, ServiceError> {
    let v1::DeadLetterSelection { target, key, names, redriving, since_ms, before_ms } = wire;
    // Letters of a target that was left out may be looked at still.
    let target = Some(target).filter(|target| !target.is_empty());
    if let Some(target) = &target
        && target.len() > wal_core::namespace::MAX_NAME
    {
        let error = namespace.target_named(target).expect_err("no name is so long");
        return Err(ServiceError::invalid("selection.target", error));
    }
    if names.len() > MAX_NAMES {
        let what = format!("at most {MAX_NAMES} names, got {}", names.len());
        return Err(ServiceError::invalid("selection.names", what));
    }
    let mut named = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let name = name
            .parse::<Name>()
            .map_err(|error| ServiceError::invalid(format!("selection.names[{index}]"), error))?;
        named.push(name);
    }
    let state = |redriving| if redriving { LetterState::Redriving } else { LetterState::Dead };
    let time = |ms| Some(Millis(ms)).filter(|_| ms > 0);
    Ok(Selection {
        target,
        key,
        names: named,
        state: redriving.map(state),
        buried_since: time(since_ms),
        buried_before: time(before_ms),
    })
}

/// Bytes that a letter takes in an answer, roughly.
fn size(letter: &DeadLetter) -> usize {
    let tries = letter.history.iter().map(|one| one.text.len());
    letter.message.len() + letter.key.as_ref().map_or(0, |key| key.len()) + tries.sum::<usize>()
}

/// Where a listing goes on.
fn place(text: &str) -> Option<LetterPlace> {
    let (at, rest) = text.split_once('@')?;
    let (name, target) = rest.split_once('@')?;
    let buried_at = Millis(at.parse().ok()?);
    Some(LetterPlace { buried_at, name: name.parse().ok()?, target: target.into() })
}

fn place_text(LetterPlace { buried_at, name, target }: &LetterPlace) -> String {
    format!("{}@{name}@{target}", buried_at.0)
}

fn shard_deliveries(
    target: &Target,
    owners: &[Owner],
    here: &[ShardDelivery],
) -> Vec<v1::ShardDelivery> {
    let of_target = owners.iter().filter(|owner| *owner.course.target == *target.name);
    let mut shards: Vec<_> = of_target
        .map(|owner| {
            let shard = owner.course.shard;
            let told = v1::ShardDelivery {
                shard: u32::from(shard.0),
                process: owner.process.map_or_else(String::new, |process| process.to_string()),
                dealt_with: owner.mark.as_ref().map_or(0, |mark| mark.dealt_with.0),
                ..v1::ShardDelivery::default()
            };
            let Some(here) = here.iter().find(|it| it.shard == shard) else { return told };
            let status = &here.status;
            v1::ShardDelivery {
                here: true,
                held: status.held as u64,
                in_flight: status.in_flight,
                waiting_for_retry: status.backing_off as u64,
                parked: status.parked as u64,
                oldest_us: status.oldest_age_us.unwrap_or(0),
                window: status.window,
                held_up_by: held_up_by(here).to_owned(),
                unread: here.unread.as_deref().unwrap_or_default().to_owned(),
                ..told
            }
        })
        .collect();
    shards.sort_by_key(|it| it.shard);
    shards
}

const fn held_up_by(shard: &ShardDelivery) -> &'static str {
    if shard.unread.is_some() {
        return "unreadable"; // the rest passes, or somebody wants it so
    }
    match shard.status.paused {
        None => "",
        Some(Paused::Draining) => "draining",
        Some(Paused::Administrator) => "paused",
        Some(Paused::DeadLetters) => "dead letters",
        Some(Paused::Overloaded { .. }) => "overloaded",
    }
}

fn dead_letter(letter: DeadLetter) -> Result<v1::DeadLetter, ServiceError> {
    let message = Message::decode(letter.key.clone(), letter.message.clone()).map_err(|error| {
        ServiceError::Internal(format!("the dead letter {} cannot be read: {error}", letter.name))
    })?;
    Ok(v1::DeadLetter { message: Some(message_to_wire(message)), ..outline(letter) })
}

/// All but its message, of which the key is left.
fn outline(letter: DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        name: letter.name.to_string(),
        target: letter.course.target.as_ref().to_owned(),
        shard: u32::from(letter.course.shard.0),
        commit_timestamp_us: letter.timestamp.0,
        message: Some(v1::Message { key: letter.key, ..v1::Message::default() }),
        cause: match letter.cause {
            Cause::Permanent => "permanent",
            Cause::TriesExhausted => "tries exhausted",
            Cause::TooOld => "too old",
        }
        .to_owned(),
        tries: letter.tries,
        history: letter.history.iter().map(one_try).collect(),
        buried_at_ms: letter.buried_at.0,
        redriving: letter.state == LetterState::Redriving,
    }
}

fn one_try(one: &Try) -> v1::DeliveryTry {
    let class = match one.class {
        ErrorClass::Permanent => "permanent",
        ErrorClass::Transient => "transient",
        ErrorClass::Overloaded { .. } => "overloaded",
        ErrorClass::Ours => "ours",
    };
    let text = one.text.as_ref().to_owned();
    v1::DeliveryTry { number: one.number, at_ms: one.at.0, class: class.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use delivery::Engine;
    use wal_core::{Now, Position, ShardId};

    use super::*;

    #[test]
    fn a_listing_goes_on_where_it_said() {
        let name = "0198a2b4-0000-7000-8000-000000000001/7".parse::<Name>().expect("a name");
        for target in ["shop", "a@b", ""] {
            let letter = LetterPlace { buried_at: Millis(12), name, target: target.into() };
            assert_eq!(place(&place_text(&letter)), Some(letter));
        }
        for text in ["12", "12@", "12@0198a2b4-0000-7000-8000-000000000001/7", "x@y@z", "@@"] {
            assert_eq!(place(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_what_holds_up_its_shard() {
        let file = "name = 'bank'\n[[table]]\ncql = 'CREATE TABLE t (i int PRIMARY KEY)'\n\
                    [[target]]\nname = 'shop'\nkind = 'http'\nurl = 'http://shop'\n";
        let namespace = Namespace::from_toml(file).expect("a namespace");
        let target = &namespace.targets()[0];
        let owner = |shard: u16| {
            let (namespace, target) = ("bank".into(), "shop".into());
            let course = delivery::Course { namespace, target, shard: ShardId(shard) };
            Owner { course, process: None, generation: 1, mark: None }
        };
        let engine = Engine::<()>::new(delivery::DeliveryConfig::new(1), Position(0));
        let status = engine.status(Now { wall_us: 0, mono_us: 1 });
        let here = |shard: u16, unread: Option<&str>| ShardDelivery {
            shard: ShardId(shard),
            status,
            unread: unread.map(Into::into),
        };
        let owners = [owner(0), owner(1), owner(2)];
        let shown = shard_deliveries(target, &owners, &[here(1, None), here(2, Some("no form"))]);
        let told: Vec<_> = shown.iter().map(|it| (it.here, &*it.held_up_by, &*it.unread)).collect();
        assert_eq!(told, [(false, "", ""), (true, "", ""), (true, "unreadable", "no form")]);
    }
}
