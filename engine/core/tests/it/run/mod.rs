//! Tests of the run state machine: examples by one door, a second opinion on random graphs, and what it costs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what is not as a test expects it fails the test")]

mod drive;
mod graphs;
mod loops;
mod sub_graphs;
mod gates;
mod interruptions;
mod sessions;

mod random;
mod spec;
mod script;
mod oracle;
mod world;
mod property;
mod flow;

mod cost;
