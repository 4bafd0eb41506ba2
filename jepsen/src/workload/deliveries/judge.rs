//! What must hold of messages, as a function of what was sent and what arrived.

use std::collections::{BTreeMap, BTreeSet};

/// A message that somebody sent, by its name.
pub(super) type Messages = BTreeMap<String, Message>;

/// A message that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) key: String,
    pub(super) body: String,
    /// When its transaction committed, and its place in that; `None` if it was aborted.
    pub(super) at: Option<(i64, usize)>,
}

/// When a message's transaction committed and its place in that; its name.
type Placed<'a> = ((i64, usize), &'a str);

/// A request that came to the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// What repeats of it are told by.
    pub(super) name: String,
    pub(super) key: String,
    pub(super) body: String,
    /// When its transaction committed, as it says.
    pub(super) at: Option<i64>,
    /// Whether the endpoint took it.
    pub(super) taken: bool,
}

/// What became of the messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// All requests, as they came.
    pub(super) requests: Vec<Request>,
    /// How many had come before the endpoint was well again, and everything was redriven.
    pub(super) ill: usize,
    /// What was in the dead letters then, by name.
    pub(super) dead: BTreeSet<String>,
    /// What was in the dead letters at the end.
    pub(super) left: BTreeSet<String>,
}

/// What does not hold.
pub(super) fn is_wrong(messages: &Messages, course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    for request in &course.requests {
        wrong.extend(request_is_wrong(messages, request));
    }
    for name in course.dead.iter().chain(&course.left) {
        match messages.get(name) {
            None => wrong.push(format!("the dead letter {name} was sent by nobody")),
            Some(message) if message.at.is_none() => {
                wrong.push(format!("the dead letter {name} is of an aborted transaction"));
            }
            Some(_) => {}
        }
    }
    let taken = |requests: &[Request]| -> BTreeSet<String> {
        requests.iter().filter(|it| it.taken).map(|it| it.name.clone()).collect()
    };
    let (before, all) =
        (taken(&course.requests[..course.ill.min(course.requests.len())]), taken(&course.requests));
    for (name, message) in messages.iter().filter(|(_, message)| message.at.is_some()) {
        let (body, is_dead) = (&message.body, course.dead.contains(name));
        if !before.contains(name) && !is_dead {
            wrong.push(format!("{name} ({body}) is lost: neither taken nor a dead letter"));
        } else if !all.contains(name) {
            wrong.push(format!("{name} ({body}) was not taken after it was redriven"));
        }
        if course.left.contains(name) {
            wrong.push(format!("{name} ({body}) is a dead letter after it was redriven"));
        }
    }
    wrong.extend(order_is_wrong(messages, course));
    wrong
}

/// What a request says must be what was sent under its name.
fn request_is_wrong(messages: &Messages, request: &Request) -> Option<String> {
    let Request { name, key, body, at, .. } = request;
    let Some(message) = messages.get(name) else {
        return Some(format!("{name} ({body}) arrived and was sent by nobody"));
    };
    let Some((committed, _)) = message.at else {
        return Some(format!("{name} ({body}) arrived, of an aborted transaction"));
    };
    if (&message.key, &message.body) != (key, body) {
        let Message { key: sent_key, body: sent, .. } = message;
        return Some(format!(
            "{name} was sent as {sent} with key {sent_key}, and arrived as {body} with key {key}"
        ));
    }
    (*at != Some(committed)).then(|| {
        format!("{name} ({body}) committed at {committed}, and says that it did at {at:?}")
    })
}

