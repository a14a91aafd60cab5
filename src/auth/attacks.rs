//! Tokens as an attacker would write them, against keys made for each run.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::tokens::{Identity, Tokens};
use crate::config::{Auth, Issuer};
use crate::error::Error;
use crate::model::{SiteRole, User, UserId, Username};

const SECRET: &[u8] = b"the-secret-of-these-tests-is-long-enough";
const SHARED: &str = "an-issuer-key-that-is-long-enough-too";

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn issuer(algorithm: &str, key: &str) -> Issuer {
    Issuer {
        name: "own".into(),
        algorithm: algorithm.into(),
        key: Some(key.into()),
        key_file: None,
        issuer: None,
        audience: None,
    }
}

fn tokens(issuers: Vec<Issuer>) -> Tokens {
    Tokens::new(&Auth { issuers, ..Auth::default() }, SECRET).unwrap()
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn external() -> Value {
    json!({"sub": "u1", "name": "Bob", "exp": now() + 60})
}

fn own_claims() -> Value {
    json!({"iss": "salon", "sub": "7", "name": "alice", "role": "admin", "sid": "s1", "typ": "access",
           "iat": now(), "exp": now() + 60})
}

fn signed(header: &Header, claims: &Value, key: &[u8]) -> String {
    encode(header, claims, &EncodingKey::from_secret(key)).unwrap()
}

fn hs256(claims: &Value, key: &[u8]) -> String {
    signed(&Header::new(Algorithm::HS256), claims, key)
}

#[track_caller]
fn refused(tokens: &Tokens, token: &str) {
    assert_eq!(tokens.verify(token), Err(Error::Unauthenticated("the token is not accepted".into())));
}

#[track_caller]
fn expired(tokens: &Tokens, token: &str) {
    assert_eq!(tokens.verify(token), Err(Error::Unauthenticated("the token has expired".into())));
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// A signer and the public key in PEM, by algorithm.
fn key_pairs() -> Vec<(Algorithm, &'static str, EncodingKey, String)> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_private = AsDer::<Pkcs8V1Der>::as_der(&rsa).unwrap();
    // The library signs with the inner PKCS#1 form, which its PEM reader finds.
    let rsa_pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(rsa_private.as_ref()));
    let rsa_public = AsDer::<PublicKeyX509Der>::as_der(rsa.public_key()).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ec_public = AsDer::<PublicKeyX509Der>::as_der(ec.public_key()).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_public = AsDer::<PublicKeyX509Der>::as_der(ed.public_key()).unwrap();
    vec![
        (Algorithm::RS256, "RS256", EncodingKey::from_rsa_pem(rsa_pem.as_bytes()).unwrap(), pem(rsa_public.as_ref())),
        (
            Algorithm::ES256,
            "ES256",
            EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref()),
            pem(ec_public.as_ref()),
        ),
        (
            Algorithm::EdDSA,
            "EdDSA",
            EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref()),
            pem(ed_public.as_ref()),
        ),
    ]
}

#[test]
fn every_algorithm_is_accepted_with_its_own_key_and_no_other() {
    let pairs = key_pairs();
    for (algorithm, name, signer, public) in &pairs {
        let tokens = tokens(vec![issuer(name, public)]);
        let token = encode(&Header::new(*algorithm), &external(), signer).unwrap();
        let identity = tokens.verify(&token).unwrap();
        let Identity::External { issuer, subject, wished_name, issued_at, .. } = identity else { panic!("{name}") };
        assert_eq!((issuer.as_str(), subject.as_str(), wished_name.as_deref()), ("own", "u1", Some("Bob")));
        assert_eq!(issued_at, None);
        for (other_algorithm, _, other, _) in pairs.iter().filter(|(other, ..)| other != algorithm) {
            refused(&tokens, &encode(&Header::new(*other_algorithm), &external(), other).unwrap());
        }
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for (_, name, _, public) in key_pairs() {
        let tokens = tokens(vec![issuer(name, &public)]);
        for key in [public.as_bytes(), public.trim_end().as_bytes()] {
            refused(&tokens, &hs256(&external(), key));
            refused(&tokens, &hs256(&own_claims(), key));
        }
    }
}

#[test]
fn no_algorithm_is_none() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    for alg in ["none", "None", "NONE", ""] {
        for claims in [external(), own_claims()] {
            let head = part(&json!({"alg": alg, "typ": "JWT"}));
            refused(&tokens, &format!("{head}.{}.", part(&claims)));
            refused(&tokens, &format!("{head}.{}", part(&claims)));
        }
    }
}

