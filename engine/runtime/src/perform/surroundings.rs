//! What every command of a node has around it, whoever wants it run: its sandbox, its environment, its place in the
//! workspace. Never puts a value into the text of a command.

use std::path::{Path, PathBuf};

use blueprint_core::graph::Node;
use blueprint_core::run::{Failure, FailureClass};
use blueprint_sandbox::{Backend, Exec, HOME, Image, Limits, Sandbox, Spec, StartError, WorkspaceMount};

use super::{Job, infra};
use crate::shared::Shared;

/// Where commands see the workspace: at the project's own path, so that paths in caches and messages are the
/// same inside and outside, unless the sandbox has something of its own there.
pub(super) fn inside(shared: &Shared, backend: Backend, checkout: &Path) -> PathBuf {
    if backend == Backend::None {
        return checkout.to_owned();
    }
    let own = [
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/sys", "/dev", "/tmp", "/run",
        "/var", "/boot", HOME,
    ];
    let depth =
        shared.trees.as_ref().map_or(0, |trees| trees.repository().project_prefix().components().count());
    let root = shared.project.ancestors().nth(depth).unwrap_or(&shared.project);
    let taken = own.iter().any(|own| root.starts_with(own)) || Path::new(HOME).starts_with(root);
    if taken || root.parent().is_none() { PathBuf::from("/workspace") } else { root.to_path_buf() }
}

/// The sandbox of a node.
pub(super) fn spec(
    shared: &Shared,
    node: &Node,
    backend: Backend,
    workspace: Option<WorkspaceMount>,
    limits: Limits,
) -> Result<Spec, Failure> {
    let image = shared.settings.isolation.image(node)?;
    // Without isolation nothing is mounted: the whole machine is there, under its own names. An image brings its own.
    // So does the system of a virtual machine.
    let own_system = matches!(backend, Backend::None | Backend::Microvm) || image != Image::Host;
    let read_only = if own_system { Vec::new() } else { shared.settings.toolchains.read_only.clone() };
    let machine = shared.settings.machine.clone().filter(|_| backend == Backend::Microvm);
    Ok(Spec { workspace, read_only, limits, image, machine, ..Spec::default() })
}

/// Starts a sandbox for a node.
pub(super) async fn start(shared: &Shared, backend: Backend, spec: &Spec) -> Result<Sandbox, StartError> {
    Sandbox::start_with(&shared.settings.launcher, backend, spec).await
}

/// A command with what all commands of a node have in their environment.
pub(super) fn exec(shared: &Shared, job: &Job, backend: Backend, argv: Vec<String>, cwd: PathBuf) -> Exec {
    let home = if backend == Backend::None { Path::new("/nonexistent") } else { Path::new(HOME) };
    let mut exec = Exec::new(argv, cwd, home);
    let tools = &shared.settings.toolchains;
    let has_tools = job.node(shared).image.is_none() && backend != Backend::Microvm;
    if has_tools && !tools.path.is_empty() {
        let base = exec.env.get("PATH").cloned().unwrap_or_default();
        let path: Vec<String> =
            tools.path.iter().map(|path| path.display().to_string()).chain([base]).collect();
        exec.env.insert("PATH".to_owned(), path.join(":"));
    }
    if has_tools {
        exec.env.extend(tools.env.clone());
    }
    if backend == Backend::None {
        exec.env.extend(tools.bare_env.clone());
    }
    let known = [
        ("BLUEPRINT_RUN", shared.run.clone()),
        ("BLUEPRINT_NODE", job.path.to_string()),
        ("BLUEPRINT_ATTEMPT", job.attempt.to_string()),
        ("BLUEPRINT_ROUND", job.round.to_string()),
        ("CI", "true".to_owned()),
    ];
    exec.env.extend(known.into_iter().map(|(name, value)| (name.to_owned(), value)));
    exec
}

/// Keeps what a sandbox really is, and gives the digest it is kept under.
pub(super) fn attest(shared: &Shared, sandbox: &Sandbox) -> Result<String, Failure> {
    let attestation = serde_json::to_vec(sandbox.attestation())
        .map_err(|error| infra("the attestation of the sandbox is not JSON", &error))?;
    shared
        .attested
        .digest(attestation, |text| shared.store.blobs().put(text).map(|digest| digest.to_string()))
        .map_err(|error| infra("the attestation of the sandbox could not be kept", &error))
}

/// The failure of a sandbox, as opposed to what ran in it.
pub(super) fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(FailureClass::Sandbox, format!("the sandbox could not do its job: {}", crate::chain(error)))
}
