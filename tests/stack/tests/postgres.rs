//! A real PostgreSQL, hurt.

use std::time::Instant;

use handfast_stack::{Server, Stack, StackSpec};

#[test]
fn a_server_serves_and_comes_back_after_a_kill_a_pause_and_a_stop() {
    let begun = Instant::now();
    let spec = StackSpec { postgres: true, ..StackSpec::default() };
    let stack = Stack::start(&spec).expect("a stack");
    println!("PostgreSQL served after {:?}", begun.elapsed());
    let server = Server::Postgres;
    let url = stack.postgres_url().expect("it has one");
    assert!(url.starts_with("postgres://") && url.contains(&stack.address(server).to_string()));
    println!("{:?}", stack.states());
    stack.kill9(server).expect("killed");
    println!("killed, it served again after {:?}", stack.restart(server).expect("back"));
    stack.pause(server).expect("paused");
    assert!(stack.is_alive(server));
    stack.resume(server).expect("resumed");
    stack.stop(server).expect("stopped in order");
    assert!(!stack.is_alive(server));
    println!("stopped, it served again after {:?}", stack.restart(server).expect("back"));
    assert!(stack.states()[0].serves, "{}", stack.log(server).expect("a log"));
}
