//! Passwords: which ones are taken, and their argon2id hashes, made on a few threads of their own so that a flood of
//! log-ins delays nothing but log-ins.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::Error as HashError;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};
use crate::model::Username;
use crate::telemetry::metric;

pub const PASSWORD_CHARS_MIN: usize = 8;
pub const PASSWORD_CHARS_MAX: usize = 256;

/// Memory in KiB, passes and lanes of one hash.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// What a caller waits when the queue is full: a few hashes.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Verified in place of a hash that is not there, so that a wrong name takes as long as a wrong password. Of the
/// same cost as a real one; no password is known for it, and none would be accepted.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The threads that hash. They end when this is dropped and their queue is empty.
pub struct Passwords {
    jobs: SyncSender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Whether a password may be chosen; the reason if not, as [`Error::Invalid`] of `password`.
pub fn check_password(password: &str, username: &Username) -> Result<()> {
    let refuse = |why: String| Err(Error::invalid("password", why));
    let chars = password.chars().count();
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        return refuse(format!("must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters"));
    }
    if password.contains('\0') {
        return refuse("must not hold U+0000".to_owned());
    }
    let lower = prepared(password).to_lowercase();
    if COMMONEST.contains(lower.as_str()) {
        return refuse("is one of the commonest; choose another".to_owned());
    }
    if lower == username.key() {
        return refuse("must not be the username".to_owned());
    }
    Ok(())
}

/// Whether a stored hash cost less than one made today would: a stolen copy of it is easier to guess from.
pub fn is_weak_hash(phc: &str) -> bool {
    let (memory, passes, _) = COST;
    let Ok(stored) = PasswordHash::new(phc) else { return false };
    let Ok(params) = Params::try_from(&stored) else { return true };
    stored.algorithm.as_str() != Algorithm::Argon2id.as_str()
        || stored.version != Some(Version::V0x13.into())
        || params.m_cost() < memory
        || params.t_cost() < passes
}

impl Passwords {
    /// Starts `threads` threads; at most `queue` passwords wait for them.
    pub fn new(threads: usize, queue: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(queue.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads.max(1) {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// The password's hash as a PHC string. [`Error::RateLimited`] at once when the queue is full.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.on_thread(move || hash(&password)).await
    }

    /// Whether the password is the one of this hash. With no hash it takes as long, and is `false`.
    /// [`Error::RateLimited`] at once when the queue is full.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool> {
        self.on_thread(move || verify(&password, phc.as_deref())).await
    }

    async fn on_thread<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let waiting = metrics::gauge!(metric::PASSWORD_QUEUE);
        let taken = waiting.clone();
        let job: Job = Box::new(move || {
            taken.decrement(1);
            // Whoever asked may be gone; then nobody needs the work.
            if !reply.is_closed() {
                let since = Instant::now();
                let _ = reply.send(work());
                metrics::histogram!(metric::PASSWORD_SECONDS).record(since.elapsed());
            }
        });
        waiting.increment(1);
        if let Err(refused) = self.jobs.try_send(job) {
            waiting.decrement(1);
            return Err(match refused {
                TrySendError::Full(_) => Error::RateLimited {
                    what: "too many log-ins are being checked".to_owned(),
                    retry_after: BUSY_RETRY_AFTER,
                },
                TrySendError::Disconnected(_) => Error::Internal("the password threads are gone".to_owned()),
            });
        }
        answer.await.map_err(|_| Error::Internal("a password thread gave no answer".to_owned()))?
    }
}

static COMMONEST: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("commonest.txt").lines().collect());

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

/// Two keyboards can write the same letters as different characters; a password must not depend on that.
fn prepared(password: &str) -> String {
    password.nfkc().collect()
}

fn argon2() -> Result<Argon2<'static>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String> {
    let hashed: std::result::Result<PasswordHash, _> = argon2()?.hash_password(prepared(password).as_bytes());
    hashed.map(|phc| phc.to_string()).map_err(|error| Error::Internal(format!("hashing a password: {error}")))
}

