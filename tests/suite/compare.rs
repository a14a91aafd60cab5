//! What `benches/compare` stands on, at a tiny size: the bare server, the load, and that the load sees what is wrong.

#[path = "../../benches/bare/server.rs"]
mod bare;
#[expect(dead_code, reason = "not all servers that are compared are here")]
#[path = "../../benches/load/mod.rs"]
mod load;
#[path = "../../benches/wire.rs"]
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::node::Single;
use bare::{Server, Writes};
use load::ledger::{Faults, Ledger, Tag};
use load::{Dialect, Measured, Pace, Paced, Salon, Seat, Swarm, Traffic};

const KEY: &str = "the key of the users of a comparison";
const ISSUER: &str =
    "[[auth.issuers]]\nname = \"bench\"\nalgorithm = \"HS256\"\nkey = \"the key of the users of a comparison\"\n";
const WITHIN: Duration = Duration::from_secs(30);
const CLOSED: Pace = Pace::Closed { senders_per_room: 2, in_flight: 4, by: Paced::ByCopy };

/// Rooms of five.
fn seats(rooms: usize, joins: bool) -> Vec<Seat> {
    (0..rooms * 5).map(|user| Seat { user, room: user / 5, joins }).collect()
}

fn run(dialect: Dialect, address: SocketAddr, seats: &[Seat], pace: Pace) -> Measured<()> {
    let mut swarm = Swarm::new(dialect, vec![address]).unwrap();
    swarm.open(seats, 8, WITHIN).unwrap();
    let (warmup, measured) = (Duration::from_millis(50), Duration::from_millis(300));
    Traffic { pace, content_bytes: 128, warmup, measured, settle: WITHIN }.run(&mut swarm, || ()).unwrap()
}

#[test]
fn the_bare_server_delivers_everything_in_one_order() {
    for writes in [Writes::Each, Writes::Coalesced] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let server = std::thread::spawn({
            let stop = stop.clone();
            move || Server::new(listener, writes).unwrap().run(|| stop.load(Ordering::Relaxed))
        });
        for pace in [CLOSED, Pace::Open { per_s: 400 }] {
            let measured = run(Dialect::Bare, address, &seats(2, true), pace);
            assert_eq!((measured.faults, measured.stalled), (Faults::default(), 0), "{writes:?}, {pace:?}");
            // What is sent at the edges of the measured time may be delivered beyond them.
            let (sent, deliveries) = (measured.sent as f64, measured.deliveries as f64);
            assert!(
                sent > 50.0 && (deliveries / sent - 5.0).abs() < 1.0,
                "{writes:?}, {pace:?}: {deliveries} of {sent}"
            );
            assert_eq!(measured.receipts.len(), measured.deliveries);
        }
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_speaks_salon() {
    let limits = [("SALON_LIMITS__MESSAGES_PER_S", "100000"), ("SALON_LIMITS__MESSAGE_BURST", "100000")];
    let single = Single::start_configured(Some(ISSUER), &limits).await;
    let address = single.url().trim_start_matches("http://").parse().unwrap();
    tokio::task::spawn_blocking(move || {
        let salon = |makes_rooms| Dialect::Salon(Salon { key: KEY.to_owned(), makes_rooms });
        Swarm::new(salon(true), vec![address]).unwrap().open(&seats(2, true)[..6], 1, WITHIN).unwrap();
        let measured = run(salon(false), address, &seats(2, true), CLOSED);
        assert_eq!(measured.faults, Faults::default());
        assert!(measured.acked > 0 && measured.deliveries > 0);
        let by_ack = Pace::Closed { senders_per_room: 1, in_flight: 4, by: Paced::ByAck };
        let measured = run(salon(false), address, &seats(2, false), by_ack);
        assert!(measured.acked > 0 && measured.deliveries == 0 && measured.stalled == 0);
    })
    .await
    .unwrap();
}

#[test]
fn each_fault_is_told_from_the_others() {
    // What the second member got, of three messages that the first one got in order.
    for (got, lost, doubled, reordered) in [
        (&[0, 1, 2][..], 0, 0, 0),
        (&[0, 2], 1, 0, 0),
        (&[0, 1], 1, 0, 0),
        (&[1, 0, 2], 0, 0, 1),
        (&[0, 1, 1, 2], 0, 1, 0),
    ] {
        let mut ledger = Ledger::default();
        ledger.add(0, true);
        ledger.add(0, true);
        let tags: Vec<Tag> = (0..3).map(|_| Tag { room: 0, sender: 1, n: ledger.send(1), micros: 7 }).collect();
        tags.iter().for_each(|tag| ledger.receive(0, tag));
        got.iter().for_each(|n: &usize| ledger.receive(1, &tags[*n]));
        assert_eq!(ledger.faults(), Faults { lost, doubled, reordered, strange: 0 }, "{got:?}");
        assert_eq!(ledger.is_settled(), lost == 0, "{got:?}");
        ledger.receive(1, &Tag { n: 3, ..tags[0] });
        assert_eq!(ledger.faults().strange, 1);
    }
    let tag = Tag { room: 9, sender: 0xfffff, n: 77, micros: 1 << 43 };
    assert_eq!(Tag::find(format!(r#"{{"content":"{}xxx"}}"#, tag.text()).as_bytes()), Some(tag));
    assert_eq!(Tag::find(b"{}"), None);
}

/// pgbench is to call what the store calls.
#[test]
fn the_append_that_is_compared_is_the_one_in_use() {
    let called = |text: &str| {
        let at = text.find("FROM salon_append").expect("it is called there");
        text[at..].split('(').next().unwrap_or_default().to_owned()
    };
    let store = include_str!("../../src/store/postgres/append.rs");
    let compared = include_str!("../../benches/compare/pgbench.rs");
    assert_eq!(called(compared), called(store));
    let planning = |text: &str| {
        text.lines().find(|line| line.contains("const PLANNING")).map(|line| line.trim_start_matches("pub ").to_owned())
    };
    assert_eq!(planning(compared), planning(include_str!("../../src/store/postgres/pool.rs")));
}
