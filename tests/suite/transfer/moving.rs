//! From one machine to a cluster: all that there is, and everybody with it.

use std::collections::BTreeMap;

use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::{Value, json};

use super::{Place, lines, said};
use crate::support::cluster::{Cluster, SECRET, assert_green};
use crate::support::node::{Folder, Node, PATIENCE, Settings, Single, unique};
use crate::support::redis::Redis;

async fn post(account: &Account, path: &str, body: Value) -> Value {
    account.http.post(path, body).await.expect("an answer").expect(201).expect(path)
}

async fn put(account: &Account, path: &str, body: Value) {
    let answer = account.http.put(path, body).await.expect("an answer");
    assert!(answer.status < 300, "{path}: {}", answer.json());
}

/// One of everything that is kept.
async fn furnish(single: &Single) -> (Account, Account) {
    let (alice, bob, cid) = (single.user("alice").await, single.user("bob").await, single.user("cid").await);
    let name = |account: &Account| account.user.username.clone();
    let private = alice.http.create_room(&unique("private"), "private").await.expect("a room").slug;
    let path = format!("/api/rooms/{private}");
    for member in [&bob, &cid] {
        put(&alice, &format!("{path}/members/{}", name(member)), json!({"role": "member"})).await;
    }
    let first =
        post(&bob, &format!("{path}/messages"), json!({"content": format!("@{} @{0}", name(&alice)), "nonce": "n"}))
            .await;
    post(
        &cid,
        &format!("{path}/messages"),
        json!({"content": format!("me @{} and @{}", name(&cid), name(&bob)), "reply_to": 1}),
    )
    .await;
    for (who, emoji) in [(&alice, "👍"), (&bob, "🎉"), (&cid, "👍"), (&bob, "👍")] {
        let emoji = salon::engine::http::escape(emoji);
        put(who, &format!("{path}/messages/{}/reactions/{emoji}", first["id"]), json!({})).await;
    }
    // The kind that was given first stays first, though who gave it first took it back.
    let back = format!("{path}/messages/{}/reactions/{}", first["id"], salon::engine::http::escape("👍"));
    assert_eq!(alice.http.delete(&back).await.expect("an answer").status, 200);
    let patched = alice.http.patch(&path, json!({"topic": "a\u{1F600}\"topic\\", "retention_days": 99})).await;
    assert_eq!(patched.expect("an answer").status, 200);
    put(&alice, &format!("{path}/bans/{}", name(&cid)), json!({"reason": "why", "until": "2099-01-01T00:00:00Z"}))
        .await;
    put(&alice, &format!("{path}/mutes/{}", name(&bob)), json!({})).await;
    post(&alice, &format!("{path}/invites"), json!({"uses": 3})).await;
    put(&bob, &format!("{path}/read"), json!({"seq": 1})).await;
    let direct = post(&alice, "/api/rooms", json!({"kind": "direct", "username": name(&cid)})).await;
    let direct = format!("/api/rooms/{}/messages", direct["slug"].as_str().expect("a slug"));
    post(&cid, &direct, json!({"content": "line\nbreak \u{2028} and ünïcödé"})).await;
    let gone = alice.http.create_room(&unique("gone"), "public").await.expect("a room").slug;
    assert_eq!(alice.http.delete(&format!("/api/rooms/{gone}")).await.expect("an answer").status, 204);
    assert_eq!(single.command(&["user", "disable", &name(&cid)]).status.code(), Some(0));
    (alice, bob)
}