#[test]
fn a_signature_taken_off_or_changed_is_refused() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    for token in [hs256(&external(), SHARED.as_bytes()), hs256(&own_claims(), SECRET)] {
        tokens.verify(&token).unwrap();
        let (signed_part, signature) = token.rsplit_once('.').unwrap();
        refused(&tokens, &format!("{signed_part}."));
        refused(&tokens, signed_part);
        refused(&tokens, &format!("{signed_part}.{}", &signature[..signature.len() - 4]));
        refused(&tokens, &format!("{signed_part}.{}", URL_SAFE_NO_PAD.encode([0; 32])));
        let (head, _) = signed_part.split_once('.').unwrap();
        let other = part(&with(own_claims(), "sub", json!("1")));
        refused(&tokens, &format!("{head}.{other}.{signature}"));
    }
}

#[test]
fn a_wrong_key_is_refused() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    let wrong = b"some-other-key-that-is-long-enough-too";
    for key in [&wrong[..], b"", b"salon"] {
        refused(&tokens, &hs256(&own_claims(), key));
        refused(&tokens, &hs256(&external(), key));
    }
}

#[test]
fn an_issuer_cannot_speak_for_salon() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    let kid = Header { kid: Some("salon".into()), ..Header::new(Algorithm::HS256) };
    let token = signed(&kid, &own_claims(), SHARED.as_bytes());
    let identity = tokens.verify(&token).unwrap();
    assert!(matches!(identity, Identity::External { ref subject, .. } if subject == "7"), "{identity:?}");
    let Err(wrong) = Tokens::new(
        &Auth { issuers: vec![issuer("HS256", std::str::from_utf8(SECRET).unwrap())], ..Auth::default() },
        SECRET,
    ) else {
        panic!("salon's own secret must be refused as an issuer's key")
    };
    assert_eq!(wrong.problems[0].key, "auth.issuers[0].key");
}

#[test]
fn other_strengths_of_the_same_family_are_refused() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        refused(&tokens, &signed(&Header::new(algorithm), &own_claims(), SECRET));
        refused(&tokens, &signed(&Header::new(algorithm), &external(), SHARED.as_bytes()));
    }
}

#[test]
fn time_is_held_to_with_five_seconds_of_leeway() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    for (claims, key) in [(external(), SHARED.as_bytes()), (own_claims(), SECRET)] {
        let at = |name: &str, value: i64| hs256(&with(claims.clone(), name, json!(value)), key);
        tokens.verify(&at("exp", now() - 3)).unwrap();
        expired(&tokens, &at("exp", now() - 8));
        expired(&tokens, &at("exp", 0));
        tokens.verify(&at("nbf", now() + 3)).unwrap();
        refused(&tokens, &at("nbf", now() + 30));
        refused(&tokens, &hs256(&without(claims.clone(), "exp"), key));
        for exp in [json!("tomorrow"), json!(null), json!(-5), json!({})] {
            refused(&tokens, &hs256(&with(claims.clone(), "exp", exp), key));
        }
    }
}

#[test]
fn issuer_and_audience_must_be_there_and_match_where_configured() {
    let strict = Issuer {
        issuer: Some("https://login.example".into()),
        audience: Some("salon".into()),
        ..issuer("HS256", SHARED)
    };
    let tokens = tokens(vec![strict]);
    let right = with(with(external(), "iss", json!("https://login.example")), "aud", json!("salon"));
    let sign = |claims: Value| hs256(&claims, SHARED.as_bytes());
    tokens.verify(&sign(right.clone())).unwrap();
    tokens.verify(&sign(with(right.clone(), "aud", json!(["other", "salon"])))).unwrap();
    for aud in [json!("other"), json!(["other"]), json!([]), json!(null), json!(5)] {
        refused(&tokens, &sign(with(right.clone(), "aud", aud)));
    }
    for iss in [json!("https://evil.example"), json!(["https://login.example"]), json!(null), json!("")] {
        refused(&tokens, &sign(with(right.clone(), "iss", iss)));
    }
    refused(&tokens, &sign(without(right.clone(), "aud")));
    refused(&tokens, &sign(without(right, "iss")));
}

#[test]
fn without_an_audience_configured_any_is_taken() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    tokens.verify(&hs256(&with(external(), "aud", json!("whatever")), SHARED.as_bytes())).unwrap();
    refused(&tokens, &hs256(&with(own_claims(), "aud", json!("whatever")), SECRET));
}

