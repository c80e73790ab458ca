//! Integration tests of this crate, one binary.

mod format;
mod run;
