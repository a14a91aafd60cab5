//! SQLite without space, and killed while it writes.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::json;
use tokio::time::sleep;

use super::database::{PROGRESS, QUIET, assert_nothing_refused, degraded, joined, well};
use crate::support::cluster::assert_green;
use crate::support::guardian::Guardian;
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Single, unique};

const ANSWERED: Duration = Duration::from_secs(5);
const NORMAL_AGAIN: Duration = Duration::from_secs(5);

/// A node writes its own row every three seconds, and so comes upon it.
const TOLD: Duration = Duration::from_secs(5);

/// A small file system of its own, gone with the test process however that ends.
struct SmallDisk {
    folder: PathBuf,
    _keeper: Guardian,
}

/// Arguments: the place, its size. Stays until it is told to go, and takes the file system with it.
const KEEPER: &str = r#"
mkdir "$1/disk" && $3 mount -t tmpfs -o "size=$2,mode=777" tmpfs "$1/disk" && : >"$1/disk/mounted" || exit 1
trap '$3 umount -l "$1/disk"; kill $!; exit' TERM
sleep infinity & wait
"#;

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        let folder = std::env::temp_dir().join(format!("salon-disk-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let mut keep = Command::new("sh");
        keep.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(size).arg(if root { "" } else { "sudo" });
        let keeper = Guardian::spawn(&keep, &folder, "TERM");
        let disk = SmallDisk { folder, _keeper: keeper };
        let deadline = Instant::now() + PROGRESS;
        while !disk.path().join("mounted").exists() {
            assert!(Instant::now() < deadline, "not mounted: {}", disk._keeper.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("filling")).expect("a file");
        for size in [65_536, 4_096, 1] {
            loop {
                match file.write_all(&vec![b'x'; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling the disk: {error}"),
                }
            }
        }
    }

    fn free(&self) {
        remove(&self.path().join("filling"));
    }
}

fn remove(file: &Path) {
    std::fs::remove_file(file).expect("it is there");
}

fn plan(single: &Single, name: &str) -> Plan {
    Plan {
        nodes: vec![single.url()],
        clients: 6,
        prefix: unique(name),
        pace: Pace::InFlight(2),
        stop: Stop::Told,
        backoff_max: Duration::from_millis(500),
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_nothing_and_loses_nothing() {
    let disk = SmallDisk::mount("24m");
    let database = format!("sqlite:{}", disk.path().join("salon.db").display());
    let single = Single::start_with(&[("SALON_DATABASE__URL", &database)]).await;
    let mix = Mix { cut: 0.0, ..Plan::default().mix };
    let running = Plan { mix, ..plan(&single, "full") }.start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works before");
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("full"), "public").await.expect("a room").slug;
    let mut socket = joined(&single.url(), &alice, &room).await;
    let text = "x".repeat(3_000);
    let send = |nonce: &str| json!({"type": "send", "room": room, "content": text, "nonce": nonce});

    for round in 0..2 {
        disk.fill();
        let (mut acked, mut slowest, mut told) = (Vec::new(), Duration::ZERO, 0);
        // What the log of SQLite holds already can be written over: some still go in.
        let deadline = Instant::now() + PROGRESS;
        let mut last = String::new();
        while told < 3 {
            assert!(Instant::now() < deadline, "the disk does not get full");
            last = unique("nonce");
            let asked = Instant::now();
            let answer = socket.ask(send(&last)).await.expect("an answer");
            slowest = slowest.max(asked.elapsed());
            if answer["type"] == "ack" {
                acked.push(last.clone());
                continue;
            }
            assert_eq!(answer["code"], "unavailable", "never refused: {answer}");
            told += 1;
        }
        measured("SQLite's disk full", "a send is answered `unavailable`", slowest, ANSWERED);
        let full = Instant::now();
        while degraded(&single.node).await != json!(["database"]) {
            assert!(full.elapsed() < SLACK * TOLD, "a full disk is not told of");
            sleep(Duration::from_millis(50)).await;
        }
        measured(&format!("SQLite's disk full, round {round}"), "told by /readyz", full.elapsed(), TOLD);
        let history = alice.http.history(&room).await.expect("history is read without space");
        let has = |nonce: &String| history.messages.iter().any(|message| message.nonce.as_ref() == Some(nonce));
        assert!(acked.iter().all(has), "what was acknowledged is there");

        disk.free();
        let freed = Instant::now();
        loop {
            let answer = socket.ask(send(&last)).await.expect("an answer");
            if answer["type"] == "ack" {
                break;
            }
            assert_eq!(answer["code"], "unavailable", "{answer}");
            assert!(freed.elapsed() < SLACK * NORMAL_AGAIN, "it does not come back");
        }
        measured("SQLite's disk has space again", "a send is stored", freed.elapsed(), NORMAL_AGAIN);
        well(&single.node).await;
        running.progress(50, PROGRESS).await.expect("it goes on");
    }
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("SQLite's disk full", &finished, &[&single.node]);
    assert_nothing_refused(&finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_while_it_commits() {
    const SEED: u64 = 20_261;
    const TIMES: usize = 20;
    let mut rng = SmallRng::seed_from_u64(SEED);
    let single = Single::start().await;
    let mut slowest = Duration::ZERO;
    for round in 0..TIMES {
        let name = format!("killed-{round}");
        let plan = Plan { clients: 3, rooms: 2, seed: SEED + round as u64, ..plan(&single, &name) };
        let running = plan.start().await.expect("the workload starts");
        running.progress(20, PROGRESS).await.expect("it works before");
        // Anywhere within a few commits.
        sleep(Duration::from_micros(rng.random_range(0..20_000))).await;
        assert!(running.clients.iter().any(|client| client.in_flight() > 0), "something is under way");
        single.node.kill9();
        let killed = Instant::now();
        single.node.restart().await;
        running.progress(10, PROGRESS).await.expect("it works again");
        slowest = slowest.max(killed.elapsed());
        well(&single.node).await;
        let finished = running.finish(QUIET).await.expect("the workload ends");
        assert_green(&format!("kill -9 of SQLite, round {round}, seed {SEED}"), &finished, &[&single.node]);
    }
    measured("kill -9 during SQLite's commits, 20 times", "sends are stored again", slowest, NORMAL_AGAIN);
}