/// The file by itself tells whether it is of one moment: the clock of each room is at its last change.
fn is_of_one_moment(bytes: &[u8]) {
    let lines = lines(bytes);
    assert_eq!(lines[0]["lines"], lines.len() - 1);
    let mut last: BTreeMap<i64, u64> = BTreeMap::new();
    for line in &lines {
        if line["type"] == "message" {
            let at = last.entry(line["room"].as_i64().expect("a room")).or_default();
            *at = (*at).max(line["seq"].as_u64().expect("a seq"));
        }
    }
    for room in lines.iter().filter(|line| line["type"] == "room") {
        let id = room["id"].as_i64().expect("an id");
        assert_eq!(room["seq"], last.get(&id).copied().unwrap_or(0), "room {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_busy_room_imported_elsewhere_is_equal() {
    let single = Single::start().await;
    let (alice, bob) = furnish(&single).await;
    let plan = Plan {
        nodes: vec![single.url()],
        clients: 5,
        rooms: 2,
        prefix: unique("busy"),
        mix: Mix { edit: 0.2, delete: 0.1, leave: 0.0, cut: 0.0 },
        pace: Pace::InFlight(3),
        stop: Stop::Told,
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    let here = Place { url: format!("sqlite:{}", single.database().display()), folder: Folder::new("transfer") };
    for round in 0..3 {
        running.progress(200, PATIENCE).await.expect("it works");
        let busy = here.export("busy.jsonl", &[]);
        is_of_one_moment(&busy);
        let there = if round % 2 == 0 { Place::postgres().await } else { Place::sqlite() };
        there.imports(&here.file("busy.jsonl"));
        assert_eq!(there.export("back.jsonl", &[]), busy, "what was exported while everybody wrote");
    }
    let reader = running.reader.clone();
    let rooms = running.rooms.clone();
    let finished = running.finish(PATIENCE).await.expect("quiet");
    assert_green("exports beside a workload", &finished, &[&single.node]);

    let first = here.export("first.jsonl", &[]);
    let (postgres, sqlite) = (Place::postgres().await, Place::sqlite());
    let told = postgres.imports(&here.file("first.jsonl"));
    assert!(told.contains("a second)"), "{told}");
    assert_eq!(postgres.export("second.jsonl", &[]), first, "SQLite → Postgres");
    sqlite.imports(&postgres.file("second.jsonl"));
    assert_eq!(sqlite.export("third.jsonl", &[]), first, "→ SQLite");

    // As people see it, on a cluster now.
    let nodes = cluster_on(&postgres, 1).await;
    let url = nodes[0].url();
    for (room, before) in rooms.iter().zip(&finished.histories) {
        let http = log_in(&url, &reader).await;
        let after = http.history(room).await.expect("a history");
        assert_eq!((&after.epoch, after.head), (&before.epoch, before.head));
        assert_eq!(after.messages, before.messages);
    }
    for account in [&alice, &bob] {
        let there = log_in(&url, account).await;
        let list = async |http: &Http| {
            let mut rooms = http.get("/api/rooms").await.expect("an answer").json();
            for room in rooms.as_array_mut().expect("rooms") {
                room["online"] = json!(0);
            }
            rooms
        };
        let rooms = list(&account.http).await;
        assert_eq!(list(&there).await, rooms, "names, marks, what is unread, roles");
        for room in rooms.as_array().expect("rooms") {
            let path =
                format!("/api/rooms/{}/messages", salon::engine::http::escape(room["slug"].as_str().expect("a slug")));
            let pages = (
                there.get(&path).await.expect("an answer").json(),
                account.http.get(&path).await.expect("an answer").json(),
            );
            assert_eq!(pages.0, pages.1, "mentions, reactions, times");
        }
    }
    // What was given before is not given again, also not the room's that was deleted.
    let header = lines(&first).remove(0);
    let there =
        Account { http: log_in(&url, &alice).await, user: alice.user.clone(), password: alice.password.clone() };
    let room = there.http.create_room(&unique("new"), "public").await.expect("a room");
    assert_eq!(room.id, header["last_room"].as_i64().expect("an id") + 1);
    let newcomer = Account::register(&url, &unique("new")).await.expect("registration");
    assert_eq!(newcomer.user.id, header["last_user"].as_i64().expect("an id") + 1);
    let cid = first
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{\"type\":\"user\""))
        .filter(|line| String::from_utf8_lossy(line).contains("\"disabled\":true"));
    assert_eq!(cid.count(), 1, "who was disabled stays so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_busy_cluster_is_of_one_moment() {
    let cluster = Cluster::start(2).await;
    let plan = Plan {
        nodes: cluster.urls(),
        clients: 6,
        rooms: 3,
        prefix: unique("busy"),
        mix: Mix { edit: 0.2, delete: 0.1, leave: 0.0, cut: 0.0 },
        pace: Pace::InFlight(4),
        stop: Stop::Told,
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    let here = Place { url: cluster.database.clone(), folder: Folder::new("transfer") };
    for _ in 0..5 {
        running.progress(300, PATIENCE).await.expect("it works");
        let busy = here.export("busy.jsonl", &[]);
        is_of_one_moment(&busy);
        let there = Place::sqlite();
        there.imports(&here.file("busy.jsonl"));
        assert_eq!(there.export("back.jsonl", &[]), busy, "what was exported while everybody wrote");
    }
    let finished = running.finish(PATIENCE).await.expect("quiet");
    assert_green("exports beside a cluster's workload", &finished, &[&cluster.nodes[0]]);
}

async fn log_in(url: &str, account: &Account) -> Http {
    let token =
        Http::new(url).token(&account.user.username, &account.password).await.expect("the password is the same");
    Http::bearer(url, &token)
}

async fn cluster_on(place: &Place, nodes: usize) -> Vec<Node> {
    let prefix = Redis::prefix();
    let settings = || {
        let env = [
            ("SALON_DATABASE__URL", place.url.clone()),
            ("SALON_REDIS__URL", Redis::shared().url()),
            ("SALON_REDIS__PREFIX", prefix.clone()),
            ("SALON_AUTH__SECRET", SECRET.to_owned()),
        ];
        Settings { env: env.map(|(key, value)| (key.to_owned(), value)).into(), ..Settings::default() }
    };
    let mut started = Vec::new();
    for node in 0..nodes {
        started.push(Node::start(&format!("moved-{node}"), settings()).await);
    }
    started
}

/// Where it stood on the one machine is where it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_after_its_site_became_a_cluster() {
    let single = Single::start().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("moved"), "public").await.expect("a room").slug;
    let path = format!("/api/rooms/{room}/messages");
    for number in 1..=5 {
        post(&alice, &path, json!({"content": format!("{number}"), "nonce": format!("n{number}")})).await;
    }
    let mut socket = Opening::new(&single.url()).cookies(&bob.http).welcomed().await.expect("a socket");
    let joined = socket.join(&room).await.expect("joined");
    assert_eq!(joined["seq"], 5);
    socket.close().await;
    for number in 6..=8 {
        post(&alice, &path, json!({"content": format!("{number}"), "nonce": format!("n{number}")})).await;
    }
    let edited = alice.http.patch(&format!("{path}/2"), json!({"content": "two"})).await.expect("an answer");
    assert_eq!(edited.status, 200);
    single.node.terminate().await;

    let here = Place { url: format!("sqlite:{}", single.database().display()), folder: Folder::new("transfer") };
    let there = Place::postgres().await;
    // As an operator would: through a pipe.
    let exported = here.run(&["export"]);
    assert_eq!(exported.status.code(), Some(0), "{}", said(&exported));
    std::fs::write(there.file("moved.jsonl"), &exported.stdout).expect("a file");
    let file = std::fs::File::open(there.file("moved.jsonl")).expect("the file");
    let imported = there.command(&["import"]).stdin(file).output().expect("salon runs");
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));

    let nodes = cluster_on(&there, 2).await;
    let token = Http::new(&nodes[1].url()).token(&bob.user.username, &bob.password).await.expect("a token");
    let mut socket = Opening::new(&nodes[1].url()).bearer(&token).welcomed().await.expect("a socket");
    let join = json!({"type": "join", "room": room, "after": 5, "epoch": joined["epoch"]});
    let resumed = socket.ask(join).await.expect("an answer");
    assert_eq!((&resumed["reset"], &resumed["seq"], &resumed["epoch"]), (&json!(false), &json!(9), &joined["epoch"]));
    let told: Vec<(&Value, &Value)> =
        resumed["messages"].as_array().expect("messages").iter().map(|one| (&one["seq"], &one["content"])).collect();
    let wanted = [(6, "6"), (7, "7"), (8, "8"), (9, "two")].map(|(seq, content)| (json!(seq), json!(content)));
    assert_eq!(told, wanted.iter().map(|(seq, content)| (seq, content)).collect::<Vec<_>>());
    // A send that was not acknowledged there is sent again here.
    let hers = log_in(&nodes[0].url(), &alice).await;
    let again = hers.post(&path, json!({"content": "8", "nonce": "n8"})).await.expect("an answer");
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(8)), "one nonce, one message");
    let next = hers.post(&path, json!({"content": "10", "nonce": "n10"})).await.expect("an answer");
    assert_eq!((next.status, &next.json()["seq"]), (201, &json!(10)));
    let live = socket.expect("chat_message").await.expect("told");
    assert_eq!((&live["seq"], live.get("from")), (&json!(10), None));
    // Words are taken anew, beside all else.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let found = hers.get(&format!("/api/search?q=two&room={room}")).await.expect("an answer").json();
        if found.as_array().is_some_and(|found| found.len() == 1) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it is not found: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
