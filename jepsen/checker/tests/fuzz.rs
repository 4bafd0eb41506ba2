//! Whatever bytes come: no panic, an error or a history; and what is written is read again as it was.

use handfast_checker::{
    Consistency, Event, EventReader, Format, Model, Options, Type, Value, check, dot, generate,
    read, write,
};
use proptest::collection::vec;
use proptest::prelude::*;

const BOTH: [Format; 2] = [Format::Edn, Format::JsonLines];

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,8}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1_000_000_i64..1_000_000).prop_map(|it| Value::Real(format!("{:?}", it as f64 / 8.0))),
        any::<String>().prop_map(Value::Text),
        name().prop_map(Value::Keyword),
        name()
            .prop_filter("a word of its own", |it| !["nil", "true", "false"].contains(&&**it))
            .prop_map(Value::Symbol),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            (name(), inner).prop_map(|(tag, it)| Value::Tagged(tag, Box::new(it))),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![Just(Type::Invoke), Just(Type::Ok), Just(Type::Fail), Just(Type::Info)];
    let number = 0..i64::MAX as u64;
    let numbers = (proptest::option::of(number.clone()), proptest::option::of(number));
    (kind, -1_i64..9, name(), value(), numbers, any::<Option<i64>>(), any::<String>()).prop_map(
        |(kind, process, f, value, (index, time), ts, error)| Event {
            index,
            time,
            ts,
            more: vec![("error".to_owned(), Value::Text(error))],
            ..Event::new(kind, process, f, value)
        },
    )
}

/// A history of a correct store, in a format.
fn valid(format: Format, seed: u64) -> Vec<u8> {
    let model = if seed.is_multiple_of(2) { Model::Append } else { Model::Register };
    let shape =
        generate::Shape { model, operations: 12, keys: 2, seed, ..generate::Shape::default() };
    let mut out = Vec::new();
    for event in generate::Generator::new(shape) {
        write(&mut out, format, &event).expect("memory takes all");
    }
    out
}

/// Reads, checks if there is something to check, draws; no panic.
fn swallow(bytes: &[u8], format: Format) {
    for event in EventReader::new(bytes, format) {
        if let Err(error) = event {
            assert!(error.line > 0 && error.column > 0 && !error.to_string().is_empty());
        }
    }
    let Ok(history) = read(bytes, format) else { return };
    for consistency in
        [Consistency::StrictSerializable, Consistency::Serializable, Consistency::SnapshotIsolation]
    {
        for model in [None, Some(Model::Append), Some(Model::Register)] {
            let durability = model.is_some();
            let options = Options {
                model,
                consistency,
                durability,
                search_steps: 10_000,
                ..Options::default()
            };
            let verdict = check(&history, &options);
            assert!(!verdict.to_string().is_empty() && dot(&verdict).ends_with("}\n"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        BOTH.into_iter().for_each(|format| swallow(&bytes, format));
    }

    #[test]
    fn arbitrary_brackets_and_words_are_read_without_a_panic(
        text in "([\\[\\](){}#\"\\\\:;,_ \n0-9a-fr-u.+NM/-]|:type|:ok|:invoke|:txn|#_|:f|:process){0,80}"
    ) {
        BOTH.into_iter().for_each(|format| swallow(text.as_bytes(), format));
    }

    #[test]
    fn a_changed_history_is_read_and_checked_without_a_panic(
        seed in 0_u64..1_000,
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        for format in BOTH {
            let mut bytes = valid(format, seed);
            for (place, byte, how) in &changes {
                if bytes.is_empty() {
                    break;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = *byte,
                    1 => bytes[place] = b'0' + byte % 10,
                    2 => drop(bytes.remove(place)),
                    _ => bytes.truncate(place),
                }
            }
            swallow(&bytes, format);
        }
    }

    #[test]
    fn what_is_written_as_edn_is_read_as_it_was(events in vec(event(), 1..4)) {
        let mut out = Vec::new();
        for event in &events {
            write(&mut out, Format::Edn, event).expect("memory takes all");
        }
        let again: Result<Vec<Event>, _> = EventReader::new(&out[..], Format::Edn).collect();
        prop_assert_eq!(again.expect("what was written"), events);
    }

    #[test]
    fn what_is_written_as_json_is_read_as_it_was_written(events in vec(event(), 1..4)) {
        let written = |events: &[Event]| {
            let mut out = Vec::new();
            for event in events {
                write(&mut out, Format::JsonLines, event).expect("memory takes all");
            }
            out
        };
        // JSON forgets what is a keyword; after that nothing changes any more.
        let first = written(&events);
        let again: Result<Vec<Event>, _> = EventReader::new(&first[..], Format::JsonLines).collect();
        let again = again.expect("what was written");
        prop_assert_eq!(again.len(), events.len());
        prop_assert_eq!(written(&again), first);
        for (one, other) in again.iter().zip(&events) {
            prop_assert_eq!(
                (one.kind, one.process, &one.f, one.index, one.time, one.ts),
                (other.kind, other.process, &other.f, other.index, other.time, other.ts)
            );
        }
    }
}
