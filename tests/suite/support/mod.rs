//! What tests stand on: private servers, node processes. Everything started here ends with the test process,
//! however that ends.

pub mod broker;
pub mod freezer;
pub mod guardian;
pub mod postgres;
pub mod redis;
