//! Puts the layers together: default < TOML file < `SALON_<SECTION>__<KEY>` environment. Everything that is wrong is
//! told at once, each with its key and the reason, and never with the value of a secret.

use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::{Auth, Config, Issuer, check};

const ENV_PREFIX: &str = "SALON_";
/// A configuration is written by a person; a larger file was named by mistake.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// One key and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub why: String,
}

impl Config {
    /// Reads and checks the configuration. With no file: defaults and environment.
    ///
    /// Variables that do not start with `SALON_` are passed over; of those that do, an unknown one is an error. An
    /// empty variable of an optional key means that the key is absent.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut wrong = ConfigError::default();
        let mut given = Table::new();
        if let Some(file) = file {
            take_file(file, &mut given, &mut wrong);
        }
        for (name, value) in env {
            if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
                take_variable(&name, rest, &value, &mut given, &mut wrong);
            }
        }
        check::bounds(&mut given, &mut wrong);
        let mut config = typed(given.clone(), &mut wrong);
        if !has(&given, "server", "public_url") {
            config.server.public_url = plain_http_at(&config.server.listen);
        }
        check::rules(&mut config, &mut wrong);
        if wrong.problems.is_empty() { Ok(config) } else { Err(wrong) }
    }
}

impl ConfigError {
    pub fn one(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { problems: vec![Problem { key: key.into(), why: why.into() }] }
    }

    pub fn add(&mut self, key: impl Into<String>, why: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), why: why.into() });
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused")?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.key, problem.why)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Every key there is, with a value of its type; also those that are absent by default.
pub(super) fn every_key() -> Table {
    let text = || Some(String::new());
    let issuer = Issuer {
        name: String::new(),
        algorithm: String::new(),
        key: text(),
        key_file: Some("".into()),
        issuer: text(),
        audience: text(),
    };
    let auth = Auth { secret: text(), secret_file: Some("".into()), previous_secret: text(), issuers: vec![issuer] };
    let mut all = Config { auth, ..Config::default() };
    all.redis.url = text();
    all.redis.ca_file = Some("".into());
    all.node.name = text();
    table_of(&all)
}

pub(super) fn table_of(config: &Config) -> Table {
    Table::try_from(config).expect("a Config is made of tables, strings, numbers and lists only")
}

fn take_file(file: &Path, given: &mut Table, wrong: &mut ConfigError) {
    let name = file.display().to_string();
    let text = match read_bounded(file) {
        Ok(text) => text,
        Err(why) => return wrong.add(name, why),
    };
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        // Not the error's own form, which shows the line: that could hold a secret.
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            return wrong.add(format!("{name}, line {line}"), error.message().to_owned());
        }
    };
    let known = every_key();
    for (section, value) in table {
        match (known.get(&section), value) {
            (None, _) => wrong.add(section, "there is no such section"),
            (Some(Value::Table(known)), Value::Table(keys)) => {
                for (key, value) in keys {
                    take_key(&section, &key, value, known, given, wrong);
                }
            }
            (Some(_), _) => wrong.add(section, "must be a section"),
        }
    }
}

fn take_key(section: &str, key: &str, value: Value, known: &Table, given: &mut Table, wrong: &mut ConfigError) {
    let path = format!("{section}.{key}");
    let Some(sample) = known.get(key) else {
        return wrong.add(path, "there is no such key");
    };
    if path == "auth.issuers" {
        if issuers_fit(&path, &value, sample, wrong) {
            put(given, section, key, value);
        }
    } else if let Some(why) = misfit(&value, sample) {
        wrong.add(path, why);
    } else {
        put(given, section, key, value);
    }
}

fn issuers_fit(path: &str, value: &Value, sample: &Value, wrong: &mut ConfigError) -> bool {
    let before = wrong.problems.len();
    let known = sample.get(0).and_then(Value::as_table);
    let (Some(issuers), Some(known)) = (value.as_array(), known) else {
        wrong.add(path, "must be written as [[auth.issuers]]");
        return false;
    };
    for (index, issuer) in issuers.iter().enumerate() {
        let Some(issuer) = issuer.as_table() else {
            wrong.add(format!("{path}[{index}]"), "must be written as [[auth.issuers]]");
            continue;
        };
        for (key, value) in issuer {
            let why = match known.get(key) {
                None => Some("there is no such key".to_owned()),
                Some(sample) => misfit(value, sample),
            };
            if let Some(why) = why {
                wrong.add(format!("{path}[{index}].{key}"), why);
            }
        }
        for needed in ["name", "algorithm"] {
            if !issuer.contains_key(needed) {
                wrong.add(format!("{path}[{index}].{needed}"), "is missing");
            }
        }
    }
    wrong.problems.len() == before
}

