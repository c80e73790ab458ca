//! Shows a folder once more at another place of this machine, with its owner's files as the sandboxed user's.
//! For sandboxes that another program builds and that can only be given a path. Files keep their owner on disk.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    process::ExitCode,
};

use nix::{
    fcntl::{self, OFlag},
    sys::stat::Mode,
};

use crate::{
    contract::HostIds,
    kernel::{self, NO_DEVICES, NO_SUID, Reach},
    launcher::{
        entry,
        fault::{During, fault},
        identity, sources,
    },
    wire::{Failure, Stage, Translation},
};

/// Root, which helpers of a container engine are on this machine.
const ROOT: HostIds = HostIds { uid: 0, gid: 0 };

pub(super) fn run() -> Result<ExitCode, Failure> {
    let unread = "what to show cannot be read";
    let frame = entry::read_frame(&mut entry::input(unread)?).during(Stage::Boot, unread)?;
    let Translation { folder, target, ids, keeps_root } = serde_json::from_slice(&frame.payload)
        .map_err(|error| fault(Stage::Boot, format!("what to show is malformed: {error}")))?;
    let what = format!("`{}` cannot be shown to the sandboxed user", folder.display());
    let meta = fs::metadata(&folder).during(Stage::Source, &what)?;
    let disk = HostIds { uid: meta.uid(), gid: meta.gid() };
    let mut pairs = vec![(disk, ids)];
    if keeps_root && disk.uid == ROOT.uid && disk.gid == ROOT.gid {
        // What root makes through the mount is stored as the sandboxed user's number, until it is given away.
        pairs.push((ids, ROOT));
    }
    let translation = identity::translation(&pairs)?;
    let tree = sources::open_plain(&folder)?;
    kernel::restrict_mount(tree.as_fd(), 0, Some(translation.as_fd()), Reach::One)
        .during(Stage::WorkspaceOwner, &what)?;
    kernel::restrict_mount(tree.as_fd(), NO_SUID | NO_DEVICES, None, Reach::All)
        .during(Stage::Mounts, &what)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let target = fcntl::open(&target, flags, Mode::empty()).during(Stage::Mounts, &what)?;
    kernel::attach(tree.as_fd(), target.as_fd()).during(Stage::Mounts, &what)?;
    Ok(ExitCode::SUCCESS)
}
