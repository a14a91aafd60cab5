//! Messages that are too old go while everybody chats on: on one node with SQLite, and on a cluster.

mod load;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use salon::engine::http::Account;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::node::{Node, Single, unique};
use crate::support::postgres;

/// A sweep begins each second; the rest is the machine's.
const SOON: Duration = Duration::from_secs(30);

const SETTINGS: [(&str, &str); 2] = [("SALON_RETENTION__MESSAGES_DAYS", "30"), ("SALON_NODE__PURGE_INTERVAL_S", "1")];

/// Either kind of site, with a way past it to its database.
enum Site {
    Single(Box<Single>),
    Cluster(Box<Cluster>),
}

impl Site {
    async fn single(more: &[(&str, &str)]) -> Site {
        Site::Single(Box::new(Single::start_with(&[&SETTINGS, more].concat()).await))
    }

    async fn cluster(more: &[(&str, &str)]) -> Site {
        let with = |builder: crate::support::cluster::Builder, (key, value): &(&str, &str)| builder.env(key, value);
        let builder = [&SETTINGS, more].concat().iter().fold(Cluster::of(2), with);
        Site::Cluster(Box::new(builder.start().await))
    }

    fn nodes(&self) -> Vec<&Node> {
        match self {
            Site::Single(single) => vec![&single.node],
            Site::Cluster(cluster) => cluster.nodes.iter().collect(),
        }
    }

    fn urls(&self) -> Vec<String> {
        self.nodes().into_iter().map(Node::url).collect()
    }

    async fn user(&self, name: &str) -> Account {
        Account::register(&self.urls()[0], &unique(name)).await.expect("registration")
    }

    fn database(&self) -> Result<PathBuf, &str> {
        match self {
            Site::Single(single) => Ok(single.database()),
            Site::Cluster(cluster) => Err(&cluster.database),
        }
    }

    async fn execute(&self, on_sqlite: &str, on_postgres: &str) {
        match self.database() {
            Ok(path) => {
                let db = rusqlite::Connection::open(path).expect("the file");
                db.busy_timeout(SOON).expect("a timeout");
                db.execute_batch(on_sqlite).expect(on_sqlite);
            }
            Err(url) => postgres::execute(url, on_postgres).await,
        }
    }

    async fn count(&self, sql: &str) -> i64 {
        match self.database() {
            Ok(path) => {
                let db = rusqlite::Connection::open(path).expect("the file");
                db.busy_timeout(SOON).expect("a timeout");
                db.query_row(sql, [], |row| row.get(0)).expect(sql)
            }
            Err(url) => postgres::connect(url).await.query_one(sql, &[]).await.expect(sql).get(0),
        }
    }

    /// Makes a room's first messages, up to this one, forty days old.
    async fn age(&self, room: i64, upto: u64) {
        let sql =
            |by| format!("UPDATE messages SET created_at = created_at - {by} WHERE room_id = {room} AND id <= {upto}");
        self.execute(&sql("3456000000"), &sql("interval '40 days'")).await;
    }

    /// Waits until so many messages of a room are left.
    async fn has_left(&self, room: i64, messages: i64) {
        let sql = format!("SELECT count(*) FROM messages WHERE room_id = {room}");
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let left = self.count(&sql).await;
            if left == messages {
                return;
            }
            assert!(left > messages && std::time::Instant::now() < deadline, "{left} messages are left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing looks to the nodes as if it had been lost.
    async fn is_not_alarmed(&self) {
        for node in self.nodes() {
            for alarm in ["salon_clock_went_back_total", "salon_beacon_repairs_total"] {
                assert_eq!(node.metric(alarm).await, 0.0, "{alarm}: {}", node.log_tail());
            }
        }
    }
}

async fn say(account: &Account, room: &str, content: &str) -> Value {
    let answer = account.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": content})).await;
    answer.expect("an answer").expect(201).expect("it is stored")
}
