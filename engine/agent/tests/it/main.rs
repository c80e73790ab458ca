//! Integration tests of this crate, one binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected fails")]

mod direct_host;
mod external;
mod keys;
mod mcp;
mod session;
mod tools;
mod wire;
