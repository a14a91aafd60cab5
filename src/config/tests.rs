//! The layers put together, as an operator gives them.

use std::io::Write;
use std::path::Path;

use toml::Value;

use super::load::{every_key, table_of};
use super::{Config, ConfigError, LogFormat};

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path()), env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn problems(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let wrong = load(text, env).expect_err("must be refused");
    wrong.problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.why)).collect()
}

#[test]
fn nothing_given_is_the_default() {
    let config = Config::load(None, std::iter::empty()).unwrap();
    assert_eq!(table_of(&config), table_of(&Config::default()));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let config = load(
        "[limits]\nmessages_per_s = 7\nmessage_burst = 9\n[rooms]\nauto_create = true",
        &[
            ("SALON_LIMITS__MESSAGES_PER_S", "8"),
            ("SALON_ROOMS__AUTO_CREATE", "false"),
            ("SALON_SERVER__ALLOWED_ORIGINS", "[\"https://a.example\", \"http://b.example:81\"]"),
            ("SALON_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("SALON_NODE__NAME", "one"),
            ("SALON_LOG__FORMAT", "json"),
            ("HOME", "/nowhere"),
        ],
    )
    .unwrap();
    assert_eq!((config.limits.messages_per_s, config.limits.message_burst), (8, 9));
    assert_eq!(config.limits.sockets_per_user, 20);
    assert!(!config.rooms.auto_create);
    assert_eq!(config.server.allowed_origins, ["https://a.example", "http://b.example:81"]);
    assert_eq!(config.server.trusted_proxies.len(), 1);
    assert_eq!(config.node.name.as_deref(), Some("one"));
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn strings_in_the_environment_need_no_quotes_and_keep_what_looks_like_a_number() {
    let secret = "12345678901234567890123456789012";
    let config = load("", &[("SALON_AUTH__SECRET", secret)]).unwrap();
    assert_eq!(config.auth.secret.as_deref(), Some(secret));
}

#[test]
fn an_empty_variable_takes_an_optional_key_away_and_no_other() {
    let config = load("[node]\nname = \"x\"", &[("SALON_NODE__NAME", ""), ("SALON_REDIS__URL", "")]).unwrap();
    assert_eq!((config.node.name, config.redis.url), (None, None));
    assert_eq!(
        problems("", &[("SALON_LIMITS__MESSAGE_BURST", "")]),
        ["SALON_LIMITS__MESSAGE_BURST: must be a whole number"]
    );
}

#[test]
fn everything_wrong_is_named_at_once() {
    let text = "[limits]\nmessage_bursts = 1\nframe_bytes = \"big\"\nmessages_per_s = 0\n[sever]\nx = 1\n\
                [log]\nformat = \"xml\"\n[server]\ntrusted_proxies = [\"10.0.0.0/99\"]";
    let told = problems(text, &[("SALON_LIMITS__NOPE", "1"), ("SALON_SERVER_LISTEN", "x")]).join("\n");
    for part in [
        "limits.message_bursts: there is no such key",
        "limits.frame_bytes: must be a whole number",
        "limits.messages_per_s: must be from 1 to",
        "sever: there is no such section",
        "log.format: unknown variant `xml`",
        "server.trusted_proxies: ",
        "SALON_LIMITS__NOPE: there is no such key",
        "SALON_SERVER_LISTEN: there is no such key",
    ] {
        assert!(told.contains(part), "{part:?} is missing in\n{told}");
    }
}

#[test]
fn variables_of_a_kubernetes_service_are_passed_over() {
    let links = [
        ("SALON_SERVICE_HOST", "10.0.0.1"),
        ("SALON_SERVICE_PORT", "8000"),
        ("SALON_SERVICE_PORT_HTTP", "8000"),
        ("SALON_PORT", "tcp://10.0.0.1:8000"),
        ("SALON_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("SALON_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("SALON_ADMIN_PORT_9090_TCP_PROTO", "tcp"),
    ];
    load("", &links).unwrap();
    assert_eq!(problems("", &[("SALON_PORT", "8000")]).len(), 1);
}

#[test]
fn a_broken_file_is_told_by_line_without_its_text() {
    let told = problems("[auth]\nsecret = \"hunter2hunter2", &[]).join("\n");
    assert!(told.contains("line 2"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let told = problems("[auth]\nsecret = 4242424242", &[]).join("\n");
    assert!(told.contains("auth.secret: must be a string") && !told.contains("4242"), "{told}");
    let absent = Config::load(Some(Path::new("/nowhere/salon.toml")), std::iter::empty()).unwrap_err();
    assert_eq!(absent.problems[0].key, "/nowhere/salon.toml");
}

#[test]
fn issuers_are_of_the_file_only_and_have_their_keys_checked() {
    let issuer = "[[auth.issuers]]\nname = \"a\"\nalgorithm = \"HS256\"\nkey = \"01234567890123456789012345678901\"";
    assert_eq!(load(issuer, &[]).unwrap().auth.issuers[0].name, "a");
    assert_eq!(problems(&format!("{issuer}\nkeys = 1"), &[]), ["auth.issuers[0].keys: there is no such key"]);
    assert_eq!(problems("[[auth.issuers]]\nname = \"a\"", &[]), ["auth.issuers[0].algorithm: is missing"]);
    assert!(problems("", &[("SALON_AUTH__ISSUERS", "[]")])[0].contains("in the file only"));
}

#[test]
fn the_public_address_follows_the_listener_unless_given() {
    let config = load("[server]\nlisten = \"0.0.0.0:8123\"", &[]).unwrap();
    assert_eq!(config.server.public_url, "http://127.0.0.1:8123");
    let config = load("[server]\nlisten = \"0.0.0.0:8123\"\npublic_url = \"https://Chat.Example/\"", &[]).unwrap();
    assert_eq!(config.server.public_url, "https://chat.example");
}

#[test]
fn the_example_file_is_the_default_and_names_every_key() {
    let text = include_str!("../../config/salon.toml");
    assert_eq!(table_of(&load(text, &[]).unwrap()), table_of(&Config::default()));
    let mut section = String::new();
    let mut told = std::collections::BTreeSet::new();
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_start_matches('[').split(']').next().unwrap_or("").to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            told.insert(format!("{section}.{key}"));
        }
    }
    for (section, keys) in every_key() {
        for (key, value) in keys.as_table().unwrap() {
            let names = match value.get(0).and_then(Value::as_table) {
                Some(issuer) => issuer.keys().map(|inner| format!("{section}.{key}.{inner}")).collect(),
                None => vec![format!("{section}.{key}")],
            };
            for name in names {
                assert!(told.contains(&name), "config/salon.toml does not name {name}");
            }
        }
    }
}
