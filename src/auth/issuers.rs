//! The operator's own issuers: their keys, each with its one algorithm, and what their tokens must say.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::Value;

use super::secret::read_key_file;
use super::tokens::{Identity, Mismatch, validation};
use crate::config::{Auth, ConfigError, Issuer, SECRET_BYTES_MIN};
use crate::error::Result;
use crate::model::Timestamp;

const SUBJECT_CHARS_MAX: usize = 255;
/// Lengths of what a public key's PEM holds: an uncompressed point on P-256, an Ed25519 key, and at least the
/// modulus of 2048-bit RSA.
const P256_POINT_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;
const RSA_BYTES_MIN: usize = 256;

/// Reads and checks every issuer's key, without keeping it; for commands that only check the configuration.
pub fn check(auth: &Auth) -> Result<(), ConfigError> {
    Issuers::new(&auth.issuers).map(drop)
}

pub(super) struct Issuers(Vec<Known>);

struct Known {
    name: String,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
    issuer: Option<String>,
}

#[derive(Deserialize)]
struct ExternalClaims {
    sub: String,
    iss: Option<Value>,
    /// The wished username; anything but a string is passed over.
    name: Option<Value>,
    iat: Option<Value>,
    /// Seconds; some issuers write fractions.
    exp: f64,
}

impl Issuers {
    pub(super) fn new(issuers: &[Issuer]) -> Result<Self, ConfigError> {
        let mut wrong = ConfigError::default();
        let mut known = Vec::new();
        for (index, issuer) in issuers.iter().enumerate() {
            match Known::new(issuer) {
                Ok(issuer) => known.push(issuer),
                Err((key, why)) => wrong.add(format!("auth.issuers[{index}].{key}"), why),
            }
        }
        if wrong.problems.is_empty() { Ok(Self(known)) } else { Err(wrong) }
    }

    /// Whoever holds an issuer's key must not be able to sign as salon itself.
    pub(super) fn refuse_keys(&self, own: &[&[u8]]) -> Result<(), ConfigError> {
        for (index, known) in self.0.iter().enumerate() {
            if known.key.try_get_as_bytes().is_ok_and(|key| own.contains(&key)) {
                return Err(ConfigError::one(format!("auth.issuers[{index}].key"), "must not be salon's own secret"));
            }
        }
        Ok(())
    }

    /// What each key of this algorithm says of the token.
    pub(super) fn verify<'a>(
        &'a self,
        token: &'a str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = Result<Identity, Mismatch>> + 'a {
        self.0.iter().filter(move |known| known.algorithm == algorithm).map(move |known| known.verify(token))
    }
}

impl Known {
    /// The error is the key of the configuration and the reason.
    fn new(issuer: &Issuer) -> Result<Self, (&'static str, String)> {
        let (from, bytes) = match (&issuer.key, &issuer.key_file) {
            (Some(key), None) => ("key", key.clone().into_bytes()),
            (None, Some(file)) => {
                let read = read_key_file(file).map_err(|why| format!("{}: {why}", file.display()));
                ("key_file", read.map_err(|why| ("key_file", why))?)
            }
            _ => return Err(("key", "exactly one of key and key_file must be given".to_owned())),
        };
        let algorithm = match issuer.algorithm.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(("algorithm", "must be one of HS256, RS256, ES256, EdDSA".to_owned())),
        };
        let key = decoding_key(algorithm, &bytes).map_err(|why| (from, why.to_owned()))?;
        Ok(Self {
            name: issuer.name.clone(),
            algorithm,
            key,
            validation: expectations(algorithm, issuer),
            issuer: issuer.issuer.clone(),
        })
    }

    fn verify(&self, token: &str) -> Result<Identity, Mismatch> {
        let claims = decode::<ExternalClaims>(token, &self.key, &self.validation)?.claims;
        // The library also takes a list that holds the issuer; the standard knows one only.
        let iss = claims.iss.as_ref().and_then(Value::as_str);
        if self.issuer.is_some() && iss != self.issuer.as_deref() {
            return Err(Mismatch::Other);
        }
        let chars = claims.sub.chars().count();
        if chars == 0 || chars > SUBJECT_CHARS_MAX || claims.sub.chars().any(char::is_control) {
            return Err(Mismatch::Other);
        }
        Ok(Identity::External {
            issuer: self.name.clone(),
            subject: claims.sub,
            wished_name: claims.name.as_ref().and_then(Value::as_str).map(str::to_owned),
            issued_at: claims.iat.as_ref().and_then(Value::as_f64).map(timestamp),
            expires_at: timestamp(claims.exp),
        })
    }
}

fn expectations(algorithm: Algorithm, issuer: &Issuer) -> Validation {
    let mut expected = validation(algorithm);
    let mut required = vec!["exp", "sub"];
    if let Some(name) = &issuer.issuer {
        expected.set_issuer(&[name]);
        required.push("iss");
    }
    match &issuer.audience {
        Some(audience) => {
            expected.set_audience(&[audience]);
            required.push("aud");
        }
        None => expected.validate_aud = false,
    }
    expected.set_required_spec_claims(&required);
    expected
}

fn decoding_key(algorithm: Algorithm, bytes: &[u8]) -> Result<DecodingKey, &'static str> {
    if algorithm == Algorithm::HS256 {
        return match bytes.len() < SECRET_BYTES_MIN {
            true => Err("must have at least 32 bytes"),
            false => Ok(DecodingKey::from_secret(bytes)),
        };
    }
    let text = String::from_utf8_lossy(bytes);
    if !text.contains("BEGIN PUBLIC KEY") && !text.contains("BEGIN RSA PUBLIC KEY") {
        return Err("must be a public key in PEM (BEGIN PUBLIC KEY)");
    }
    // The library takes what it finds in the PEM as it stands, and a wrong key would only refuse every token.
    let (parsed, fits): (_, fn(usize) -> bool) = match algorithm {
        Algorithm::RS256 => (DecodingKey::from_rsa_pem(bytes), |length| length >= RSA_BYTES_MIN),
        Algorithm::ES256 => (DecodingKey::from_ec_pem(bytes), |length| length == P256_POINT_BYTES),
        _ => (DecodingKey::from_ed_pem(bytes), |length| length == ED25519_BYTES),
    };
    let key = parsed.map_err(|_| "is no public key of this algorithm")?;
    match key.try_get_as_bytes() {
        Ok(bytes) if fits(bytes.len()) => Ok(key),
        _ => Err("is a key of another curve, or too small (RSA needs 2048 bits)"),
    }
}

/// From seconds; a number too large becomes the end of time.
fn timestamp(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1_000.0) as i64)
}
