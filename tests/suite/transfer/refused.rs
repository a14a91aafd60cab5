//! What an import does not take, and how it goes on once that was mended.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{Place, lines, made_up, said, write};
use crate::cli;
use crate::support::cluster::Cluster;
use crate::support::node::Single;

/// A line of [`made_up`] (the first is 0), what is done to it, and what is said.
type Wrong = (usize, fn(&mut Value), &'static str);

const WRONG: &[Wrong] = &[
    (0, |line| line["salon_export"] = json!(2), "line 1: the file is of format 2"),
    (0, |line| *line = json!({"type": "user"}), "line 1: this is no export"),
    (0, |line| line["lines"] = json!(10), "line 12: the first line says that 10 follow"),
    (0, |line| line["lines"] = json!(100), "ends after 14 of 100 lines"),
    (1, |line| line["username"] = json!("no spaces"), "line 2: username"),
    (2, |line| line["username"] = json!("ALICE"), "line 3: "),
    (2, |line| line["id"] = json!(1), "line 3: "),
    (2, |line| line["more"] = json!(1), "line 3: unknown field"),
    (2, |line| line["created_at"] = json!("yesterday"), "line 3: "),
    (3, |line| line["slug"] = json!("No Slug"), "line 4: room"),
    (3, |line| line["pair"] = json!([1, 3]), "line 4: pair"),
    (4, |line| line["user"] = json!(2), "line 5: there is no user 2"),
    (4, |line| line["room"] = json!(1), "line 5: there is no room 1"),
    (4, |line| line["role"] = json!("king"), "line 5: unknown variant"),
    (9, |line| line["author"] = json!(9), "line 10: there is no user 9"),
    (9, |line| line["seq"] = json!(99), "line 10: "),
    (9, |line| line["id"] = json!(4), "line 10: "),
    (9, |line| line["nonce"] = json!("n3"), "line 10: "),
    (9, |line| line["content"] = json!("a\u{0}b"), "line 10: content"),
    (9, |line| line["mentions"] = json!([4]), "line 10: there is no user 4"),
    (9, |line| *line = json!({"type": "poem"}), "line 10: unknown variant"),
    (9, |line| *line = json!([]), "line 10: "),
];

fn each_is_named_and_can_be_mended(place: &Place, number: usize, wrong: &Wrong) {
    let (line, spoil, why) = wrong;
    let good = made_up(10);
    let mut bad = good.clone();
    spoil(&mut bad[*line]);
    let file = place.file(&format!("{number}.jsonl"));
    write(&file, &bad);
    place.fails(&file, why);
    let started = place.run(&["migrate"]);
    if *line > 0 && !said(&started).is_empty() {
        assert!(said(&started).contains("not finished"), "{}", said(&started));
    }
    // A first line that was wrong is another file's.
    if *line > 0 {
        write(&file, &good);
        place.imports(&file);
        assert_eq!(lines(&place.export("again.jsonl", &[])), good, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_wrong_are_named_and_can_be_mended() {
    for (number, wrong) in WRONG.iter().enumerate() {
        each_is_named_and_can_be_mended(&Place::sqlite(), number, wrong);
        each_is_named_and_can_be_mended(&Place::postgres().await, number, wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_cut_is_not_taken_for_whole() {
    for place in [Place::sqlite(), Place::postgres().await] {
        let (whole, cut) = (place.file("whole.jsonl"), place.file("cut.jsonl"));
        write(&whole, &made_up(2_000));
        let bytes = std::fs::read(&whole).expect("the file");
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
        place.fails(&cut, "it is not whole: the file was cut");
        let migrated = place.run(&["migrate"]);
        assert_eq!(migrated.status.code(), Some(1), "nodes do not start on half of it either");
        assert!(said(&migrated).contains("not finished"), "{}", said(&migrated));
        place.imports(&whole);
        assert_eq!(place.run(&["migrate"]).status.code(), Some(0));
        assert!(lines(&place.export("again.jsonl", &[])) == made_up(2_000), "it is not all there");
        std::fs::write(&cut, "").expect("a file");
        place.fails(&cut, "the file is empty");
        place.fails(&place.file("absent.jsonl"), "cannot read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_use_is_not_filled() {
    let other = made_up(3);
    for place in [Place::sqlite(), Place::postgres().await] {
        let (file, another) = (place.file("one.jsonl"), place.file("other.jsonl"));
        write(&file, &made_up(9));
        write(&another, &other);
        place.imports(&file);
        let before = place.export("before.jsonl", &[]);
        place.fails(&another, "another file");
        assert!(place.imports(&file).contains("imported 0 lines"), "the same again changes nothing");
        assert_eq!(place.export("after.jsonl", &[]), before);
    }
    let single = Single::start().await;
    let file = single.data.path().join("one.jsonl");
    write(&file, &other);
    let import = single.command(&["import", "one.jsonl"]);
    assert_eq!(import.status.code(), Some(1));
    assert!(cli::err(&import).contains("another process is using"), "{}", cli::err(&import));
    single.user("alice").await;
    single.node.terminate().await;
    let import = single.command(&["import", "one.jsonl"]);
    assert!(cli::err(&import).contains("not empty"), "{}", cli::err(&import));

    let cluster = Cluster::start(1).await;
    let place = Place { url: cluster.database.clone(), folder: crate::support::node::Folder::new("transfer") };
    let file = place.file("one.jsonl");
    write(&file, &other);
    place.fails(&file, "nodes run on this database (node-0)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_can_be_chosen_and_the_file_is_secret() {
    for place in [Place::sqlite(), Place::postgres().await] {
        let mut all = made_up(3);
        let at = all[1]["created_at"].clone();
        let user = json!({"type": "user", "id": 5, "username": "cid", "role": "user", "created_at": at});
        all.insert(3, user);
        let mut room = all[4].clone();
        (room["id"], room["slug"], room["seq"]) = (json!(6), json!("other"), json!(0));
        all.insert(5, room.clone());
        let member = json!({"type": "member", "room": 6, "user": 5, "role": "owner", "last_read": 0, "since": at});
        all.insert(7, member.clone());
        all[0]["lines"] = json!(all.len() - 1);
        let file = place.file("all.jsonl");
        write(&file, &all);
        place.imports(&file);
        std::fs::write(place.file("all.jsonl.part"), "what an export left that was cut").expect("a file");
        assert_eq!(lines(&place.export("all.jsonl", &[])), all);
        let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!place.file("all.jsonl.part").exists());
        let chosen = lines(&place.export("chosen.jsonl", &["--room", "other"]));
        let header = json!({"salon_export": 1, "lines": 3, "last_user": 5, "last_room": 7});
        assert_eq!(chosen, [header, all[3].clone(), room, member]);
        for (room, code, why) in [("nowhere", 1, "there is no room nowhere"), ("No Slug", 2, "is no slug")] {
            let output = place.run(&["export", "--room", room]);
            assert_eq!(output.status.code(), Some(code), "{}", said(&output));
            assert!(said(&output).contains(why) && output.stdout.is_empty(), "{}", said(&output));
        }
        let output = place.run(&["export", "--out", "no/such/folder"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let piped = place.run(&["export"]);
        assert_eq!(lines(&piped.stdout), all, "standard output");
        assert!(said(&piped).contains("exported 10 lines in"), "{}", said(&piped));
    }
}
