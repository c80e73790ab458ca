//! The engine's side: starts sandboxes, runs commands in them and takes them down.
//! Asynchronous; the only part of the crate that may use a runtime.

mod accounting;
mod channel;
mod check;
mod child;
mod direct;
mod flow;
mod guarded;
mod launcher;
mod outlet;
mod probe;
mod sandbox;
mod sweep;
mod translate;
mod vessel;

pub use launcher::Launcher;
pub use probe::{ProbeReport, Verdict, probe_machine, probe_with};
pub use sandbox::Sandbox;
pub(crate) use sandbox::Spare;
pub use sweep::sweep_leftovers;
pub(crate) use translate::translate;
