//! The guest: process 1 of a sandbox, which runs commands on the host's behalf.
//! It gives nothing to a command but its pipes, and needs only the standard library and system calls.

mod channel;
mod command;
mod confine;
mod egress;
mod renew;
mod seccomp;
mod serve;
mod spawn;
mod watch;

pub(crate) use confine::enforced_abi;
#[cfg(feature = "host")]
pub(crate) use seccomp::call_names;
#[cfg(feature = "host")]
pub(crate) use serve::{CANARY, CANARY_FILE};
pub(crate) use serve::{
    Settings, control_group_namespace, kernel_release, serve, serve_carried, serve_inside,
};
