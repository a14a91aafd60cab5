//! What every backend of a seam promises, said once and run against each of them.

mod store;
