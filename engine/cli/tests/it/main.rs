//! End-to-end tests of the program `blueprint`, one binary: every test starts the built program in a project of
//! its own, with an environment of its own, and looks at what a person or a script would see.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected fails")]

mod lab;
mod server;
mod tidy;

mod agents;
mod control;
mod exits;
mod flow;
mod gates;
mod hooks;
mod images;
mod journal;
mod keeping;
mod kills;
mod logins;
mod mcp;
mod models;
mod outbound;
mod output;
mod proofs;
mod repair;
mod reached;
mod replay;
mod requests;
mod scenarios;
mod secrets;
mod signals;
mod tiers;
mod trouble;
mod values;
mod vault;
mod warm;
mod worktree;
