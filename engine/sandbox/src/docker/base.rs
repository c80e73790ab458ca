//! The image behind the base system of this machine: an empty root with places to mount the host's folders on.
//! Holds nothing of the host but names of folders and targets of links.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use crate::{
    contract::{HOME, HostIds},
    launcher::{ETC, SYSTEM, etc_files},
};

/// Name of the image in the engine; its tag is the digest of its content.
const NAME: &str = "blueprint-base";

/// A root file system as an archive.
pub(super) struct Base {
    /// Name of the image, made of the archive's own digest.
    pub(super) name: String,
    /// The archive.
    pub(super) archive: Vec<u8>,
}

/// The root for this machine's own base system. The same machine always gives the same archive.
pub(super) fn root(hostname: &str, ids: HostIds) -> io::Result<Base> {
    let mut archive = Builder::new(Vec::new());
    for name in
        ["dev", "etc", "home", HOME.trim_start_matches('/'), "proc", "run", "sys", "tmp", "usr", "var"]
    {
        entry(&mut archive, name, EntryType::Directory, None, &[])?;
    }
    entry(&mut archive, "var/tmp", EntryType::Symlink, Some(Path::new("/tmp")), &[])?;
    for (name, target) in links()? {
        entry(&mut archive, name, EntryType::Symlink, Some(&target), &[])?;
    }
    for (name, content) in etc_files(hostname, ids) {
        entry(&mut archive, &format!("etc/{name}"), EntryType::Regular, None, content.as_bytes())?;
    }
    let archive = archive.into_inner()?;
    let digest = blake3::hash(&archive).to_hex();
    let tag = digest.get(..16).unwrap_or_default();
    Ok(Base { name: format!("{NAME}:{tag}"), archive })
}

/// The folders of the host's base system to mount, under their own names.
pub(super) fn folders() -> Vec<PathBuf> {
    let system = SYSTEM.iter().map(PathBuf::from);
    let etc = ETC.iter().map(|name| Path::new("etc").join(name));
    system
        .chain(etc)
        .map(|name| Path::new("/").join(name))
        // A link at the top is part of the image; one in `/etc` is followed, and nothing if it dangles.
        .filter(|path| {
            let top = path.components().count() == 2;
            path.exists() && !(top && path.is_symlink())
        })
        .collect()
}

fn links() -> io::Result<Vec<(&'static str, PathBuf)>> {
    SYSTEM
        .iter()
        .filter(|name| !name.contains('/'))
        .map(|name| (*name, Path::new("/").join(name)))
        .filter(|(_, path)| path.is_symlink())
        .map(|(name, path)| Ok((name, fs::read_link(path)?)))
        .collect()
}

fn entry(
    archive: &mut Builder<Vec<u8>>,
    name: &str,
    kind: EntryType,
    target: Option<&Path>,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(match (kind, name) {
        // The engine gives a private file system the mode of the folder it covers.
        (_, "tmp") => 0o1777,
        (EntryType::Directory, _) => 0o755,
        _ => 0o644,
    });
    header.set_size(content.len() as u64);
    if let Some(target) = target {
        return archive.append_link(&mut header, name, target);
    }
    archive.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_gives_the_same_image() {
        let of = |hostname| root(hostname, HostIds::default()).unwrap();
        let (one, two) = (of("sandbox"), of("sandbox"));
        assert_eq!((&one.name, one.archive), (&two.name, two.archive));
        assert_ne!(one.name, of("other").name);
    }

    #[test]
    fn the_folders_are_the_base_system_alone() {
        let folders = folders();
        assert!(folders.contains(&PathBuf::from("/usr")));
        assert!(folders.iter().all(|path| path.starts_with("/etc/") || path.components().count() == 2));
        assert!(!folders.iter().any(|path| path.ends_with("shadow") || path.ends_with("passwd")));
    }
}
