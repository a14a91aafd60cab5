//! What was allowed and is not any more acts on every node: a login session that ended by whatever door, a disabled
//! account. One node acts, the other one has the socket and is shown the access token.

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::cli::salon;
use crate::support::cluster::{Cluster, SECRET};

/// What the beacon is told where only a hint may do it.
const NEVER: (&str, &str) = ("SALON_NODE__BEACON_INTERVAL_MS", "60000");

const NEW_PASSWORD: &str = "another long password";

/// How a login session comes to its end.
#[derive(Debug, Clone, Copy)]
enum Door {
    Logout,
    Ended,
    NewPassword,
    RefreshReused,
    SetByOperator,
    Disabled,
}

/// Those that a node goes through, and so can hint at.
const OF_USERS: [Door; 4] = [Door::Logout, Door::Ended, Door::NewPassword, Door::RefreshReused];
/// Those of the command line, which knows no node.
const OF_OPERATORS: [Door; 2] = [Door::SetByOperator, Door::Disabled];

/// A user with a login session to be ended, and a socket of it on the other node.
struct Victim {
    account: Account,
    /// The ending login session, at the other node.
    there: Http,
    socket: Socket,
    /// Another login session of the same user, which acts.
    other: Http,
}

impl Victim {
    async fn new(cluster: &Cluster) -> Victim {
        let account = cluster.user(0, "victim").await;
        let there = account.http.at(&cluster.url(1));
        let socket = Opening::new(&cluster.url(1)).cookies(&there).welcomed().await.expect("a socket");
        assert_eq!(there.get("/api/account").await.expect("an answer").status, 200);
        let other = Http::new(&cluster.url(0));
        let body = json!({"username": account.user.username, "password": account.password});
        assert_eq!(other.post("/api/account/login", body).await.expect("an answer").status, 200);
        Victim { account, there, socket, other }
    }

    /// Goes through the door, by the first node or by the command line.
    async fn end(&self, cluster: &Cluster, door: Door) {
        let refresh = self.account.http.cookie("salon_refresh").expect("a cookie");
        let (session, _) = refresh.split_once('.').expect("it names its login session");
        let name = self.account.user.username.as_str();
        let (answer, wanted) = match door {
            Door::Logout => (self.account.http.call("POST", "/api/account/logout").send().await, 204),
            Door::Ended => (self.other.delete(&format!("/api/account/sessions/{session}")).await, 204),
            Door::NewPassword => {
                let body = json!({"current": self.account.password, "new": NEW_PASSWORD});
                (self.other.post("/api/account/password", body).await, 204)
            }
            Door::RefreshReused => {
                // As one that was spent long ago: of this login session, and not what it gives out now.
                let spent = json!({"refresh_token": format!("{session}.{}", "A".repeat(43))});
                (self.other.post("/api/account/refresh", spent).await, 401)
            }
            Door::SetByOperator => return command(cluster, &["user", "passwd", name]).await,
            Door::Disabled => return command(cluster, &["user", "disable", name]).await,
        };
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, wanted, "{door:?}: {}", answer.json());
    }

    /// How long it took until the socket was closed, and until the access token was refused; both within three times
    /// the bound.
    async fn ended(&mut self, door: Door, bound: Duration) -> (Duration, Duration) {
        let began = Instant::now();
        let code = if matches!(door, Door::Disabled) { 4503 } else { 4501 };
        let closed = async {
            let told = self.socket.closed(bound * 3).await.unwrap_or_else(|error| panic!("{door:?}: {error}"));
            assert_eq!(told, Some(code), "{door:?}");
            began.elapsed()
        };
        let refused = async {
            while self.there.get("/api/account").await.expect("an answer").status != 401 {
                sleep(Duration::from_millis(10)).await;
            }
            began.elapsed()
        };
        let refused = async { timeout(bound * 3, refused).await.unwrap_or_else(|_| panic!("{door:?}: still let in")) };
        tokio::join!(closed, refused)
    }

    /// The user's other login session goes on, unless the operator ended them all.
    async fn other_stays(&self, cluster: &Cluster, door: Door) {
        let wanted = if matches!(door, Door::SetByOperator | Door::Disabled) { 401 } else { 200 };
        let answer = self.other.at(&cluster.url(1)).get("/api/account").await.expect("an answer");
        assert_eq!(answer.status, wanted, "{door:?}: {}", answer.json());
    }
}

async fn command(cluster: &Cluster, arguments: &[&str]) {
    operator(&cluster.database, arguments).await;
}

/// Runs `salon` on this database, as an operator would; a password it asks for is the new one.
pub async fn operator(database: &str, arguments: &[&str]) {
    let (database, arguments) =
        (database.to_owned(), arguments.iter().map(|&part| part.to_owned()).collect::<Vec<_>>());
    let run = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let settings = [("SALON_DATABASE__URL", database.as_str()), ("SALON_AUTH__SECRET", SECRET)];
        salon(folder.path(), &arguments, &settings, NEW_PASSWORD)
    };
    let done = tokio::task::spawn_blocking(run).await.expect("it runs");
    assert!(done.status.success(), "{done:?}");
}

