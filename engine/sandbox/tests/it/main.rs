//! Integration tests of this crate, one binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected fails")]

mod credentials;
mod desk;
mod endings;
mod engine;
mod hostile;
mod leaks;
mod lifecycle;
mod microvm;
mod outlet;
mod pool;
mod rogue;
mod scene;
mod spoken;
mod web;
mod wire;
mod workspaces;
