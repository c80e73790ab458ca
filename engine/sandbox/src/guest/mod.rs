//! The guest: process 1 of a sandbox, which runs commands on the host's behalf.
//! It gives nothing to a command but its pipes, and needs only the standard library and system calls.

mod channel;
mod command;
mod confine;
mod egress;
mod seccomp;
mod serve;
mod spawn;
mod watch;

pub(crate) use confine::enforced_abi;
pub(crate) use serve::{Settings, control_group_namespace, kernel_release, serve, serve_inside};
