//! Which user and group sandboxed commands are, inside and on the host.
//! A sandbox must never keep the host's user 0: with it, kernel files such as `core_pattern` are writable.

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
};

use nix::{
    sys::{signal, signal::Signal, wait},
    unistd::{self, Gid, Pid, Uid},
};

use crate::{
    contract::HostIds,
    kernel::{self, Side},
    launcher::fault::{During, fault},
    wire::{Failure, Stage},
};

/// The user and group id commands see themselves as. Not 0, so that programs do not take themselves for root.
pub(crate) const INSIDE_ID: u32 = 1000;

/// Whether the caller must be given another identity, and the identity.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    /// The caller is root: commands get this dedicated identity.
    Root(HostIds),
    /// The caller is not root: commands keep its identity.
    Ordinary(HostIds),
}

impl Caller {
    pub(super) fn determine(dedicated: HostIds) -> Result<Self, Failure> {
        if Uid::effective().is_root() || Uid::current().is_root() {
            if dedicated.uid == 0 || dedicated.gid == 0 {
                return Err(fault(Stage::Identity, "the dedicated user or group of the sandbox is 0"));
            }
            return Ok(Self::Root(dedicated));
        }
        Ok(Self::Ordinary(HostIds { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }))
    }

    pub(super) fn host_ids(self) -> HostIds {
        match self {
            Self::Root(ids) | Self::Ordinary(ids) => ids,
        }
    }
}

/// Gives the user namespace of `pid` its only user and group.
pub(super) fn write_maps(pid: Pid, inside: HostIds, host: HostIds) -> Result<(), Failure> {
    write_pairs(pid, &[(inside, host)])
}

/// Gives the user namespace of `pid` its users and groups, as pairs of inside and host.
fn write_pairs(pid: Pid, pairs: &[(HostIds, HostIds)]) -> Result<(), Failure> {
    let lines = |one: fn(&HostIds) -> u32| {
        let lines: Vec<String> =
            pairs.iter().map(|(inside, host)| format!("{} {} 1", one(inside), one(host))).collect();
        lines.join("\n")
    };
    let write = |file: &str, content: String| {
        fs::write(format!("/proc/{pid}/{file}"), content)
            .during(Stage::Identity, format_args!("`{file}` of the new user namespace cannot be written"))
    };
    write("setgroups", "deny".to_owned())?;
    write("gid_map", lines(|ids| ids.gid))?;
    write("uid_map", lines(|ids| ids.uid))
}

/// A user namespace whose map says: what belongs to `disk` on disk belongs to `host` through this mount.
/// It lives as long as the returned descriptor and the mounts made with it; no process stays in it.
pub(super) fn owner_translation(disk: HostIds, host: HostIds) -> Result<OwnedFd, Failure> {
    translation(&[(disk, host)])
}

/// The same for pairs of owners on disk and through the mount.
pub(super) fn translation(pairs: &[(HostIds, HostIds)]) -> Result<OwnedFd, Failure> {
    let what = "a user namespace for the owners of the workspace cannot be made";
    let (read, write) = unistd::pipe().during(Stage::WorkspaceOwner, what)?;
    match kernel::clone_into(libc::CLONE_NEWUSER).during(Stage::WorkspaceOwner, what)? {
        Side::Child => {
            // Stays until the parent has opened the namespace and kills us; ends by itself if the parent dies.
            drop(write);
            let mut byte = [0];
            let ended = unistd::read(&read, &mut byte);
            kernel::exit_now(i32::from(ended.is_err()));
        }
        Side::Parent(pid) => {
            drop(read);
            let opened = write_pairs(pid, pairs).and_then(|()| {
                File::open(format!("/proc/{pid}/ns/user")).during(Stage::WorkspaceOwner, what)
            });
            drop(write);
            signal::kill(pid, Signal::SIGKILL).during(Stage::WorkspaceOwner, what)?;
            wait::waitpid(pid, None).during(Stage::WorkspaceOwner, what)?;
            Ok(opened?.into())
        }
    }
}

/// Becomes the only user and group of this user namespace, keeping the capabilities over it.
///
/// The kernel takes capabilities away when a process leaves the namespace's user 0; this namespace has no
/// user 0, so they stay until [`kernel::keep_capabilities`].
pub(super) fn assume() -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(INSIDE_ID), Gid::from_raw(INSIDE_ID));
    unistd::setresgid(gid, gid, gid).during(Stage::Identity, "the sandbox's group cannot be assumed")?;
    unistd::setresuid(uid, uid, uid).during(Stage::Identity, "the sandbox's user cannot be assumed")
}
