//! Bans, mutes, removals and roles: what they answer, and who may.

use salon::engine::http::{Account, Answer, Http};
use salon::engine::socket::Opening;
use serde_json::{Value, json};

use super::{assert_invalid, assert_problem, keys};
use crate::support::node::{Single, unique};

const FUTURE: &str = "2999-12-31T23:59:59.000Z";

/// A room of alice's with a moderator, a member and a guest.
struct Cast {
    alice: Account,
    moderator: Account,
    member: Account,
    guest: Account,
    room: String,
}

impl Cast {
    async fn new(single: &Single) -> Cast {
        let (alice, moderator) = (single.user("alice").await, single.user("moderator").await);
        let (member, guest) = (single.user("member").await, single.user("guest").await);
        let room = alice.http.create_room(&unique("moderated"), "public").await.expect("a room").slug;
        let cast = Cast { alice, moderator, member, guest, room };
        let role = json!({"role": "moderator"});
        done(&cast.alice.http.put(&cast.at("members", &cast.moderator), role).await.expect("an answer"));
        done(&cast.alice.http.put(&cast.at("members", &cast.member), json!({})).await.expect("an answer"));
        cast
    }

    fn at(&self, list: &str, who: &Account) -> String {
        format!("/api/rooms/{}/{list}/{}", self.room, who.user.username)
    }

    async fn list(&self, list: &str) -> Vec<Value> {
        let answer = self.moderator.http.get(&format!("/api/rooms/{}/{list}", self.room)).await.expect("an answer");
        answer.expect(200).expect("a list")
    }

    async fn says(&self, who: &Account) -> Answer {
        let body = json!({"content": "hello"});
        who.http.post(&format!("/api/rooms/{}/messages", self.room), body).await.expect("an answer")
    }
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.json());
}

async fn put(http: &Http, path: &str, body: Value) -> Answer {
    http.put(path, body).await.expect("an answer")
}

