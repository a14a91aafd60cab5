//! What every backend of a seam promises, said once as functions over its trait and run against each of them.

mod broker;
mod presence;
mod store;
