//! Real Cassandra nodes, hurt.

use std::time::Instant;

use handfast_stack::{Server, Stack, StackSpec};

#[test]
fn a_node_serves_and_comes_back_after_a_kill_and_after_a_stop() {
    let begun = Instant::now();
    let stack = Stack::start(&StackSpec { cassandra: 1, ..StackSpec::default() }).expect("a stack");
    println!("a node served after {:?}", begun.elapsed());
    let node = Server::Cassandra(0);
    assert_eq!(stack.cassandra_nodes(), [stack.address(node)]);
    println!("{:?}", stack.states());
    stack.kill9(node).expect("killed");
    println!("a killed node served again after {:?}", stack.restart(node).expect("back"));
    stack.stop(node).expect("stopped in order");
    println!("a stopped node served again after {:?}", stack.restart(node).expect("back"));
    assert!(stack.states()[0].serves);
}

#[test]
fn of_three_nodes_any_may_start_while_another_is_down() {
    let begun = Instant::now();
    let stack = Stack::start(&StackSpec { cassandra: 3, ..StackSpec::default() }).expect("a stack");
    println!("three nodes served after {:?}", begun.elapsed());
    let (first, second) = (Server::Cassandra(0), Server::Cassandra(1));
    stack.kill9(first).expect("killed");
    stack.kill9(second).expect("killed");
    println!(
        "with one down, a killed node served after {:?}",
        stack.restart(second).expect("back")
    );
    println!("the other served again after {:?}", stack.restart(first).expect("back"));
    // Each of them finds all three.
    assert!(stack.states().iter().all(|state| state.serves), "{:?}", stack.states());
}
