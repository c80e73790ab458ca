//! What of this machine a container sees: its base system, what the caller shows, the guest and the workspace.
//! Everything is a bind mount that nothing propagates through, and read-only unless it is the workspace.

use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};

use crate::{
    contract::{Spec, WorkspaceMode},
    docker::{base, order::GUEST},
    error::StartError,
    guest::CANARY,
};

/// The mounts of a container, outer places first. `workspace` is where the workspace is on this machine, which may be
/// a translated view of it.
pub(super) fn all(
    spec: &Spec,
    shows_host: bool,
    guest: &Path,
    canary: &Path,
    workspace: Option<&Path>,
) -> Result<Vec<Mount>, StartError> {
    let mut mounts = Vec::new();
    if shows_host {
        for folder in base::folders() {
            mounts.push(bind(&folder, &folder, Access::Read)?);
        }
    }
    for mount in &spec.read_only {
        mounts.push(bind(&mount.host, &mount.inside, Access::Read)?);
    }
    mounts.push(bind(guest, Path::new(GUEST), Access::Read)?);
    mounts.push(bind(canary, Path::new(CANARY), Access::Read)?);
    if let (Some(mount), Some(host)) = (&spec.workspace, workspace) {
        let access = if mount.mode == WorkspaceMode::ReadOnly { Access::Read } else { Access::Write };
        mounts.push(bind(host, &mount.inside, access)?);
    }
    mounts.sort_by_key(|mount| {
        mount.target.as_deref().map_or(0, |target| Path::new(target).components().count())
    });
    Ok(mounts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn bind(host: &Path, inside: &Path, access: Access) -> Result<Mount, StartError> {
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&resolved(host)?)?),
        target: Some(text(inside)?),
        read_only: Some(access == Access::Read),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            // What is mounted below would not be read-only on older engines.
            non_recursive: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// Where a path really leads, so that the engine, which may look later, sees the same.
fn resolved(path: &Path) -> Result<PathBuf, StartError> {
    path.canonicalize().map_err(|source| StartError::Source { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, StartError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        StartError::BadSpec(format!("`{}` is not text, which the engine needs", path.display()))
    })
}
