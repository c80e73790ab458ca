//! The first files of a machine: our guest, and the modules a kernel needs to see its devices.
//! Made without any program of the host's but a decompressor, and never with a file the caller did not name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The static guest that the build made.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/blueprint-guest"));

/// What every machine's kernel must be able to drive: the bus, disks and the port.
const DRIVERS: [&str; 3] = ["virtio_mmio", "virtio_blk", "virtio_console"];

/// Packs the first files. `file_system` is the one the base system is on.
pub(super) fn pack(modules: &Path, file_system: &str) -> Result<Vec<u8>, String> {
    let folder = Modules::read(modules)?;
    let mut ordered = Vec::new();
    for name in DRIVERS {
        folder.require(name, &mut ordered)?;
    }
    if file_system == "ext4" {
        // Most kernels have it built in, and some need its helpers loaded.
        drop(folder.require(file_system, &mut ordered));
    } else {
        folder.require(file_system, &mut ordered)?;
    }
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "image", "modules"] {
        archive.add(directory, 0o040_755, (0, 0), &[]);
    }
    archive.add("dev/console", 0o020_600, (5, 1), &[]);
    archive.add("dev/null", 0o020_666, (1, 3), &[]);
    archive.add("init", 0o100_755, (0, 0), GUEST);
    for (number, path) in ordered.iter().enumerate() {
        let content = content(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("module");
        archive.add(&format!("modules/{number:02}-{name}"), 0o100_644, (0, 0), &content);
    }
    Ok(archive.finish())
}

/// An archive in the form the kernel unpacks.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").into_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

/// The modules of one kernel.
struct Modules {
    root: PathBuf,
    files: BTreeMap<String, PathBuf>,
    built_in: String,
}

impl Modules {
    fn read(root: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        let mut open = vec![root.join("kernel")];
        while let Some(directory) = open.pop() {
            let entries = fs::read_dir(&directory)
                .map_err(|error| format!("`{}` cannot be read: {error}", directory.display()))?;
            for entry in entries.flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if let Some((name, _)) =
                    entry.file_name().to_str().and_then(|name| name.split_once(".ko"))
                {
                    files.insert(name.replace('-', "_"), path);
                }
            }
        }
        let built_in = fs::read_to_string(root.join("modules.builtin")).unwrap_or_default().replace('-', "_");
        Ok(Self { root: root.to_owned(), files, built_in })
    }

    /// Adds a module behind those it needs.
    fn require(&self, name: &str, ordered: &mut Vec<PathBuf>) -> Result<(), String> {
        let Some(path) = self.files.get(name) else {
            return if self.built_in.contains(&format!("/{name}.ko")) {
                Ok(())
            } else {
                Err(format!("the kernel of `{}` has no `{name}`", self.root.display()))
            };
        };
        if ordered.contains(path) {
            return Ok(());
        }
        for needed in needs(&content(path)?) {
            self.require(&needed, ordered)?;
        }
        ordered.push(path.clone());
        Ok(())
    }
}

/// The modules that a module says it needs.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A module as the kernel takes it.
fn content(path: &Path) -> Result<Vec<u8>, String> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).map_err(|error| failed(path, &error)),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(path)
        .output()
        .map_err(|error| format!("`{program}` could not be started: {error}; install it"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(path, &String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("`{}` cannot be read: {why}", path.display())
}

/// Whether a file is one of the kernel's, which needs its modules from elsewhere.
pub(super) fn release_of(kernel: &Path) -> io::Result<Option<String>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(kernel)?;
    let mut head = [0; 0x250];
    file.read_exact(&mut head)?;
    let [.., low, high] = *head.first_chunk::<0x210>().unwrap_or(&[0; 0x210]);
    let at = u64::from(u16::from_le_bytes([low, high])) + 0x200;
    if head.get(0x202..0x206) != Some(b"HdrS") || at == 0x200 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut text = Vec::new();
    file.take(256).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text.split([' ', '\0']).next().filter(|release| !release.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_made_of_aligned_entries() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, (0, 0), b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"0707010000000100008"));
        assert_eq!(bytes.get(110..112), Some(b"a\0".as_slice()));
        assert_eq!(bytes.get(112..117), Some(b"12345".as_slice()));
        assert_eq!(bytes.get(120..126), Some(b"070701".as_slice()));
    }

    #[test]
    fn a_modules_needs_are_found() {
        assert_eq!(needs(b"x\0alias=y\0depends=virtio-ring,virtio\0name=z\0"), ["virtio_ring", "virtio"]);
        assert!(needs(b"x\0depends=\0name=z\0").is_empty());
        assert!(needs(b"nothing").is_empty());
    }

    #[test]
    fn a_module_comes_behind_what_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("kernel");
        fs::create_dir(&kernel).unwrap();
        fs::write(kernel.join("a-b.ko"), b"\0depends=c,d\0").unwrap();
        fs::write(kernel.join("c.ko"), b"\0depends=d\0").unwrap();
        fs::write(dir.path().join("modules.builtin"), "kernel/d.ko\n").unwrap();
        let modules = Modules::read(dir.path()).unwrap();
        let mut ordered = Vec::new();
        modules.require("a_b", &mut ordered).unwrap();
        assert_eq!(ordered, [kernel.join("c.ko"), kernel.join("a-b.ko")]);
        assert!(modules.require("e", &mut ordered).unwrap_err().contains("`e`"));
    }
}
