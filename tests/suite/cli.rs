//! The command line as an operator meets it: what it prints and its exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program with nothing but this environment and input.
pub fn salon(folder: &Path, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_salon"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends without reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn config_prints_what_is_in_force_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salon.toml"), "[limits]\nmessage_burst = 33\n").unwrap();
    let secret = "QQQ-a-secret-of-more-than-32-bytes-QQQ";
    let environment = [("SALON_AUTH__SECRET", secret), ("SALON_DATABASE__URL", "postgres://u:QQQ@host:5432/name")];
    for arguments in [["--config", "salon.toml", "config"], ["config", "--config", "salon.toml"]] {
        let output = salon(folder.path(), &arguments, &environment, "");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = out(&output);
        for line in ["message_burst = 33", "messages_per_s = 10", "postgres://u:(hidden)@host:5432/name"] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("QQQ"), "{text}");
    }
}

#[test]
fn what_is_printed_without_secrets_can_be_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = out(&salon(folder.path(), &["config"], &[], ""));
    std::fs::write(folder.path().join("again.toml"), &first).unwrap();
    assert_eq!(out(&salon(folder.path(), &["config", "--config", "again.toml"], &[], "")), first);
}

#[test]
fn wrong_usage_and_configuration_exit_with_2_and_say_what() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "[limits]\nmessage_bursts = 33\n").unwrap();
    let redis = ("SALON_REDIS__URL", "redis://127.0.0.1:6379");
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&["swerve"], &[], "swerve"),
        (&["user"], &[], "Usage"),
        (&["user", "add"], &[], "NAME"),
        (&["config", "--config", "wrong.toml"], &[], "limits.message_bursts: there is no such key"),
        (&["config", "--config", "absent.toml"], &[], "absent.toml: cannot be read"),
        (&["config"], &[("SALON_LIMITS__MESSAGE_BURST", "0")], "limits.message_burst: must be from 1"),
        (&["serve"], &[("SALON_NOPE", "1")], "SALON_NOPE: there is no such key"),
        (&[], &[redis], "a cluster on SQLite"),
        (&["migrate"], &[redis], "a cluster on SQLite"),
        (&["user", "add", "no spaces"], &[], "username"),
    ];
    for (arguments, environment, why) in cases {
        let output = salon(folder.path(), arguments, environment, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(why), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
    assert!(!folder.path().join("data").exists(), "what is refused leaves nothing behind");
}

#[test]
fn passwords_that_may_not_be_chosen_are_refused_before_the_database_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    for (password, why) in [("short\n", "8 to 256"), ("password1\n", "commonest"), ("alice-liddell\n", "username")] {
        let output = salon(folder.path(), &["user", "add", "Alice-Liddell"], &[], password);
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(err(&output).contains(why), "{}", err(&output));
    }
    let output = salon(folder.path(), &["user", "add", "alice"], &[], "");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(!folder.path().join("data").exists());
}
