//! The rules of a term, report by report.

use super::*;

type Answers = Vec<(Ticket, Appended)>;

fn run(first: u64, count: u64, offset: u64) -> Run {
    Run { first: Sequence(first), count, offset }
}

fn at(seq: u64, offset: u64) -> Verified {
    Verified { seq: Sequence(seq), offset }
}

/// A term of epoch 3 whose own record stands at 100, and that has sent four batches of two records.
fn term() -> Term {
    let mut term = Term::new(Epoch(3));
    term.push(Ticket { call: 0, slot: 0 }, Sequence(0), 1);
    for call in 1..=4 {
        term.push(Ticket { call, slot: 0 }, term.next(), 2);
    }
    term.handed_over(Sequence(8));
    let mut out = Answers::new();
    assert_eq!(term.on_run(run(0, 1, 100), &mut out), Step::Go);
    assert_eq!(durable(&out), [(0, 100)]);
    term
}

/// Calls answered as durable, and where.
fn durable(out: &Answers) -> Vec<(u64, u64)> {
    let of = |(ticket, answer): &(Ticket, Appended)| match answer {
        Appended::Durable { first } => (ticket.call, first.0),
        other => panic!("{other:?}"),
    };
    out.iter().map(of).collect()
}

#[test]
fn a_batch_is_durable_when_all_of_it_stands_where_it_must() {
    let (mut term, mut out) = (term(), Answers::new());
    assert_eq!(term.on_run(run(1, 1, 101), &mut out), Step::Go);
    assert!(out.is_empty(), "half a batch");
    assert_eq!(term.on_run(run(2, 4, 102), &mut out), Step::Go);
    assert_eq!(durable(&out), [(1, 101), (2, 103)]);
    assert_eq!(term.end(), 106);
}

#[test]
fn the_right_offset_after_a_lost_record_deceives_nobody() {
    let (mut term, mut out) = (term(), Answers::new());
    // Records 1 and 2 were never reported; a rival's two records stand where they belong.
    let step = term.on_run(run(3, 2, 103), &mut out);
    let question = Question { epoch: Epoch(3), from: at(0, 100), to: 104 };
    assert_eq!(step, Step::Read(question), "103 = base + 3, and yet it is not believed");
    assert!(out.is_empty());
}

#[test]
fn foreign_records_between_ours_set_a_new_base() {
    let (mut term, mut out) = (term(), Answers::new());
    let step = term.on_run(run(1, 2, 102), &mut out);
    assert_eq!(step, Step::Read(Question { epoch: Epoch(3), from: at(0, 100), to: 103 }));
    // What is reported meanwhile waits.
    assert_eq!(term.on_run(run(3, 2, 104), &mut out), Step::Go);
    assert!(out.is_empty());
    let found = Found { accepted: vec![at(1, 102), at(2, 103)], next: 104, over: None };
    assert_eq!(term.on_found(&found, &mut out), Step::Go);
    assert_eq!(durable(&out), [(1, 102), (2, 104)]);
    assert_eq!(term.on_run(run(5, 4, 106), &mut out), Step::Go);
    assert_eq!(out.len(), 4);
}

#[test]
fn what_was_read_before_it_was_reported_is_answered_once() {
    let (mut term, mut out) = (term(), Answers::new());
    assert!(matches!(term.on_run(run(1, 2, 102), &mut out), Step::Read(_)));
    let accepted = (1..=6).map(|seq| at(seq, 101 + seq)).collect();
    let found = Found { accepted, next: 108, over: None };
    assert_eq!(term.on_found(&found, &mut out), Step::Go);
    assert_eq!(durable(&out), [(1, 102), (2, 104), (3, 106)]);
    assert_eq!(term.on_run(run(3, 6, 104), &mut out), Step::Go);
    assert_eq!(durable(&out)[3], (4, 108));
}

#[test]
fn a_later_epoch_ends_the_term_and_what_counted_before_it_is_durable() {
    let (mut term, mut out) = (term(), Answers::new());
    assert!(matches!(term.on_run(run(3, 2, 105), &mut out), Step::Read(_)));
    let over = Some("epoch 4 began at 103".to_owned());
    let found = Found { accepted: vec![at(1, 101), at(2, 102)], next: 107, over };
    assert!(matches!(term.on_found(&found, &mut out), Step::Over(_)));
    assert_eq!(durable(&out[..1].to_vec()), [(1, 101)]);
    assert!(out[1..].iter().all(|(_, answer)| matches!(answer, Appended::Unknown { .. })));
    assert_eq!(out.len(), 4);
    assert!(term.sent.is_empty());
}

#[test]
fn offsets_that_go_backwards_are_another_log() {
    let (mut term, mut out) = (term(), Answers::new());
    assert!(matches!(term.on_run(run(1, 2, 0), &mut out), Step::Lost(_)));
    assert!(out.is_empty());
}

#[test]
fn a_record_that_was_read_over_is_not_read_for_again() {
    let (mut term, mut out) = (term(), Answers::new());
    assert!(matches!(term.on_run(run(1, 2, 105), &mut out), Step::Read(_)));
    let found = Found { accepted: Vec::new(), next: 107, over: None };
    assert!(matches!(term.on_found(&found, &mut out), Step::Over(_)));
    assert_eq!(out.len(), 4);
}

#[test]
fn at_the_end_what_was_not_handed_over_is_rejected_and_the_rest_unknown() {
    let (mut term, mut out) = (term(), Answers::new());
    term.push(Ticket { call: 5, slot: 0 }, Sequence(9), 1);
    term.end_in_doubt("nobody answered", &mut out);
    let unknown = out.iter().filter(|(_, it)| matches!(it, Appended::Unknown { .. })).count();
    assert_eq!(unknown, 4);
    assert!(matches!(out[4].1, Appended::Rejected { .. }));
}
