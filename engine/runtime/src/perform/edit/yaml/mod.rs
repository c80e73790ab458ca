//! Sets a key of a YAML text by changing nothing but the place where it stands.

mod place;
mod scalar;
mod tree;

pub(super) use place::set;
