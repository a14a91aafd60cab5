//! Servers that measurements start.

pub mod bed;
pub mod guarded;
pub mod postgres;

pub type Result<T> = std::result::Result<T, String>;
