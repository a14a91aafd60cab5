//! The use cases.

pub mod accounts;
pub mod limits;
pub mod recent;
mod wished_name;
