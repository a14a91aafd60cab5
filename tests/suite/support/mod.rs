//! What tests stand on: private servers, node processes. Everything started here ends with the test process,
//! however that ends.

pub mod authority;
pub mod broker;
pub mod browser;
pub mod cluster;
pub mod guardian;
pub mod haproxy;
pub mod measure;
pub mod nginx;
pub mod node;
pub mod postgres;
pub mod proxy;
pub mod redis;
