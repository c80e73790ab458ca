//! Settings of the program: what can be set, where, and who wins. A pure function of values that
//! others have read; it never looks at the environment or a file itself.

mod error;
mod file;
mod key;
mod listed;
mod origin;
mod paths;
mod quantity;
mod resolve;
mod sources;
mod tiers;
mod value;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use quantity::Wall;
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use sources::{Flags, Sources};
pub(crate) use tiers::Mapped;
pub(crate) use value::{Color, Durability, Sandbox};
