//! Integration tests of this crate, one binary.

mod edit;
mod store;
mod workspace;