async fn goes_through(cluster: &Cluster, door: Door, bound: Duration, how: &str) {
    ends(cluster, Victim::new(cluster).await, door, bound, how).await;
}

async fn ends(cluster: &Cluster, mut victim: Victim, door: Door, bound: Duration, how: &str) {
    victim.end(cluster, door).await;
    let (closed, refused) = victim.ended(door, bound).await;
    eprintln!("{door:?} {how}: socket closed after {closed:?}, token refused after {refused:?} (promised: {bound:?})");
    victim.other_stays(cluster, door).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_ends_login_sessions_on_other_nodes() {
    let cluster = Cluster::of(2).env(NEVER.0, NEVER.1).start().await;
    for door in OF_USERS {
        goes_through(&cluster, door, Duration::from_secs(1), "by a hint").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hint_and_the_command_line_end_them_too() {
    let cluster = Cluster::of(2).redis_proxied(1).start().await;
    cluster.redis_proxy(1).swallow("session_ended");
    for door in OF_USERS {
        goes_through(&cluster, door, Duration::from_secs(3), "with the hint lost").await;
    }
    assert!(cluster.redis_proxy(1).swallowed() >= OF_USERS.len(), "hints came through, so nothing was tested");
    for door in OF_OPERATORS {
        goes_through(&cluster, door, Duration::from_secs(3), "with no hint").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_they_end_through_the_database() {
    let cluster = Cluster::of(2).own_redis().start().await;
    let bound = Duration::from_secs(5);
    let victim = Victim::new(&cluster).await;
    // Its connections stay open and nothing answers, which takes longest to notice.
    cluster.redis().pause();
    ends(&cluster, victim, Door::Logout, bound, "while Redis hangs").await;
    cluster.redis().stop_hard();
    for door in OF_USERS.into_iter().chain(OF_OPERATORS) {
        goes_through(&cluster, door, bound, "without Redis").await;
    }
}

/// More at once than the beacon reads in one page, each of them with a socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_page_of_them_end_too() {
    const SESSIONS: usize = 5;
    let cluster = Cluster::of(2).redis_proxied(1).env("SALON_NODE__BEACON_CHUNK", "2").start().await;
    cluster.redis_proxy(1).swallow("session_ended");
    let alice = cluster.user(0, "alice").await;
    let mut sockets = Vec::new();
    for _ in 0..SESSIONS {
        let token = alice.token().await.expect("a login session");
        sockets.push(Opening::new(&cluster.url(1)).bearer(&token).welcomed().await.expect("a socket"));
    }
    let body = json!({"current": alice.password, "new": NEW_PASSWORD});
    let answer = alice.http.post("/api/account/password", body).await.expect("an answer");
    assert_eq!((answer.status, answer.json()), (204, Value::Null));
    for socket in &mut sockets {
        assert_eq!(socket.closed(Duration::from_secs(9)).await.expect("closed"), Some(4501));
    }
    assert!(cluster.redis_proxy(1).swallowed() >= SESSIONS, "hints came through, so nothing was tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_session_goes_on_at_every_node() {
    let cluster = Cluster::of(2).env(NEVER.0, NEVER.1).start().await;
    let alice = cluster.user(0, "alice").await;
    let elsewhere = alice.http.at(&cluster.url(1));
    let mut socket = Opening::new(&cluster.url(1)).cookies(&elsewhere).welcomed().await.expect("a socket");
    for http in [&alice.http, &elsewhere] {
        let answer = http.call("POST", "/api/account/refresh").send().await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.json());
    }
    assert_eq!(alice.http.cookie("salon_refresh"), elsewhere.cookie("salon_refresh"), "any node gives the same");
    socket.drained().await.expect("a refresh closes no socket");
}

/// Whichever of the two ends: the one that opened it, or the one that extended it last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_socket_ends_with_either_login_session() {
    let cluster = Cluster::of(2).env(NEVER.0, NEVER.1).start().await;
    let alice = cluster.user(0, "alice").await;
    for ending in [0, 1] {
        let tokens = [alice.token().await.expect("a token"), alice.token().await.expect("a token")];
        let mut socket = Opening::new(&cluster.url(1)).bearer(&tokens[0]).welcomed().await.expect("a socket");
        let told = socket.ask(json!({"type": "auth", "token": tokens[1]})).await.expect("an answer");
        assert_eq!(told["type"], "authenticated", "{told}");
        let out = Http::bearer(&cluster.url(0), &tokens[ending]).call("POST", "/api/account/logout").send().await;
        assert_eq!(out.expect("an answer").status, 204);
        assert_eq!(socket.closed(Duration::from_secs(3)).await.expect("closed"), Some(4501), "token {ending}");
    }
}