fn verify(password: &str, phc: Option<&str>) -> Result<bool> {
    let broken = |why: String| Error::Internal(format!("a stored password hash: {why}"));
    let expected = PasswordHash::new(phc.unwrap_or(DUMMY_HASH)).map_err(|error| broken(error.to_string()))?;
    if expected.salt.is_none() || expected.hash.is_none() {
        return Err(broken("has no salt or no hash".to_owned()));
    }
    match argon2()?.verify_password(prepared(password).as_bytes(), &expected) {
        Ok(()) => Ok(phc.is_some()),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(broken(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let passwords = Passwords::new(2, 8).unwrap();
        let phc = passwords.hash("correct horse".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash("correct horse".into()).await.unwrap(), "the salt must differ");
        assert!(passwords.verify("correct horse".into(), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify("correct horsf".into(), Some(phc)).await.unwrap());
        let broken = passwords.verify("correct horse".into(), Some("$nonsense".into())).await;
        assert_eq!(broken.unwrap_err().code(), "internal");
    }

    #[tokio::test]
    async fn letters_written_differently_are_the_same_password() {
        let passwords = Passwords::new(1, 8).unwrap();
        let phc = passwords.hash("pa\u{df}w\u{f6}rter".into()).await.unwrap();
        assert!(passwords.verify("pa\u{df}wo\u{308}rter".into(), Some(phc)).await.unwrap());
    }

    #[test]
    fn nobody_takes_as_long_as_somebody() {
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();
        let real = hash("correct horse").unwrap();
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(dummy.params, real.params);
        assert_eq!((dummy.algorithm, dummy.version), (real.algorithm, real.version));
        assert_eq!(dummy.salt.unwrap().len(), real.salt.unwrap().len());
        assert_eq!(dummy.hash.unwrap().len(), real.hash.unwrap().len());
        assert!(!verify("correct horse", None).unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_the_abandoned_costs_nothing() {
        let passwords = Passwords::new(1, 1).unwrap();
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let busy = passwords.on_thread(move || {
            let _ = started.send(());
            hold.recv().map_err(|_| Error::Internal("released".into()))
        });
        let mut busy = Box::pin(busy);
        assert!(futures_util::poll!(&mut busy).is_pending());
        running.await.unwrap();
        let (unrun, passed_over) = oneshot::channel::<()>();
        let mut abandoned = Box::pin(passwords.on_thread(move || -> Result<()> {
            let _ = unrun.send(());
            Ok(())
        }));
        assert!(futures_util::poll!(&mut abandoned).is_pending());
        let full = passwords.verify("x".into(), None).await.unwrap_err();
        assert_eq!(
            full,
            Error::RateLimited {
                what: "too many log-ins are being checked".into(),
                retry_after: Duration::from_secs(1)
            }
        );
        drop(abandoned);
        release.send(()).unwrap();
        busy.await.unwrap();
        passed_over.await.expect_err("nobody waits for it, so it must not be run");
        passwords.hash("correct horse".into()).await.unwrap();
    }

    #[test]
    fn passwords_keep_their_rules() {
        let alice = name("Alice.Liddell");
        let why = |password: &str| match check_password(password, &alice) {
            Err(Error::Invalid { field, why }) => {
                assert_eq!(field, "password");
                Some(why)
            }
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        };
        assert_eq!(why("correct horse"), None);
        assert_eq!(why(&"é".repeat(8)), None);
        assert_eq!(why(&"é".repeat(256)), None);
        assert!(why("seven77").unwrap().contains("8 to 256"));
        assert!(why(&"é".repeat(257)).unwrap().contains("8 to 256"));
        assert!(why("has\0a nul").unwrap().contains("U+0000"));
        assert!(why("Password123").unwrap().contains("commonest"));
        assert!(why("ｐassword1").unwrap().contains("commonest"), "full-width letters hide nothing");
        assert!(why("alice.liddell").unwrap().contains("username"));
    }

    #[test]
    fn the_list_of_commonest_holds_only_what_could_be_chosen() {
        assert!(COMMONEST.len() > 300);
        for word in COMMONEST.iter() {
            assert!(word.chars().count() >= PASSWORD_CHARS_MIN && *word == word.to_lowercase(), "{word}");
        }
    }
}
