//! One real node, and everything that one node can show.

mod scenes;

use handfast_cassandra_tests::Cql;
use handfast_stack::{Stack, StackSpec};
use scenes::Scene;

#[test]
fn tables_on_one_node() {
    let stack = Stack::start(&StackSpec { cassandra: 1, ..StackSpec::default() }).expect("a stack");
    let cql = Cql::connect(&stack.cassandra_nodes());
    let scene = Scene { stack: &stack, cql: &cql };
    scene.play("conformance", |scene| scenes::conformance::run(scene, 1));
    scene.play("every type", scenes::types::every_type_goes_and_comes);
    scene.play("coalescing", scenes::coalescing::ten_rows_are_one_batch);
    scene.play("large", scenes::coalescing::a_large_share_goes_alone);
    scene.play("plain readers", scenes::plain::others_read_and_write_the_same_tables);
    scene.play("markers", scenes::plain::a_row_of_nothing_but_its_key_exists);
    scene.play("refused tables", scenes::schema::every_difference_is_refused_and_its_fix_mends_it);
    scene.play("column dropped", scenes::schema::a_dropped_column_refuses_its_own_writes_only);
    scene.play("table dropped", scenes::schema::a_dropped_table_refuses_its_own_writes_only);
    scene.play("ownership", scenes::registry::two_deployments_cannot_have_one_table);
    scene.play("registry", scenes::registry::identities_and_hints_are_kept);
    scene.play("late writes", scenes::target::the_last_write_wins_whatever_comes_late);
    scene.play("claimed", scenes::target::what_a_namespace_has_claimed_is_no_target);
    scene.play("unlike", scenes::target::tables_that_cannot_be_opened_give_nothing_up);
    scene.play("wrong address", scenes::faults::a_wrong_address_or_data_centre_is_told);
    scene.play("paused", scenes::faults::a_paused_node_is_bounded_and_recovers);
    scene.play("killed", scenes::faults::a_killed_node_comes_back);
}
