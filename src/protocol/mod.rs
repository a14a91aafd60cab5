//! The only wire types: what sockets say ([`incoming`]), what they are told ([`frames`]), and what nodes tell each
//! other through the broker ([`envelope`]).

pub mod envelope;
pub mod frames;
pub mod incoming;
pub mod said;

/// The version that `welcome` announces.
pub const PROTOCOL_VERSION: u32 = 1;