#[test]
fn keys_that_a_token_brings_along_are_not_used() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    let evil = b"a-key-the-attacker-chose-and-brought";
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(evil), "alg": "HS256"});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("kid", json!("salon")),
        ("kid", json!("../../dev/null")),
        ("kid", json!("own' OR '1'='1")),
    ] {
        for (claims, right) in [(external(), SHARED.as_bytes()), (own_claims(), SECRET)] {
            let mut header = json!({"alg": "HS256", "typ": "JWT"});
            header[name] = value.clone();
            let header: Header = serde_json::from_value(header).unwrap();
            refused(&tokens, &signed(&header, &claims, evil));
            refused(&tokens, &signed(&header, &claims, b""));
            tokens.verify(&signed(&header, &claims, right)).unwrap();
        }
    }
    let critical = Header { crit: Some(vec!["exp".into()]), ..Header::new(Algorithm::HS256) };
    refused(&tokens, &signed(&critical, &own_claims(), SECRET));
}

#[test]
fn own_tokens_must_be_access_tokens_of_salon() {
    let tokens = tokens(Vec::new());
    tokens.verify(&hs256(&own_claims(), SECRET)).unwrap();
    for (name, value) in [
        ("typ", json!("refresh")),
        ("typ", json!(null)),
        ("iss", json!("other")),
        ("sub", json!("alice")),
        ("sub", json!(7)),
        ("role", json!("root")),
    ] {
        refused(&tokens, &hs256(&with(own_claims(), name, value), SECRET));
    }
    for name in ["typ", "iss", "sub", "sid", "role", "name"] {
        refused(&tokens, &hs256(&without(own_claims(), name), SECRET));
    }
}

#[test]
fn subjects_are_bounded_and_plain() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    let sign = |sub: Value| hs256(&with(external(), "sub", sub), SHARED.as_bytes());
    tokens.verify(&sign(json!("x".repeat(255)))).unwrap();
    for sub in [json!("x".repeat(256)), json!(""), json!("a\0b"), json!(5), json!(null)] {
        refused(&tokens, &sign(sub));
    }
    let odd = with(external(), "name", json!(["not", "a", "string"]));
    let identity = tokens.verify(&hs256(&odd, SHARED.as_bytes())).unwrap();
    assert!(matches!(identity, Identity::External { wished_name: None, .. }));
}

#[test]
fn what_is_no_token_is_refused() {
    let tokens = tokens(vec![issuer("HS256", SHARED)]);
    let long = hs256(&with(external(), "pad", json!("x".repeat(9_000))), SHARED.as_bytes());
    for text in ["", ".", "..", "...", "a.b.c", "\0", "é.é.é", &"x".repeat(9_000), &long] {
        refused(&tokens, text);
    }
}

#[test]
fn keys_that_cannot_work_stop_the_start_by_name() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let p384 = pem(AsDer::<PublicKeyX509Der>::as_der(p384.public_key()).unwrap().as_ref());
    let pairs = key_pairs();
    let (rsa, ec) = (&pairs[0].3, &pairs[1].3);
    for (algorithm, key) in [
        ("HS256", "short"),
        ("RS256", SHARED),
        ("RS256", ec),
        ("ES256", rsa),
        ("ES256", &p384),
        ("EdDSA", ec),
        ("RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("RS256", &rsa.replace("PUBLIC", "PRIVATE")),
    ] {
        let auth = Auth { issuers: vec![issuer("HS256", SHARED), issuer(algorithm, key)], ..Auth::default() };
        let wrong = super::issuers::check(&auth).expect_err(algorithm);
        assert_eq!(wrong.problems[0].key, "auth.issuers[1].key", "{algorithm}");
    }
    let absent = Issuer { key: None, key_file: Some("/nowhere/key.pem".into()), ..issuer("RS256", "") };
    let wrong = super::issuers::check(&Auth { issuers: vec![absent], ..Auth::default() }).unwrap_err();
    assert_eq!(wrong.problems[0].key, "auth.issuers[0].key_file");
}

#[test]
fn minted_tokens_are_no_use_to_an_issuer_with_another_key() {
    let user = User { id: UserId(7), username: Username::parse("alice").unwrap(), role: SiteRole::User };
    let (token, _) = tokens(Vec::new()).mint(&user, "s1").unwrap();
    let other = Tokens::new(&Auth { issuers: vec![issuer("HS256", SHARED)], ..Auth::default() }, &[7; 40]).unwrap();
    refused(&other, &token);
}
