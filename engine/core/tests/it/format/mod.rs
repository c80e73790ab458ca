//! The format and its check: what is accepted, what is refused, and how that is said.

#[path = "../../../../cli/src/diagnose.rs"]
mod diagnose;

mod corpus;
mod wrong;
mod right;
mod schema;
mod codes;
mod mutations;
mod large;
mod terminal;
