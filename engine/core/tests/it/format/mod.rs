//! The format and its check: what is accepted, what is refused, and how that is said.

#[path = "../../../../cli/src/diagnose.rs"]
mod diagnose;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod wrong;
#[cfg(test)]
mod right;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod large;
#[cfg(test)]
mod terminal;
