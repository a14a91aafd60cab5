//! An import that is killed in the middle, and what it may cost.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Place, lines, made_up, said, write};
use crate::support::postgres;

const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that the database has taken; `None`: there is no such table yet, or nobody may look now.
async fn taken(place: &Place) -> Option<i64> {
    const SQL: &str = "SELECT lines FROM imports";
    match place.url.strip_prefix("sqlite:") {
        Some(path) => rusqlite::Connection::open(path).ok()?.query_row(SQL, [], |row| row.get(0)).ok(),
        None => postgres::connect(&place.url).await.query_opt(SQL, &[]).await.ok()??.try_get(0).ok(),
    }
}

async fn is_killed_and_goes_on(place: &Place) {
    const MESSAGES: u64 = 20_000;
    let file = place.file("large.jsonl");
    write(&file, &made_up(MESSAGES));
    let mut kills = 0;
    let mut reached = 0;
    for part in [2, 5, 9] {
        let mut child =
            Killed(place.command(&["import", "large.jsonl"]).stderr(Stdio::null()).spawn().expect("salon runs"));
        let deadline = Instant::now() + PATIENCE;
        let far = i64::try_from(MESSAGES).expect("small") * part / 10;
        while taken(place).await.is_none_or(|lines| lines < far) {
            assert!(Instant::now() < deadline, "it does not come to {far} lines");
            assert_eq!(child.0.try_wait().expect("a child"), None, "it ended before it was killed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.0.kill().expect("SIGKILL");
        child.0.wait().expect("it ends");
        // What was under way when it was killed may be in or not.
        let now = taken(place).await.expect("what it has taken");
        assert!(now > reached && now < i64::try_from(MESSAGES).expect("small"), "{reached}, then {now}");
        (reached, kills) = (now, kills + 1);
        let started = place.run(&["migrate"]);
        assert!(said(&started).contains("not finished"), "{}", said(&started));
    }
    let told = place.imports(&file);
    assert!(told.contains("that were there already"), "{told}");
    assert!(lines(&place.export("again.jsonl", &[])) == made_up(MESSAGES), "it is not all there, or something twice");
    eprintln!("killed {kills} times, the last time after {reached} lines: {told}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_on_sqlite_it_goes_on_where_it_was() {
    is_killed_and_goes_on(&Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_on_postgres_it_goes_on_where_it_was() {
    is_killed_and_goes_on(&Place::postgres().await).await;
}

/// Memory at its highest, when almost all was read from it.
fn memory_of_an_export(place: &Place, bytes: usize) -> u64 {
    let mut child =
        Killed(place.command(&["export"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("salon runs"));
    let mut out = child.0.stdout.take().expect("its output");
    // The rest is more than a pipe holds, so that it cannot have ended.
    let mut read = vec![0; bytes - 200_000];
    out.read_exact(&mut read).expect("what it writes");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_takes_no_more_memory_for_more_messages() {
    for (what, small, large) in
        [("SQLite", Place::sqlite(), Place::sqlite()), ("Postgres", Place::postgres().await, Place::postgres().await)]
    {
        let mut told = Vec::new();
        for (place, messages) in [(&small, 3_000), (&large, 60_000)] {
            let file = place.file("made.jsonl");
            write(&file, &made_up(messages));
            place.imports(&file);
            let bytes = usize::try_from(std::fs::metadata(&file).expect("the file").len()).expect("small");
            told.push(memory_of_an_export(place, bytes));
        }
        let ratio = told[1] as f64 / told[0] as f64;
        eprintln!("export from {what}: {} kB for 3,000 messages, {} kB for 60,000 (× {ratio:.2})", told[0], told[1]);
        assert!(ratio < 1.5, "memory grows with what there is: {told:?} kB");
    }
}
