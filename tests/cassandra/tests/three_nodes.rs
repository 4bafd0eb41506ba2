//! Three real nodes, and what takes more than one.

mod scenes;

use std::time::Instant;

use handfast_cassandra_tests::Cql;
use handfast_stack::{Server, Stack, StackSpec};
use scenes::Scene;

#[test]
fn tables_on_three_nodes_with_one_down() {
    let stack = Stack::start(&StackSpec { cassandra: 3, ..StackSpec::default() }).expect("a stack");
    let cql = Cql::connect(&stack.cassandra_nodes());
    let scene = Scene { stack: &stack, cql: &cql };
    scene.play("replica sets", scenes::coalescing::batches_keep_to_a_replica_set);
    scene.play("one paused", scenes::faults::one_paused_node_of_three_is_not_noticed);
    scene.play("fidelity", scenes::fidelity::the_nodes_answer_as_the_models_do);
    scenes::conformance::prepare(&scene, 3);
    stack.kill9(Server::Cassandra(2)).expect("killed");
    let begun = Instant::now();
    scene.play("conformance with one down", scenes::conformance::run_prepared);
    println!("three nodes, one of them down: {:?}", begun.elapsed());
}
