//! Who somebody is: passwords, tokens, login sessions. Nothing here asks a store: the use cases are
//! `node::accounts`.

pub mod issuers;
pub mod passwords;
pub mod refresh;
pub mod secret;
pub mod tokens;

#[cfg(test)]
mod attacks;

pub use passwords::{Passwords, check_password, is_weak_hash};
pub use tokens::{Identity, Tokens};
