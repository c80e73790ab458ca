//! Unused sandboxes that are ready before they are wanted. What to have ready is for others to decide.

mod key;
mod settings;
mod slots;
mod spares;

pub use key::Key;
pub use settings::PoolSettings;
pub use spares::{Pool, Start};
