//! What a list of rooms costs.

use futures_util::StreamExt;
use salon::engine::http::Account;

use super::say;
use crate::support::cluster::SECRET;
use crate::support::measure::counted;
use crate::support::node::{Node, Settings, unique};
use crate::support::postgres::{Postgres, statements};

const MANY: usize = 1_000;
const FEW: usize = 10;
/// Lists asked for of each length, so that what a node asks by itself meanwhile does not show in the mean.
const TIMES: i64 = 20;
/// Of one list, whatever is in it.
const QUERIES: i64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rooms_are_listed_with_as_many_queries_as_ten() {
    let server = Postgres::start_counting();
    let database = server.counted_database().await;
    let own = [
        ("SALON_DATABASE__URL", database.as_str()),
        ("SALON_AUTH__SECRET", SECRET),
        ("SALON_LIMITS__MESSAGES_PER_S", "1000"),
        ("SALON_LIMITS__MESSAGE_BURST", "1000"),
        ("SALON_NODE__BEACON_INTERVAL_MS", "60000"),
    ];
    let env = own.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let node = Node::start("node", Settings { env, ..Settings::default() }).await;
    let (reader, writer) = (person(&node, "reader").await, person(&node, "writer").await);
    let name = unique("listed");
    let rooms = futures_util::stream::iter((0..MANY).map(|n| {
        let (reader, name) = (&reader, format!("{name} {n}"));
        async move { reader.http.create_room(&name, "public").await.expect("a room").slug }
    }));
    let rooms: Vec<String> = rooms.buffered(8).collect().await;
    for (n, room) in rooms.iter().enumerate().step_by(MANY / 50) {
        say(&writer, room, &format!("number {n} for @{}", reader.user.username)).await;
    }

    let mut asked = Vec::new();
    for limit in [FEW, MANY] {
        let before = statements(&database).await;
        for _ in 0..TIMES {
            let answer = reader.http.get(&format!("/api/rooms?limit={limit}")).await.expect("an answer");
            let listed = answer.json();
            let listed = listed.as_array().expect("rooms");
            assert_eq!(listed.len(), limit);
            let unread = listed.iter().filter(|room| room["unread"] == 1 && room["mentions"] == 1).count();
            assert!(limit < MANY || unread == 50, "{unread} rooms with something unread");
        }
        asked.push((statements(&database).await - before) / TIMES);
    }
    assert_eq!(asked[0], asked[1], "queries of {FEW} rooms and of {MANY}");
    let most = usize::try_from(QUERIES).expect("few");
    counted("GET /api/rooms of 1,000 rooms", "database queries", usize::try_from(asked[1]).expect("few"), most);
}

async fn person(node: &Node, name: &str) -> Account {
    Account::register(&node.url(), &unique(name)).await.expect("registration")
}
