//! A cluster under load, and a participant that is cut off from some of the others and not from all; a broker
//! whose disk is full.

mod scene;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use handfast_cluster::apart::{self, Way};
use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
use handfast_stack::Server;

use scene::Scene;

#[test]
fn whoever_is_cut_off_harms_nobody() {
    apart::play("whoever_is_cut_off_harms_nobody", || {
        let spec = ClusterSpec { gateways: 1, ..ClusterSpec::default() };
        let scene = Scene::on(Cluster::start_apart(&spec).expect("a cluster"));
        let one = Member::Participant(0);
        for way in [Way::Peers, Way::Cassandra] {
            scene.fault(&format!("a participant cut off from {way:?} for 12 s"), |cluster| {
                cluster.cut(one, way).expect("cut");
                std::thread::sleep(Duration::from_secs(12));
                cluster.mend(one, way).expect("mended");
            });
        }
        // It hears the others, and they hear it: still what it leads must be led by them.
        println!("all lead again after {:?}", scene.wait_for_leaders(3));
        scene.fault("a participant cut off from Kafka until others lead its shards", |cluster| {
            let begun = Instant::now();
            cluster.cut(one, Way::Kafka).expect("cut");
            scene.serves_again("a participant cut off from Kafka", begun);
            cluster.mend(one, Way::Kafka).expect("mended");
        });
        a_full_disk(&scene);
        scene::stop_in_order(&scene.end());
    });
}

/// The broker ends by itself; the others have what it has. With room again it comes back.
fn a_full_disk(scene: &Scene) {
    const DISK_BYTES: u64 = 256 << 20;
    let broker = Part::Engine(Server::Kafka(2));
    let filler = |disk: &Path| disk.join("filler");
    let mut disk = None;
    scene.fault("a broker stopped, and moved to a small disk", |cluster| {
        cluster.stop(broker).expect("it stops");
        disk = Some(cluster.small_disk(2, DISK_BYTES).expect("a small disk"));
        cluster.restart(broker).expect("it starts there");
    });
    let disk = disk.expect("it was made");
    scene.fault("a broker's disk full", |cluster| {
        let mut file = fs::File::create(filler(&disk)).expect("a file");
        let filled = io::copy(&mut io::repeat(1), &mut file).expect_err("the disk is full");
        assert_eq!(filled.kind(), io::ErrorKind::StorageFull, "{filled}");
        let end = Instant::now() + Duration::from_secs(60);
        while cluster.is_alive(broker) {
            assert!(Instant::now() < end, "the broker goes on without a disk");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    scene.fault("there is room again", |cluster| {
        fs::remove_file(filler(&disk)).expect("removed");
        cluster.restart(broker).expect("it starts again");
    });
}
