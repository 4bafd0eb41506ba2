//! A cluster under load, and a participant that is cut off from some of the others and not from all.

mod scene;

use std::time::Duration;

use handfast_cluster::apart::{self, Way};
use handfast_cluster::{Cluster, ClusterSpec, Member};

use scene::Scene;

#[test]
fn whoever_is_cut_off_harms_nobody() {
    apart::play("whoever_is_cut_off_harms_nobody", || {
        let spec = ClusterSpec { gateways: 1, ..ClusterSpec::default() };
        let scene = Scene::on(Cluster::start_apart(&spec).expect("a cluster"));
        let one = Member::Participant(0);
        for way in [Way::Peers, Way::Cassandra, Way::Kafka] {
            scene.fault(&format!("a participant cut off from {way:?} for 12 s"), |cluster| {
                cluster.cut(one, way).expect("cut");
                std::thread::sleep(Duration::from_secs(12));
                cluster.mend(one, way).expect("mended");
            });
        }
        scene::stop_in_order(&scene.end());
    });
}