fn take_variable(name: &str, rest: &str, value: &str, given: &mut Table, wrong: &mut ConfigError) {
    let Some((section, key)) = rest.split_once("__") else {
        if !is_service_link(rest, value) {
            wrong.add(name, "there is no such key; a variable is written SALON_<SECTION>__<KEY>");
        }
        return;
    };
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    let known = every_key();
    let Some(sample) = known.get(&section).and_then(|section| section.get(&key)) else {
        return wrong.add(name, "there is no such key");
    };
    if section == "auth" && key == "issuers" {
        return wrong.add(name, "issuers are written in the file only, as [[auth.issuers]]");
    }
    if value.is_empty() && !has(&table_of(&Config::default()), &section, &key) {
        if let Some(Value::Table(section)) = given.get_mut(&section) {
            section.remove(&key);
        }
        return;
    }
    let parsed = match sample {
        Value::String(_) => Some(Value::String(value.to_owned())),
        _ => toml_value(value),
    };
    match parsed {
        None => wrong.add(name, format!("must be {}", kind(sample))),
        Some(parsed) => match misfit(&parsed, sample) {
            Some(why) => wrong.add(name, why),
            None => put(given, &section, &key, parsed),
        },
    }
}

/// Kubernetes gives every pod variables like `SALON_SERVICE_HOST` or `SALON_PORT_8000_TCP` for a service called
/// `salon`; they are no keys, and must not stop a start.
fn is_service_link(rest: &str, value: &str) -> bool {
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://");
    let is_port = |tail: &str| tail.starts_with(|c: char| c.is_ascii_digit()) && tail.contains('_');
    rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || (rest.ends_with("PORT") && is_url)
        || rest.split("PORT_").skip(1).any(is_port)
}

/// The typed configuration; a key whose value its type refuses is reported and left at its default.
fn typed(mut given: Table, wrong: &mut ConfigError) -> Config {
    let mut refused = Vec::new();
    for (section, keys) in &given {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let mut alone = Table::new();
            put(&mut alone, section, key, value.clone());
            if let Err(error) = alone.try_into::<Config>() {
                wrong.add(format!("{section}.{key}"), error.message().trim().to_owned());
                refused.push((section.clone(), key.clone()));
            }
        }
    }
    for (section, key) in refused {
        if let Some(Value::Table(section)) = given.get_mut(&section) {
            section.remove(&key);
        }
    }
    given.try_into().expect("every key was taken alone")
}

fn put(table: &mut Table, section: &str, key: &str, value: Value) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

fn has(table: &Table, section: &str, key: &str) -> bool {
    table.get(section).is_some_and(|section| section.get(key).is_some())
}

/// Why a value is not of the sample's type; the value itself is not told, it may be a secret.
fn misfit(value: &Value, sample: &Value) -> Option<String> {
    let same = value.type_str() == sample.type_str();
    let strings = value.as_array().is_none_or(|items| items.iter().all(Value::is_str));
    (!same || !strings).then(|| format!("must be {}", kind(sample)))
}

fn kind(sample: &Value) -> &'static str {
    match sample {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list of strings, as [\"a\", \"b\"]",
        _ => "of another type",
    }
}

fn toml_value(text: &str) -> Option<Value> {
    let mut table = format!("value = {text}").parse::<Table>().ok()?;
    let value = table.remove("value");
    if table.is_empty() { value } else { None }
}

/// The address of a listener as a person on this machine can open it.
fn plain_http_at(listen: &str) -> String {
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "80"));
    match host {
        "0.0.0.0" => format!("http://127.0.0.1:{port}"),
        "[::]" => format!("http://[::1]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}

fn read_bounded(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| format!("cannot be read ({error})"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("is over {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("cannot be read ({error})"))
}
