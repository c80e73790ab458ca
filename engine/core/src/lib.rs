//! Decides. The format of blueprints, what can be proved about one before it runs, and the state machine of a
//! run. Pure: no files, network, clock, randomness or tokio; what happens in the world arrives as events and
//! what should happen leaves as commands.
#![forbid(unsafe_code)]

pub mod source;
pub mod finding;
pub mod format;
pub mod expr;
pub mod graph;
pub mod trust;
pub mod proof;
pub mod bill;
mod lint;
pub mod check;
pub mod run;
