//! The format: what is read, what is written, and what is said of bad input.

use handfast_checker::{
    Event, Format, HistoryError, MAX_OPERATION_BYTES, Problem, Type, Value, read, read_edn,
    read_jsonl, read_resolved, write, write_history,
};

const INVOKE: &str = "{:type :invoke, :process 0, :f :txn, :value [[:append 1 1]]}\n";
const OK: &str = "{:type :ok, :process 0, :f :txn, :value [[:append 1 1]]}\n";

fn wrong(text: &str) -> HistoryError {
    read_edn(text.as_bytes()).expect_err(text)
}

fn wrong_json(text: &str) -> HistoryError {
    read_jsonl(text.as_bytes()).expect_err(text)
}

#[test]
fn an_event_is_written_as_elle_reads_it_and_as_a_json_line() {
    let read = Value::List(vec![Value::keyword("r"), 1.into(), Value::List(vec![2.into()])]);
    let event = Event {
        index: Some(3),
        time: Some(17),
        ts: Some(99),
        more: vec![("error".to_owned(), Value::from("a \"quoted\"\nline"))],
        ..Event::new(Type::Ok, 4, "txn", Value::List(vec![read]))
    };
    let mut out = Vec::new();
    write(&mut out, Format::Edn, &event).expect("memory takes all");
    let edn = "{:index 3, :type :ok, :process 4, :f :txn, :value [[:r 1 [2]]], :time 17, :ts 99, \
               :error \"a \\\"quoted\\\"\\nline\"}\n";
    assert_eq!(String::from_utf8_lossy(&out), edn);
    out.clear();
    write(&mut out, Format::JsonLines, &event).expect("memory takes all");
    let json = "{\"index\":3,\"type\":\"ok\",\"process\":4,\"f\":\"txn\",\"value\":[[\"r\",1,[2]]],\
                \"time\":17,\"ts\":99,\"error\":\"a \\\"quoted\\\"\\nline\"}\n";
    assert_eq!(String::from_utf8_lossy(&out), json);
}

#[test]
fn what_jepsen_writes_is_read() {
    let text = "; a comment\n[#jepsen.history.Op{:index 0, :time 5, :type :invoke, :process :nemesis, \
                :f :kill, :value #{:n1}}\n {:type :invoke :process 7 :f :txn #_ :gone :value ([:r \"x\" nil])\n  \
                :at #inst \"2026-01-01\" :rate 1.5 :letter \\a}\n {:type :ok :process 7 :f :txn :value [[:r \"x\" [-3]]]}]\n";
    let history = read_edn(text.as_bytes()).expect("EDN");
    assert_eq!((history.len(), history.faults()), (1, 1));
    let operation = history.operation(0);
    assert_eq!((operation.process(), operation.kind()), (7, Type::Ok));
    assert_eq!(operation.value().to_string(), "[[:r \"x\" [-3]]]");
}

#[test]
fn both_formats_say_the_same_of_every_golden_history() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the folder of golden histories") {
        let text = std::fs::read(file.expect("an entry").path()).expect("a file");
        let history = read_edn(&text[..]).expect("a golden history");
        let mut json = Vec::new();
        write_history(&mut json, Format::JsonLines, &history).expect("memory takes all");
        let again = read_jsonl(&json[..]).expect("what was written");
        let mut both = [Vec::new(), Vec::new()];
        for (out, it) in both.iter_mut().zip([&history, &again]) {
            write_history(out, Format::JsonLines, it).expect("memory takes all");
        }
        assert_eq!(both[0], both[1]);
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn an_empty_history_is_an_error() {
    for text in ["", "\n\n", "; nothing\n", "[]", "{:type :info :process :nemesis :f :kill}"] {
        assert_eq!(wrong(text).problem, Problem::Empty, "{text}");
    }
    let error = wrong_json("\n\n");
    assert_eq!(error.problem, Problem::Empty);
    assert!(error.to_string().contains("was the right file given"), "{error}");
}

#[test]
fn a_file_cut_off_in_the_middle_of_a_line_is_an_error_wherever_it_is_cut() {
    let whole = format!("{INVOKE}{OK}");
    for cut in 1..whole.len() {
        let text = &whole[..cut];
        let read = read_edn(text.as_bytes());
        if text.trim_end().ends_with('}') {
            assert!(read.is_ok(), "{text}");
        } else if text.ends_with('\n') {
            panic!("the lines above end with a brace");
        } else {
            let error = read.expect_err(text);
            assert_eq!(error.problem, Problem::CutOff, "{text}");
            assert_eq!(error.line, if cut <= INVOKE.len() { 1 } else { 2 }, "{text}");
        }
    }
    let json =
        "{\"type\":\"invoke\",\"process\":0,\"f\":\"txn\",\"value\":[[\"append\",1,1]]}\n{\"ty";
    let error = wrong_json(json);
    assert_eq!((error.line, &error.problem), (2, &Problem::CutOff));
    assert!(error.to_string().contains("remove its last line"), "{error}");
}

#[test]
fn an_operation_that_never_returned_is_info() {
    let history = read_edn(INVOKE.as_bytes()).expect("a history");
    assert_eq!(history.operation(0).kind(), Type::Info);
    assert_eq!(history.operation(0).end(), None);
}