async fn delete(http: &Http, path: &str) -> Answer {
    http.delete(path).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_closes_the_room_until_it_is_lifted() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    let path = cast.at("bans", &cast.member);
    done(&put(&cast.moderator.http, &format!("{path}/"), json!({"reason": " spam ", "until": FUTURE})).await);
    let listed = cast.list("bans").await;
    assert_eq!(keys(&listed[0]), ["by", "created_at", "reason", "until", "user_id", "username"]);
    assert_eq!(
        (&listed[0]["username"], &listed[0]["user_id"]),
        (&json!(cast.member.user.username), &json!(cast.member.user.id))
    );
    assert_eq!((&listed[0]["reason"], &listed[0]["until"]), (&json!("spam"), &json!(FUTURE)));
    assert_eq!(listed[0]["by"], cast.moderator.user.username);

    let room = format!("/api/rooms/{}", cast.room);
    assert_problem(&cast.says(&cast.member).await, 403, "forbidden");
    for path in ["/messages", "/members", "/users"] {
        assert_problem(&cast.member.http.get(&format!("{room}{path}")).await.expect("an answer"), 403, "forbidden");
    }
    assert_problem(&put(&cast.member.http, &format!("{room}/members/me"), json!({})).await, 403, "forbidden");
    let mut socket = Opening::new(&single.url()).cookies(&cast.member.http).welcomed().await.expect("a socket");
    assert_eq!(socket.join(&cast.room).await.expect("an answer")["code"], "forbidden");
    let seen = cast.member.http.room(&cast.room).await.expect("a public room is seen still");
    assert_eq!(seen.role, None, "and they are no member");
    // Nor may anybody let them in by adding them.
    assert_problem(&put(&cast.alice.http, &cast.at("members", &cast.member), json!({})).await, 409, "conflict");

    // Other terms take the place of the first ones.
    done(&cast.moderator.http.call("PUT", &path).send().await.expect("an answer"));
    let listed = cast.list("bans").await;
    assert_eq!((listed.len(), &listed[0]["reason"], &listed[0]["until"]), (1, &json!(""), &Value::Null));
    done(&delete(&cast.moderator.http, &path).await);
    assert_problem(&delete(&cast.moderator.http, &path).await, 404, "not_found");
    assert_eq!(cast.list("bans").await, [Value::Null; 0]);
    assert_eq!(cast.says(&cast.member).await.status, 201, "they may come again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_silences_and_leaves_the_rest() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    let id = cast.says(&cast.member).await.json()["id"].clone();
    let path = cast.at("mutes", &cast.member);
    done(&put(&cast.moderator.http, &path, json!({"until": FUTURE})).await);
    assert_eq!(cast.list("mutes").await[0]["username"], cast.member.user.username);
    assert_problem(&cast.says(&cast.member).await, 403, "forbidden");
    let message = format!("/api/rooms/{}/messages/{id}", cast.room);
    let edited = cast.member.http.patch(&message, json!({"content": "else"})).await.expect("an answer");
    assert_problem(&edited, 403, "forbidden");
    assert_eq!(cast.member.http.history(&cast.room).await.expect("they read").messages.len(), 1);
    assert_eq!(delete(&cast.member.http, &message).await.status, 200, "and take back what they said");
    // Leaving and coming again does not help.
    let me = format!("/api/rooms/{}/members/me", cast.room);
    done(&delete(&cast.member.http, &me).await);
    assert_problem(&cast.says(&cast.member).await, 403, "forbidden");
    done(&put(&cast.member.http, &me, json!({})).await);
    assert_problem(&cast.says(&cast.member).await, 403, "forbidden");
    done(&delete(&cast.moderator.http, &path).await);
    assert_problem(&delete(&cast.moderator.http, &path).await, 404, "not_found");
    assert_eq!(cast.says(&cast.member).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_act_on_whom() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    for list in ["bans", "mutes"] {
        for path in [format!("/api/rooms/{}/{list}", cast.room)] {
            assert_problem(&cast.member.http.get(&path).await.expect("an answer"), 403, "forbidden");
            assert_problem(&cast.guest.http.get(&path).await.expect("an answer"), 403, "forbidden");
        }
        for (by, on) in [
            (&cast.member, &cast.guest),
            (&cast.guest, &cast.member),
            (&cast.moderator, &cast.alice),
            (&cast.moderator, &cast.moderator),
            (&cast.alice, &cast.alice),
        ] {
            let path = cast.at(list, on);
            assert_problem(&put(&by.http, &path, json!({})).await, 403, "forbidden");
            assert_problem(&delete(&by.http, &path).await, 403, "forbidden");
        }
        let me = format!("/api/rooms/{}/{list}/me", cast.room);
        assert_problem(&put(&cast.alice.http, &me, json!({})).await, 403, "forbidden");
        // Also on who is no member; and owners on moderators.
        done(&put(&cast.moderator.http, &cast.at(list, &cast.guest), json!({})).await);
        done(&put(&cast.alice.http, &cast.at(list, &cast.moderator), json!({})).await);
        done(&delete(&cast.alice.http, &cast.at(list, &cast.moderator)).await);
        let again = put(&cast.alice.http, &cast.at("members", &cast.moderator), json!({"role": "moderator"})).await;
        done(&again);
        let nobody = format!("/api/rooms/{}/{list}/{}", cast.room, unique("nobody"));
        assert_problem(&put(&cast.alice.http, &nobody, json!({})).await, 404, "not_found");
    }
    let owner = cast.at("members", &cast.alice);
    assert_problem(&delete(&cast.moderator.http, &owner).await, 403, "forbidden");
    done(&delete(&cast.moderator.http, &cast.at("members", &cast.member)).await);
    assert_problem(&delete(&cast.moderator.http, &cast.at("members", &cast.member)).await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_act_on_everybody_and_nobody_else_on_them() {
    let single = Single::start().await;
    let cast = Cast::new(&single).await;
    let [root, other] = [single.user("root").await, single.user("other").await];
    let names = format!("'{}', '{}'", root.user.username, other.user.username);
    super::login_sessions::sql(&single, &format!("UPDATE users SET role = 'admin' WHERE username IN ({names})"));
    // The role is in their tokens from the next log-in on.
    let root_http = Http::bearer(&single.url(), &root.token().await.expect("a token"));
    for list in ["bans", "mutes"] {
        for by in [&cast.alice, &cast.moderator] {
            assert_problem(&put(&by.http, &cast.at(list, &root), json!({})).await, 403, "forbidden");
        }
        for on in [&cast.moderator, &cast.member, &other] {
            done(&put(&root_http, &cast.at(list, on), json!({})).await);
            done(&delete(&root_http, &cast.at(list, on)).await);
        }
        assert_problem(&put(&root_http, &cast.at(list, &root), json!({})).await, 403, "forbidden");
    }
    // Not even they leave a room without an owner.
    assert_problem(&put(&root_http, &cast.at("bans", &cast.alice), json!({})).await, 409, "conflict");
    done(&put(&root_http, &cast.at("members", &cast.member), json!({"role": "owner"})).await);
    done(&put(&root_http, &cast.at("bans", &cast.alice), json!({})).await);
    let private = cast.guest.http.create_room(&unique("own"), "private").await.expect("a room").slug;
    let path = format!("/api/rooms/{private}/bans/{}", cast.member.user.username);
    assert_problem(&put(&root_http, &path, json!({})).await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_keeps_an_owner() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    let me = format!("/api/rooms/{}/members/me", cast.room);
    assert_problem(&delete(&cast.alice.http, &me).await, 409, "conflict");
    assert_problem(&put(&cast.alice.http, &me, json!({"role": "member"})).await, 403, "forbidden");
    assert_eq!(cast.alice.http.room(&cast.room).await.expect("a room").role.as_deref(), Some("owner"));
    done(&put(&cast.alice.http, &cast.at("members", &cast.member), json!({"role": "owner"})).await);
    done(&delete(&cast.alice.http, &me).await);
    assert_problem(&delete(&cast.member.http, &me).await, 409, "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_terms_name_the_field() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    for list in ["bans", "mutes"] {
        let path = cast.at(list, &cast.member);
        let answer = async |body| put(&cast.alice.http, &path, body).await;
        assert_invalid(&answer(json!({"reason": 5})).await, "reason");
        assert_invalid(&answer(json!({"reason": "x".repeat(251)})).await, "reason");
        for until in [json!("tomorrow"), json!(5), json!("2020-01-01T00:00:00Z"), json!("2999-12-31")] {
            assert_invalid(&answer(json!({"until": until})).await, "until");
        }
        assert_eq!(cast.list(list).await, [Value::Null; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_in_pages() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    for list in ["bans", "mutes"] {
        for who in [&cast.member, &cast.guest] {
            done(&put(&cast.alice.http, &cast.at(list, who), json!({})).await);
        }
        let first = cast.alice.http.get(&format!("/api/rooms/{}/{list}/?limit=1", cast.room)).await.expect("one");
        let next = first.link("next").expect("a next page");
        let second = cast.alice.http.get(&next).await.expect("an answer");
        assert_eq!(second.link("next"), None);
        let name = |page: &Answer| page.json()[0]["username"].clone();
        assert_eq!([name(&first), name(&second)], [json!(cast.member.user.username), json!(cast.guest.user.username)]);
    }
}

/// Deletion of what others wrote, over HTTP and sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderators_delete_what_others_wrote() {
    let single = Single::shared().await;
    let cast = Cast::new(single).await;
    for by in [&cast.moderator, &cast.alice] {
        let id = cast.says(&cast.member).await.json()["id"].clone();
        let message = format!("/api/rooms/{}/messages/{id}", cast.room);
        assert_problem(&delete(&cast.guest.http, &message).await, 403, "forbidden");
        let deleted = delete(&by.http, &message).await.json();
        assert_eq!((&deleted["deleted"], &deleted["content"]), (&json!(true), &json!("")), "{deleted}");
    }
    let id = cast.says(&cast.alice).await.json()["id"].clone();
    let mut socket = Opening::new(&single.url()).cookies(&cast.moderator.http).welcomed().await.expect("a socket");
    let answer = socket.ask(json!({"type": "delete", "room": cast.room, "id": id})).await.expect("an answer");
    assert_eq!(answer["type"], "ack", "also an owner's: {answer}");
}
