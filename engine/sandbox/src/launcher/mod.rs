//! The program side: what the hidden sub-command does before it becomes the guest.
//! Runs single-threaded, before any runtime exists; it must never run as part of the engine's own process.

mod bubblewrap;
mod cgroup;
mod entry;
mod etc;
mod fault;
mod identity;
mod process;
mod sources;
mod translate;
mod view;

#[cfg(feature = "host")]
pub(crate) use cgroup::remove_groups;
#[cfg(feature = "host")]
pub(crate) use entry::CARRIED;
#[cfg(feature = "host")]
pub(crate) use entry::TRANSLATE;
pub use entry::{HIDDEN_ARGUMENT, launcher_main};
pub(crate) use entry::{read_frame, report};
#[cfg(feature = "host")]
pub(crate) use etc::files as etc_files;
pub(crate) use fault::{During, fault};
pub(crate) use identity::INSIDE_ID;
#[cfg(feature = "host")]
pub(crate) use process::mount_notes;
#[cfg(feature = "host")]
pub(crate) use sources::{ETC, SYSTEM};
pub(crate) use view::show;