#[test]
fn a_process_used_twice_at_once_is_an_error() {
    let error = wrong(&format!("{INVOKE}{INVOKE}"));
    assert_eq!(error.problem, Problem::TwiceAtOnce { process: 0, open: 0 });
    assert_eq!((error.line, error.column), (2, 1));
}

#[test]
fn a_completion_without_an_invocation_or_of_another_operation_is_an_error() {
    assert_eq!(wrong(OK).problem, Problem::NoInvocation { process: 0 });
    let twice = format!("{INVOKE}{OK}{OK}");
    assert_eq!(
        (wrong(&twice).problem, wrong(&twice).line),
        (Problem::NoInvocation { process: 0 }, 3)
    );
    for other in ["{:type :ok, :process 0, :f :read, :value 1}", &OK.replace("1 1", "1 2")] {
        let error = wrong(&format!("{INVOKE}{other}"));
        assert!(matches!(error.problem, Problem::OtherOperation { .. }), "{error}");
    }
}

#[test]
fn malformed_edn_is_an_error_with_its_place() {
    for (text, line, column) in [
        ("{:type :ok]}", 1, 11),
        ("}", 1, 1),
        ("{:type\n:invoke :process}", 2, 18),
        ("{:type :invoke :process 0x :f :txn}", 1, 27),
        ("{:type :invoke :f \"\\q\"}", 1, 22),
        ("{:type :invoke :process 99999999999999999999}", 1, 45),
        ("{: 1}", 1, 3),
        ("# 1", 1, 2),
    ] {
        let error = wrong(text);
        assert!(matches!(error.problem, Problem::Syntax(_)), "{text}: {error}");
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
    }
    let error = wrong_json("\n{\"type\": \"invoke\", }\n");
    assert!(matches!(error.problem, Problem::Syntax(_)), "{error}");
    assert_eq!((error.line, error.column), (2, 20), "{error}");
}

#[test]
fn fields_that_are_absent_or_wrong_are_named() {
    for (text, said) in [
        ("[1 2]", "an operation is a map"),
        ("{:process 0 :f :txn}", "has no :type"),
        ("{:type :invoke :f :txn}", "has no :process"),
        ("{:type :invoke :process 0}", "has no :f"),
        ("{:type :begin :process 0 :f :txn}", ":type must be :invoke, :ok, :fail or :info"),
        ("{:type :invoke :process :me :f :txn}", ":process must be a whole number"),
        ("{:type :invoke :process 0 :f :txn :value 3}", "the :value of a transaction is a list"),
        ("{:type :invoke :process 0 :f :txn :value [] :ts 1.5}", ":ts must be a whole number"),
        ("{:type :invoke :process 0 :f :txn :value [] :time -1}", ":time must be a whole number"),
    ] {
        let error = wrong(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn an_unknown_kind_of_operation_is_an_error_that_lists_the_known() {
    for part in ["[:cas 1 [2 3]]", "[:append 1]", ":append", "[:r]", "[1 2 3]"] {
        let error = wrong(&INVOKE.replace("[:append 1 1]", part));
        assert_eq!(error.problem, Problem::UnknownKind(part.to_owned()));
        assert!(error.to_string().contains("[:append key element]"), "{error}");
    }
}

#[test]
fn indices_must_rise() {
    let at = |index: u64, text: &str| text.replacen('{', &format!("{{:index {index}, "), 1);
    let error = wrong(&format!("{}{}", at(5, INVOKE), at(5, OK)));
    assert_eq!(error.problem, Problem::OutOfOrder { index: 5, before: 5 });
}

#[test]
fn what_is_too_long_or_too_deep_is_refused_and_not_held() {
    let long = std::iter::repeat_n(b'[', 1).chain(std::iter::repeat_n(b'"', 1));
    let endless: Vec<u8> = long.chain(std::iter::repeat_n(b'x', MAX_OPERATION_BYTES + 9)).collect();
    for format in [Format::Edn, Format::JsonLines] {
        let error = read(&endless[..], format).expect_err("too long");
        assert_eq!(error.problem, Problem::TooLong);
    }
    let deep = "[".repeat(1_000_000);
    assert_eq!(wrong(&format!("{{:a {deep}")).problem, Problem::TooDeep);
    assert!(matches!(wrong_json(&deep).problem, Problem::Syntax(_)));
}

#[test]
fn lost_operations_are_resolved_by_a_second_file() {
    let info = OK.replace(":ok", ":info");
    let history = format!("{INVOKE}{info}");
    let resolved = OK.replace("}", ", :ts 7}");
    let edn = Format::Edn;
    let both = |resolved: &str| read_resolved(history.as_bytes(), edn, resolved.as_bytes(), edn);
    let it = both(&resolved).expect("a history and what became of it");
    let operation = it.operation(0);
    assert_eq!((operation.kind(), operation.ts()), (Type::Ok, Some(7)));
    assert_eq!(operation.end(), Some(it.places() - 1));
    let error = both(&format!("{resolved}{resolved}")).expect_err("resolved twice");
    assert_eq!(error.1.problem, Problem::NoInvocation { process: 0 });
    assert_eq!(error.1.line, 2);
}
