//! The workspace against a real git and a real filesystem.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod base;
mod checkout;
mod diff;
mod ground;
mod hostile;
mod merge;
mod round_trip;
mod users_repository;
