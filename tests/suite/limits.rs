//! Every limit, at its bound and past it, by a real node. Where the protocol's own tests already prove one, they are
//! named here and not repeated.
//!
//! | limit | proved by |
//! | --- | --- |
//! | bytes of a frame and of a body, characters, nesting | `sizes` |
//! | characters of names, topics, nonces; pages | `model` and `http::fields`, unit tests; `http::rooms::bad_rooms_name_the_field` |
//! | rooms of a socket | `websocket::joins::rooms_of_a_socket_are_bounded` |
//! | sockets of a user | `websocket::upgrade::sockets_of_a_user_are_bounded` |
//! | sockets of an address and of a node | `counts` |
//! | connections | `http::server::a_connection_over_the_bound_waits_for_a_place`, a unit test |
//! | descriptors of the process | `counts::a_node_out_of_descriptors_…` |
//! | sends | `rates`; `single::too_many_messages_are_refused_and_the_socket_stays` |
//! | typing | `websocket::people::typing_is_told_…at_most_once_in_three_seconds`; `rates` for large rooms |
//! | frames of a socket, HTTP requests, refreshes | `rates` |
//! | joins and history | `rates::floods_of_one_user_…` |
//! | log-in tries, failed ones, registrations | `logins`; to the try in `accounts` |
//! | passwords hashed and waiting | `logins`; `auth::passwords::a_full_queue_refuses_at_once_…`, a unit test |
//! | time for a head, a body, an answer | `times`; `http::server` and `http::layers`, unit tests |
//! | silent sockets | `websocket::lifetimes::who_does_not_answer_the_heartbeat_is_closed` |
//! | unread sockets, bytes waiting for them | `times`; `node::queue`, property tests |

mod counts;
mod logins;
mod rates;
mod sizes;
mod times;

use std::time::{Duration, Instant};

use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use serde_json::json;

use crate::support::node::{Single, unique};

/// What a node takes for a proxy, so that a test can come from any address.
const PROXIED: (&str, &str) = ("SALON_SERVER__TRUSTED_PROXIES", "[\"127.0.0.0/8\"]");
const FROM: &str = "x-forwarded-for";

/// How long acknowledgements took.
#[derive(Debug)]
#[expect(dead_code, reason = "some of it is only printed")]
struct Latencies {
    count: usize,
    p50: Duration,
    longest: Duration,
}

fn from(single: &Single, account: &Account, address: &str) -> Opening {
    Opening::new(&single.url()).cookies(&account.http).header(FROM, address)
}

/// Sends one after the other for as long as `during` takes, and says how long the acknowledgements took.
async fn acks_during(socket: &mut Socket, room: &str, during: impl Future<Output = ()>) -> Latencies {
    let mut during = std::pin::pin!(during);
    let mut took = Vec::new();
    loop {
        let asked = Instant::now();
        let send = json!({"type": "send", "room": room, "content": "still there?", "nonce": unique("n")});
        let mut answer = std::pin::pin!(socket.ask(send));
        let (answer, over) = tokio::select! {
            answer = &mut answer => (answer, false),
            () = &mut during => (answer.await, true),
        };
        let answer = answer.expect("an answer");
        assert_eq!(answer["type"], "ack", "{answer}");
        took.push(asked.elapsed());
        if over {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    Latencies { count: took.len(), p50: took[took.len() / 2], longest: took[took.len() - 1] }
}
