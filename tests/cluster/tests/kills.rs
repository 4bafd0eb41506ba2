//! A cluster under load, and everything that can die in it dies: one part at a time, then together.

mod changed;
mod lost_log;
mod scene;

use std::time::Duration;

use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
use handfast_stack::Server;

use scene::{Scene, participant};

#[test]
fn everything_dies_and_nothing_is_lost() {
    let spec = ClusterSpec { deliveries: 2, ..ClusterSpec::default() };
    let scene = Scene::delivering(Cluster::start(&spec).expect("a cluster"));
    for index in 0..3 {
        scene.kill_and_restart(participant(index));
    }
    scene.kill_and_restart(Part::Member(Member::Gateway(0)));
    scene.fault("a server that delivers killed, later restarted", |cluster| {
        let delivery = Part::Member(Member::Delivery(0));
        cluster.kill(delivery).expect("killed");
        std::thread::sleep(Duration::from_secs(8)); // the other takes over
        cluster.restart(delivery).expect("it starts again");
    });
    scene.fault("all participants killed at once", |cluster| {
        (0..3).for_each(|index| cluster.kill(participant(index)).expect("killed"));
        for index in 0..3 {
            cluster.restart(participant(index)).expect("it starts again");
        }
    });
    scene.fault("a participant paused for longer than its session", |cluster| {
        cluster.pause(participant(0)).expect("paused");
        std::thread::sleep(Duration::from_secs(8));
        cluster.resume(participant(0)).expect("it goes on");
    });
    scene.kill_and_restart(Part::Engine(Server::Kafka(0)));
    scene.kill_and_restart(Part::Engine(Server::Cassandra(1)));
    scene.unnoticed("PostgreSQL stopped", |cluster| {
        cluster.stop(Part::Engine(Server::Postgres)).expect("stopped");
        std::thread::sleep(Duration::from_secs(3));
    });
    scene.fault("a participant killed and started again without PostgreSQL", |cluster| {
        cluster.kill(participant(1)).expect("killed");
        cluster.restart(participant(1)).expect("it starts by what it saw last");
        cluster.restart(Part::Engine(Server::Postgres)).expect("it starts again");
    });
    scene.fault("a participant, a broker and a node killed together", |cluster| {
        let parts =
            [participant(2), Part::Engine(Server::Kafka(1)), Part::Engine(Server::Cassandra(2))];
        parts.iter().for_each(|part| cluster.kill(*part).expect("killed"));
        std::thread::sleep(Duration::from_secs(5));
        for part in parts {
            cluster.restart(part).expect("it starts again");
        }
    });
    scene.unnoticed("rolling restart", |cluster| {
        for member in cluster.members().collect::<Vec<_>>() {
            cluster.stop(Part::Member(member)).expect("it stops in order");
            cluster.restart(Part::Member(member)).expect("it starts again");
        }
    });
    scene.unnoticed("the namespace changed", changed::a_new_table_is_served);
    let cluster = scene.end();
    lost_log::a_log_that_is_lost_is_given_up_for_a_new_one(&cluster);
    scene::stop_in_order(&cluster);
}
