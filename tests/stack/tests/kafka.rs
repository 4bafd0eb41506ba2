//! Three real brokers, hurt.

use handfast_stack::{Server, Stack, StackSpec};

#[test]
fn three_brokers_serve_and_a_killed_one_comes_back() {
    let stack = Stack::start(&StackSpec { kafka: 3, ..StackSpec::default() }).expect("a stack");
    assert_eq!(stack.kafka_bootstrap().split(',').count(), 3);
    let states = stack.states();
    assert!(states.iter().all(|state| state.serves && state.pid.is_some()), "{states:?}");
    println!("{states:#?}");

    let victim = Server::Kafka(0);
    stack.kill9(victim).expect("killed");
    assert!(!stack.is_alive(victim));
    assert!(!stack.states()[0].serves);
    assert!(stack.stop(Server::Kafka(3)).is_err(), "there is no fourth");
    let took = stack.restart(victim).expect("back");
    println!("a killed broker served again after {took:?}");
    assert!(stack.restart(victim).is_err(), "it runs");

    stack.pause(Server::Kafka(1)).expect("paused");
    assert!(!stack.states()[1].serves, "a paused broker answers nothing");
    stack.resume(Server::Kafka(1)).expect("resumed");
    stack.stop(Server::Kafka(2)).expect("stopped in order");
    assert!(!stack.is_alive(Server::Kafka(2)));
}