/// Messages of one key come in the order in which their transactions committed: none before each earlier one was
/// taken, but for repeats, and for those that were dead letters.
fn order_is_wrong(messages: &Messages, course: &Course) -> Vec<String> {
    let (mut came, mut taken) = (BTreeMap::new(), BTreeMap::new());
    for (place, request) in course.requests.iter().enumerate() {
        came.entry(&*request.name).or_insert(place);
        if request.taken {
            taken.entry(&*request.name).or_insert(place);
        }
    }
    let mut keys: BTreeMap<&str, Vec<Placed<'_>>> = BTreeMap::new();
    for (name, message) in messages.iter().filter(|(name, _)| !course.dead.contains(*name)) {
        if let Some(at) = message.at {
            keys.entry(&message.key).or_default().push((at, name));
        }
    }
    let mut wrong = Vec::new();
    for (key, mut names) in keys {
        names.sort_unstable();
        // The latest of those before: when it was first taken, and which.
        let mut before: Option<(usize, &str)> = None;
        for (_, name) in names {
            // What never came is lost, and told as that.
            let (Some(came), Some(taken)) = (came.get(name), taken.get(name)) else { continue };
            if let Some((earlier, which)) = before
                && earlier > *came
            {
                wrong.push(format!("{name} of key {key} came before {which} was taken"));
            }
            before = before.max(Some((*taken, name)));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages of key a and one of b that committed, in this order, and one of a that did not.
    fn messages() -> Messages {
        let message = |key: &str, body: &str, at: Option<(i64, usize)>| Message {
            key: key.to_owned(),
            body: body.to_owned(),
            at,
        };
        let all = [
            ("1/0", message("a", "first", Some((10, 0)))),
            ("1/1", message("b", "beside", Some((10, 1)))),
            ("2/0", message("a", "second", Some((20, 0)))),
            ("3/0", message("a", "aborted", None)),
        ];
        all.into_iter().map(|(name, message)| (name.to_owned(), message)).collect()
    }

    /// A request of a message as it was sent.
    fn request(name: &str, taken: bool) -> Request {
        let Message { key, body, at } = messages()[name].clone();
        let at = at.map(|(at, _)| at);
        Request { name: name.to_owned(), key, body, at, taken }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// All of these come while the endpoint is ill.
    fn course(requests: &[(&str, bool)]) -> Course {
        let requests: Vec<Request> =
            requests.iter().map(|(name, taken)| request(name, *taken)).collect();
        Course { ill: requests.len(), requests, ..Course::default() }
    }

    fn wrong(course: &Course) -> String {
        is_wrong(&messages(), course).join("; ")
    }

    const GOOD: [(&str, bool); 4] = [("1/0", false), ("1/1", true), ("1/0", true), ("2/0", true)];

    #[test]
    fn what_was_taken_once_or_again_is_well() {
        assert_eq!(wrong(&course(&GOOD)), "");
        let repeated = [&GOOD[..], &[("1/0", true), ("1/1", true), ("2/0", true)]].concat();
        assert_eq!(wrong(&course(&repeated)), "", "after a restart");
    }

    #[test]
    fn a_lost_message_is_found() {
        assert!(wrong(&course(&GOOD[..3])).contains("2/0 (second) is lost"));
        // It came, and was never taken.
        let refused = [&GOOD[..3], &[("2/0", false)]].concat();
        assert!(wrong(&course(&refused)).contains("2/0 (second) is lost"));
        // It comes later, though it was no dead letter: it was not held to be dealt with, and yet lost then.
        let late = Course { ill: 3, ..course(&GOOD) };
        assert!(wrong(&late).contains("2/0 (second) is lost"), "{}", wrong(&late));
    }

    #[test]
    fn dead_letters_are_not_lost_once_they_are_redriven() {
        let dead = [("1/0", false), ("1/1", true), ("2/0", true)];
        let redriven = [&dead[..], &[("1/0", true)]].concat();
        let redriven = Course { ill: 3, dead: names(&["1/0"]), ..course(&redriven) };
        assert_eq!(wrong(&redriven), "", "behind the second: it was a dead letter");
        let not_taken = Course { requests: redriven.requests[..3].to_vec(), ..redriven.clone() };
        assert!(wrong(&not_taken).contains("was not taken after it was redriven"));
        let left = Course { left: names(&["1/0"]), ..redriven.clone() };
        assert!(wrong(&left).contains("is a dead letter after it was redriven"));
        let not_buried = Course { dead: names(&[]), ..redriven };
        assert!(wrong(&not_buried).contains("1/0 (first) is lost"));
    }

    #[test]
    fn what_is_of_an_aborted_transaction_or_of_nobody_is_found() {
        let aborted = [&GOOD[..], &[("3/0", false)]].concat();
        assert!(wrong(&course(&aborted)).contains("3/0 (aborted) arrived, of an aborted"));
        for (name, what) in [("3/0", "is of an aborted transaction"), ("9/0", "sent by nobody")] {
            let buried = Course { dead: names(&[name]), ..course(&GOOD) };
            assert!(wrong(&buried).contains(what), "{}", wrong(&buried));
        }
        let mut invented = course(&GOOD);
        invented.requests.push(Request { name: "9/0".to_owned(), ..request("1/0", true) });
        assert!(wrong(&invented).contains("9/0 (first) arrived and was sent by nobody"));
    }

    #[test]
    fn messages_of_a_key_that_come_out_of_order_are_found() {
        let swapped = [("2/0", true), ("1/0", true), ("1/1", true)];
        assert!(wrong(&course(&swapped)).contains("2/0 of key a came before 1/0 was taken"));
        // The first was tried before, but not taken.
        let too_early = [("1/0", false), ("2/0", true), ("1/0", true), ("1/1", true)];
        assert!(wrong(&course(&too_early)).contains("came before 1/0 was taken"));
        // Those of other keys have no order.
        let others = [("1/1", true), ("1/0", true), ("2/0", true)];
        assert_eq!(wrong(&course(&others)), "");
    }

    #[test]
    fn what_arrives_otherwise_than_it_was_sent_is_found() {
        let with = |change: fn(&mut Request)| {
            let mut course = course(&GOOD);
            change(&mut course.requests[3]);
            wrong(&course)
        };
        assert!(with(|it| it.body = "other".to_owned()).contains("arrived as other"));
        assert!(with(|it| it.key = "b".to_owned()).contains("with key b"));
        assert!(with(|it| it.at = Some(21)).contains("committed at 20, and says"));
        assert!(
            with(|it| it.name = "1/1".to_owned()).contains("was sent as beside"),
            "a name twice"
        );
    }
}
