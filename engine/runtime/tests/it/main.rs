//! Integration tests of this crate, one binary.

mod store;
mod workspace;
