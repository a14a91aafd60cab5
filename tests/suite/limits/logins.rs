//! Trying passwords, and what a flood of that may cost.

use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use salon::engine::http::{Account, Answer, Http};
use serde_json::json;

use super::{FROM, PROXIED, acks_during};
use crate::http::assert_problem;
use crate::http::login_sessions::sql;
use crate::support::node::{Single, unique};
use crate::websocket::{joined, room, say, socket};

/// Far more than it takes, also on a busy machine.
const ACK_MAX: Duration = Duration::from_secs(2);

async fn log_in(single: &Single, name: &str, password: &str, address: &str) -> Answer {
    let http = Http::new(&single.url());
    let call = http.call("POST", "/api/account/login").header(FROM, address).timeout(Duration::from_secs(60));
    call.json(&json!({"username": name, "password": password})).send().await.expect("an answer")
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_failed_tries_a_minute_from_one_address_and_nobody_else_is_locked_out() {
    let limits =
        [("SALON_LIMITS__LOGINS_PER_MINUTE_ACCOUNT", "10"), ("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "20"), PROXIED];
    let single = Single::start_with(&limits).await;
    let alice = single.user("alice").await;
    let name = alice.user.username.as_str();
    let room = room(&alice).await;
    let mut open = joined(&single, &alice, &room).await;
    // All at once: they are counted before any of them is looked at, so the refused one is answered first. The right
    // password comes right after it, before time has earned another try.
    let mut tries: FuturesUnordered<_> = (0..11).map(|_| log_in(&single, name, "wrong", "192.0.2.1")).collect();
    let first = tries.next().await.expect("an answer");
    let (refused, rest) =
        tokio::join!(log_in(&single, name, &alice.password, "192.0.2.1"), tries.collect::<Vec<Answer>>());
    assert_problem(&first, 429, "rate_limited");
    assert_eq!(count(&rest, 401), 10);
    assert_problem(&refused, 429, "rate_limited");
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait <= 60)));
    // The victim, elsewhere, and whoever of hers is logged in.
    assert_eq!(log_in(&single, name, &alice.password, "192.0.2.2").await.status, 200);
    assert_eq!(alice.http.get("/api/account").await.expect("an answer").status, 200);
    let refresh = alice.http.call("POST", "/api/account/refresh").header(FROM, "192.0.2.1").send().await;
    assert_eq!(refresh.expect("an answer").status, 204);
    say(&mut open, &room, "undisturbed").await;
    // Another account from the attacker's address has its own count, within the address's.
    assert_eq!(log_in(&single, "nobody.at.all", "wrong", "192.0.2.1").await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tries_a_minute_from_one_address_whatever_comes_of_them() {
    let single = Single::start_with(&[("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "20"), PROXIED]).await;
    let alice = single.user("alice").await;
    let name = alice.user.username.as_str();
    // A /64 of IPv6 is one address. At once, since time earns tries.
    let tries =
        (0..21).map(async |number| log_in(&single, name, &alice.password, &format!("2001:db8::{number}")).await);
    let tries = join_all(tries).await;
    assert_eq!((count(&tries, 200), count(&tries, 429)), (20, 1));
    assert_eq!(log_in(&single, name, &alice.password, "2001:db8:1::7").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_of_an_address_are_bounded() {
    let single = Single::start_with(&[("SALON_LIMITS__REGISTRATIONS_PER_MINUTE_ADDRESS", "5"), PROXIED]).await;
    let register = async |name: String, address: &str| {
        let http = Http::new(&single.url());
        let call = http.call("POST", "/api/account/register").header(FROM, address).timeout(Duration::from_secs(60));
        call.json(&json!({"username": name, "password": "correct horse battery"})).send().await.expect("an answer")
    };
    assert_eq!(register("admin".into(), "192.0.2.1").await.status, 422, "what costs nothing is not counted");
    let tries = join_all((0..6).map(|_| register(unique("many"), "192.0.2.1"))).await;
    assert_eq!((count(&tries, 201), count(&tries, 429)), (5, 1));
    assert_eq!(register(unique("other"), "192.0.2.2").await.status, 201);
    let account = Account::register(&single.url(), &unique("local")).await.expect("from another address again");
    let answer = log_in(&single, &account.user.username, &account.password, "192.0.2.1").await;
    assert_eq!(answer.status, 200, "registering does not use up log-ins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashing_takes_its_memory_once_a_thread() {
    const THREADS: u64 = 2;
    /// 19 MiB for each hash at a time, and what a dozen users and their log-ins take beside.
    const BYTES_MAX: u64 = (THREADS * 19 + 16) << 20;
    let single = Single::start_with(&[("SALON_LIMITS__PASSWORD_THREADS", &THREADS.to_string())]).await;
    let before = single.node.resident_bytes();
    join_all((0..16).map(|number| single.user(if number % 2 == 0 { "even" } else { "odd" }))).await;
    let grown = single.node.resident_bytes().saturating_sub(before);
    println!("16 passwords hashed by {THREADS} threads: {} MiB more", grown >> 20);
    assert!(grown <= BYTES_MAX, "{grown} bytes for {THREADS} hashes at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_ins_is_bounded_and_chat_does_not_feel_it() {
    let limits = [("SALON_LIMITS__PASSWORD_THREADS", "1"), ("SALON_LIMITS__PASSWORD_QUEUE", "4")];
    let single = Single::start_with(&limits).await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut hers = joined(&single, &alice, &room).await;
    let calm = acks_during(&mut hers, &room, tokio::time::sleep(Duration::from_secs(1))).await;
    let until = Instant::now() + Duration::from_secs(5);
    let flood = join_all((0..16).map(async |number: usize| {
        let mut answers = Vec::new();
        while Instant::now() < until {
            let answer = log_in(&single, &format!("nobody-{number}"), "wrong", "127.0.0.1").await;
            if answer.status == 429 {
                // Told to come back later; at once would only measure this client's own zeal.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answers.push(answer);
        }
        answers
    }));
    let mut answers = Vec::new();
    let flood = async { answers = flood.await.concat() };
    let acks = acks_during(&mut hers, &room, flood).await;
    let (tried, refused) = (count(&answers, 401), count(&answers, 429));
    println!("{tried} log-ins tried and {refused} refused in 5 s; acknowledgements before {calm:?}, during {acks:?}");
    assert_eq!(tried + refused, answers.len(), "each is looked at or refused");
    assert!(tried > 0 && refused > 0, "it was no flood: {tried}, {refused}");
    let told = answers.iter().find(|answer| answer.status == 429).expect("one");
    assert_problem(told, 429, "rate_limited");
    assert_eq!(told.header("retry-after"), Some("1"));
    assert_eq!(password_threads(single.node.pid()), 1);
    assert!(acks.longest < ACK_MAX && acks.count > 20, "{acks:?}");
}

fn password_threads(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("password-")).count()
}

/// As a version of before would have stored it.
fn weak_hash(password: &str) -> String {
    let params = Params::new(8_192, 1, 1, None).expect("parameters");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hasher.hash_password(password.as_bytes()).expect("a hash");
    hash.to_string()
}

fn stored_hash(single: &Single, name: &str) -> String {
    let db = rusqlite::Connection::open(single.database()).expect("the database");
    db.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    let found = db.query_row("SELECT password_hash FROM users WHERE username = ?", [name], |row| row.get(0));
    found.expect("the user")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weak_hash_is_made_anew_at_log_in_and_nobody_is_logged_out() {
    let single = Single::start().await;
    let alice = single.user("alice").await;
    let name = alice.user.username.as_str();
    let mut open = socket(&single, &alice).await;
    let weak = weak_hash(&alice.password);
    sql(&single, &format!("UPDATE users SET password_hash = '{weak}' WHERE username = '{name}'"));
    assert_eq!(log_in(&single, name, "wrong", "127.0.0.1").await.status, 401);
    assert_eq!(stored_hash(&single, name), weak, "a wrong password changes nothing");
    // At the same time: whoever comes second finds the hash changed under its feet.
    let logins = join_all((0..6).map(|_| log_in(&single, name, &alice.password, "127.0.0.1"))).await;
    assert_eq!(count(&logins, 200), 6, "{:?}", logins.iter().map(|login| login.status).collect::<Vec<_>>());
    let renewed = stored_hash(&single, name);
    assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    assert_eq!(alice.http.get("/api/account").await.expect("an answer").status, 200);
    let refresh = alice.http.call("POST", "/api/account/refresh").send().await;
    assert_eq!(refresh.expect("an answer").status, 204, "her login session goes on");
    open.drained().await.expect("and so does her socket");
    assert_eq!(log_in(&single, name, &alice.password, "127.0.0.1").await.status, 200);
    assert_eq!(stored_hash(&single, name), renewed, "once is enough");
}
