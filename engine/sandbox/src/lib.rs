//! Isolates: one contract for running a node's command, and the backends behind it.
//! Knows nothing of graphs, runs or nodes, and never falls back to a weaker backend than the one asked for.

mod attestation;
mod contract;
#[cfg(feature = "host")]
mod docker;
#[cfg(feature = "host")]
pub mod egress;
mod error;
mod guest;
#[cfg(feature = "host")]
mod host;
mod kernel;
mod launcher;
mod machine;
#[cfg(feature = "host")]
mod pool;
#[cfg(feature = "host")]
pub mod proxy;
pub mod wire;

pub use attestation::{
    Applied, Attestation, Enforcement, Enforcer, Isolation, MountAccess, MountNote, Network, ProcView,
    Runtime, WorkspaceOwner,
};
pub use contract::{
    Backend, Ended, Exec, HOME, HostIds, Image, Limits, NotStarted, Output, ReadOnlyMount, Spec, Status,
    Stream, Usage, WorkspaceMode, WorkspaceMount,
};
#[cfg(feature = "host")]
pub use docker::{
    BuildOrder, DockerSettings, ImageProgress, ImageWatch, LAYER_LABEL, PackageManager, RECIPE_LABEL,
};
pub use error::{BuildError, ExecError, StartError};
#[cfg(feature = "host")]
pub use host::{Launcher, ProbeReport, Sandbox, Verdict, probe_machine, probe_with, sweep_leftovers};
pub use launcher::{HIDDEN_ARGUMENT, launcher_main};
pub use machine::{Acceleration, MachineFacts, MachineSettings, Rootfs};
#[cfg(feature = "host")]
pub use pool::{Key, Pool, PoolSettings, Start};
pub use wire::Stage;
