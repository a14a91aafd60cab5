//! What tests stand on: private servers, node processes. Everything started here ends with the test process,
//! however that ends.

pub mod guardian;
pub mod postgres;
