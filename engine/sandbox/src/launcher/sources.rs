//! Opens everything of the host that the sandbox will see, as detached read-only copies of its mounts.
//! Root does it before giving up its identity, everybody else from inside their own mount namespace.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    contract::{HostIds, Spec, WorkspaceMode},
    kernel::{self, NO_DEVICES, NO_SUID, READ_ONLY, Reach},
    launcher::{fault::During, identity},
    wire::{Failure, Stage},
};

/// Directories of the base system. Where the host has a symbolic link, so has the sandbox.
pub(crate) const SYSTEM: [&str; 8] =
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/alternatives"];

/// The part of `/etc` that programs need to run. Accounts and resolvers are written by us instead.
pub(crate) const ETC: [&str; 17] = [
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "pki",
    "protocols",
    "services",
    "ssl",
];

/// Device nodes that cannot reach anything.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What a place inside is made of.
#[derive(Debug)]
pub(super) enum Content {
    /// A mount of a directory.
    Directory(OwnedFd),
    /// A mount of a single file or device.
    File(OwnedFd),
    /// A symbolic link.
    Link(PathBuf),
}

/// Something of the host and where it goes.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) inside: PathBuf,
    pub(super) content: Content,
}

/// Everything of the host that the sandbox will see.
#[derive(Debug)]
pub(super) struct Sources {
    /// Base system, parts of `/etc` and devices.
    pub(super) base: Vec<Source>,
    /// What the caller asked for.
    pub(super) read_only: Vec<Source>,
    /// The workspace.
    pub(super) workspace: Option<OwnedFd>,
}

impl Sources {
    /// Opens all of it. With `owner` the workspace's files appear as that user's.
    pub(super) fn open(spec: &Spec, owner: Option<HostIds>) -> Result<Self, Failure> {
        let mut base = Vec::new();
        for name in
            SYSTEM.iter().copied().map(PathBuf::from).chain(ETC.iter().map(|n| Path::new("etc").join(n)))
        {
            let path = Path::new("/").join(&name);
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let content = if meta.is_symlink() && name.components().count() == 1 {
                Content::Link(fs::read_link(&path).during(Stage::Source, path.display())?)
            } else {
                // A dangling link in `/etc` is as good as absent.
                let Ok(meta) = fs::metadata(&path) else { continue };
                tree(&path, &meta, READ_ONLY | NO_SUID | NO_DEVICES)?
            };
            base.push(Source { inside: path, content });
        }
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            let fd = open(&path, NO_SUID, None)?;
            base.push(Source { inside: path, content: Content::File(fd) });
        }
        let read_only = spec
            .read_only
            .iter()
            .map(|mount| Ok(Source { inside: mount.inside.clone(), content: read_only(&mount.host)? }))
            .collect::<Result<_, Failure>>()?;
        let workspace =
            spec.workspace.as_ref().map(|mount| workspace(&mount.host, mount.mode, owner)).transpose()?;
        Ok(Self { base, read_only, workspace })
    }
}

/// Opens something the caller wants to show.
pub(super) fn read_only(host: &Path) -> Result<Content, Failure> {
    let meta = fs::metadata(host).during(Stage::Source, quoted(host))?;
    tree(host, &meta, READ_ONLY | NO_SUID | NO_DEVICES)
}

/// Opens the workspace alone.
pub(super) fn workspace(
    host: &Path,
    mode: WorkspaceMode,
    owner: Option<HostIds>,
) -> Result<OwnedFd, Failure> {
    let meta = fs::metadata(host).during(Stage::Source, quoted(host))?;
    if !meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR)).during(Stage::Source, quoted(host));
    }
    let attributes = match mode {
        WorkspaceMode::ReadWrite | WorkspaceMode::Scratch => NO_SUID | NO_DEVICES,
        WorkspaceMode::ReadOnly => READ_ONLY | NO_SUID | NO_DEVICES,
    };
    let disk = HostIds { uid: meta.uid(), gid: meta.gid() };
    let translation = match owner {
        Some(owner) if owner != disk => Some(identity::owner_translation(disk, owner)?),
        Some(_) | None => None,
    };
    open(host, attributes, translation.as_ref())
}

/// A detached copy of the mount that a folder is on, unchanged.
pub(super) fn open_plain(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, 0, None)
}

fn tree(path: &Path, meta: &fs::Metadata, attributes: u64) -> Result<Content, Failure> {
    let fd = open(path, attributes, None)?;
    Ok(if meta.is_dir() { Content::Directory(fd) } else { Content::File(fd) })
}

fn open(path: &Path, attributes: u64, translation: Option<&OwnedFd>) -> Result<OwnedFd, Failure> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(io::Error::other)
        .during(Stage::Source, quoted(path))?;
    let fd = kernel::open_tree(&name).during(Stage::Source, quoted(path))?;
    if let Some(translation) = translation {
        let what = format!("the owners of `{}` cannot be translated", path.display());
        kernel::restrict_mount(fd.as_fd(), 0, Some(translation.as_fd()), Reach::One)
            .during(Stage::WorkspaceOwner, what)?;
    }
    kernel::restrict_mount(fd.as_fd(), attributes, None, Reach::All).during(Stage::Source, quoted(path))?;
    Ok(fd)
}

fn quoted(path: &Path) -> String {
    format!("`{}` cannot be mounted", path.display())
}
