//! What is in force, for `salon config`: the whole configuration as TOML that could be loaded again, but for secrets.

use super::Config;
use super::load::table_of;

const HIDDEN: &str = "(hidden)";

impl Config {
    /// The configuration as TOML, with secrets and the passwords in URLs hidden.
    pub fn redacted(&self) -> String {
        let mut shown = self.clone();
        shown.database.url = without_password(&shown.database.url);
        shown.redis.url = shown.redis.url.as_deref().map(without_password);
        hide(&mut shown.auth.secret);
        hide(&mut shown.auth.previous_secret);
        for issuer in &mut shown.auth.issuers {
            // The others are public keys.
            if issuer.algorithm == "HS256" {
                hide(&mut issuer.key);
            }
        }
        toml::to_string_pretty(&table_of(&shown)).expect("a table of plain values can be written as TOML")
    }
}

/// The URL with its password hidden, and what its query says about passwords. Cuts rather too much than too little:
/// a password may hold an unescaped `@` or `/`.
pub(super) fn without_password(url: &str) -> String {
    let (head, query) = match url.split_once('?') {
        Some((head, query)) => (head, Some(query)),
        None => (url, None),
    };
    let mut shown = match (head.find("://"), head.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let authority = scheme + 3;
            match head[authority..at].find(':') {
                Some(colon) => format!("{}:{HIDDEN}{}", &head[..authority + colon], &head[at..]),
                None => head.to_owned(),
            }
        }
        _ => head.to_owned(),
    };
    // An `@` behind the question mark: the password held one, so nothing of it is shown.
    if let Some(query) = query {
        shown.push('?');
        if query.contains('@') {
            return format!("{}{HIDDEN}", &shown[..shown.find("://").map_or(0, |scheme| scheme + 3)]);
        }
        let parts: Vec<String> = query.split('&').map(without_secret).collect();
        shown.push_str(&parts.join("&"));
    }
    shown
}

fn without_secret(part: &str) -> String {
    match part.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={HIDDEN}"),
        _ => part.to_owned(),
    }
}

fn hide(secret: &mut Option<String>) {
    if let Some(secret) = secret {
        HIDDEN.clone_into(secret);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Issuer;
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (url, shown) in [
            ("sqlite:data/salon.db", "sqlite:data/salon.db"),
            ("postgres://host/name", "postgres://host/name"),
            ("postgres://u@host/name", "postgres://u@host/name"),
            ("postgres://u:p@host:5432/name?sslmode=disable", "postgres://u:(hidden)@host:5432/name?sslmode=disable"),
            (
                "postgres://u:p@h1:1,h2:2/name?target_session_attrs=read-write",
                "postgres://u:(hidden)@h1:1,h2:2/name?target_session_attrs=read-write",
            ),
            ("postgres://u:p@/x@host/name", "postgres://u:(hidden)@host/name"),
            ("postgres://u:p?x@host/name", "postgres://(hidden)"),
            ("postgres://host/name?user=u&password=p", "postgres://host/name?user=u&password=(hidden)"),
            (
                "redis-sentinel://:p@h:1/2?sentinelPassword=q",
                "redis-sentinel://:(hidden)@h:1/2?sentinelPassword=(hidden)",
            ),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn no_secret_is_shown_in_any_form() {
        let mut config = Config::default();
        config.database.url = "postgres://u:QQQ1@host/name".into();
        config.redis.url = Some("redis://:QQQ2@host".into());
        config.auth.secret = Some("QQQ3".into());
        config.auth.previous_secret = Some("QQQ4".into());
        config.auth.issuers = vec![Issuer {
            name: "own".into(),
            algorithm: "HS256".into(),
            key: Some("QQQ5".into()),
            key_file: None,
            issuer: None,
            audience: None,
        }];
        for text in [config.redacted(), format!("{config:?}")] {
            assert!(!text.contains("QQQ"), "{text}");
            assert!(text.contains("own"), "{text}");
        }
        assert!(config.redacted().contains("secret = \"(hidden)\""));
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let shown = Config::default().redacted();
        let again: Config = toml::from_str(&shown).unwrap();
        assert_eq!(table_of(&again), table_of(&Config::default()));
    }
}
