//! `salon export` and `salon import`: from one kind of database into the other and back.

mod cut;
mod moving;
mod refused;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::cluster::SECRET;
use crate::support::node::Folder;
use crate::support::postgres::Postgres;

/// A database of its own, with a folder for files.
struct Place {
    url: String,
    folder: Folder,
}

impl Place {
    async fn postgres() -> Place {
        let server = tokio::task::spawn_blocking(Postgres::shared).await.expect("a server");
        Place { url: server.fresh_database().await, folder: Folder::new("transfer") }
    }

    fn sqlite() -> Place {
        let folder = Folder::new("transfer");
        Place { url: format!("sqlite:{}", folder.path().join("salon.db").display()), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_salon"));
        command.args(arguments).env_clear().current_dir(self.folder.path()).env("SALON_DATABASE__URL", &self.url);
        if self.url.starts_with("postgres") {
            command.env("SALON_AUTH__SECRET", SECRET);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("salon runs")
    }

    /// The bytes of an export of it.
    fn export(&self, name: &str, more: &[&str]) -> Vec<u8> {
        let output = self.run(&[&["export", "--out", name], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(output.stdout.is_empty());
        std::fs::read(self.file(name)).expect("the file")
    }

    fn import(&self, file: &Path) -> Output {
        self.run(&["import", &file.display().to_string()])
    }

    fn imports(&self, file: &Path) -> String {
        let output = self.import(file);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        said(&output)
    }

    /// Refused or failed, with this in its sentence.
    fn fails(&self, file: &Path, why: &str) {
        let output = self.import(file);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(why), "{why} is not in: {}", said(&output));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An export as it would be written: two users, a room, and so many messages in it.
fn made_up(messages: u64) -> Vec<Value> {
    let at = "2026-01-02T03:04:05.678Z";
    let mut lines = vec![
        json!({"salon_export": 1, "lines": messages + 4, "last_user": 5, "last_room": 7}),
        json!({"type": "user", "id": 1, "username": "alice", "role": "admin", "created_at": at, "password_hash": "$h"}),
        json!({"type": "user", "id": 3, "username": "Bob", "role": "user", "created_at": at, "issuer": "i", "subject": "s"}),
        json!({"type": "room", "id": 2, "slug": "general", "name": "General", "topic": "", "kind": "public",
            "created_at": at, "epoch": "e", "seq": messages + 1, "purged": 0, "stamped_at": at}),
        json!({"type": "member", "room": 2, "user": 1, "role": "owner", "last_read": 0, "since": at}),
    ];
    for id in 1..=messages {
        lines.push(json!({"type": "message", "room": 2, "id": id, "seq": id, "kind": "chat_message", "author": 1 + id % 2 * 2,
            "created_at": at, "nonce": format!("n{id}"), "fingerprint": "00".repeat(16), "content": format!("text {id}")}));
    }
    lines
}

fn write(file: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, text).expect("a file");
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
