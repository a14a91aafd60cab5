//! Where the secret comes from that signs salon's own tokens: the configuration, a file, or, for one node on SQLite,
//! made at the first start and kept beside the database.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::config::{Config, ConfigError, DatabaseUrl, SECRET_BYTES_MIN};

const FILE_BYTES_MAX: u64 = 65_536;

/// The secret in force. The error names the key that is wrong, or the file that could not be read or made.
pub fn resolve(config: &Config) -> Result<Vec<u8>, ConfigError> {
    if let Some(secret) = &config.auth.secret {
        return Ok(secret.clone().into_bytes());
    }
    if let Some(file) = &config.auth.secret_file {
        return read_key_file(file)
            .and_then(long_enough)
            .map_err(|why| ConfigError::one("auth.secret_file", format!("{}: {why}", file.display())));
    }
    match config.database.parsed_url() {
        Ok(DatabaseUrl::Sqlite(database)) => {
            let file = beside(&database);
            read_or_make(&file).map_err(|why| ConfigError::one("auth.secret", format!("{}: {why}", file.display())))
        }
        _ => Err(ConfigError::one("auth.secret", "is needed with Postgres (or auth.secret_file)")),
    }
}

/// A secret or key in a file, without the line break that editors put at its end.
pub(super) fn read_key_file(file: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read ({error})");
    let mut bytes = Vec::new();
    File::open(file).map_err(cannot)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is over {FILE_BYTES_MAX} bytes"));
    }
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

fn long_enough(secret: Vec<u8>) -> Result<Vec<u8>, String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("must have at least {SECRET_BYTES_MIN} bytes"));
    }
    Ok(secret)
}

fn beside(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".secret");
    PathBuf::from(name)
}

fn read_or_make(file: &Path) -> Result<Vec<u8>, String> {
    if !file.exists() {
        make(file).map_err(|error| format!("cannot be made ({error})"))?;
    }
    read_key_file(file).and_then(long_enough)
}

/// Written beside and linked into place: two processes starting at once agree on one secret, and a crash leaves none
/// half written.
fn make(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut beside = OsString::from(file);
    beside.push(format!(".{:08x}", rand::random::<u32>()));
    let secret = STANDARD_NO_PAD.encode(rand::random::<[u8; 48]>());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut made = options.open(&beside)?;
    let linked = made
        .write_all(format!("{secret}\n").as_bytes())
        .and_then(|()| made.sync_all())
        .and_then(|()| fs::hard_link(&beside, file));
    fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_sqlite(folder: &Path) -> Config {
        let mut config = Config::default();
        config.database.url = format!("sqlite:{}", folder.join("data/salon.db").display());
        config
    }

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let config = on_sqlite(folder.path());
        let secret = resolve(&config).unwrap();
        assert!(secret.len() >= SECRET_BYTES_MIN);
        assert_eq!(resolve(&config).unwrap(), secret);
        let file = folder.path().join("data/salon.db.secret");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn processes_that_start_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let config = on_sqlite(folder.path());
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(|| resolve(&config).unwrap())).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn the_configuration_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = on_sqlite(folder.path());
        let file = folder.path().join("secret");
        fs::write(&file, "a-secret-of-more-than-thirty-two-bytes\r\n").unwrap();
        config.auth.secret_file = Some(file.clone());
        assert_eq!(resolve(&config).unwrap(), b"a-secret-of-more-than-thirty-two-bytes");
        fs::write(&file, "short\n").unwrap();
        let wrong = resolve(&config).unwrap_err();
        assert_eq!(wrong.problems[0].key, "auth.secret_file");
        assert!(!wrong.to_string().contains("short\n"));
        fs::remove_file(&file).unwrap();
        assert_eq!(resolve(&config).unwrap_err().problems[0].key, "auth.secret_file");
        config.auth.secret = Some("x".repeat(32));
        assert_eq!(resolve(&config).unwrap(), "x".repeat(32).into_bytes());
    }
}
