//! Finds what a machine is made of, and says all that is missing at once.
//! It takes what was named or nothing: a missing kernel is never replaced by another.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::geteuid;

use super::{
    cache::{Cache, hex},
    image, initrd,
    qemu::Processor,
    settings::{Acceleration, MachineSettings, Rootfs},
};
use crate::kernel;

/// Where the distribution puts the emulator.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Where the distribution puts kernels.
const BOOT: &str = "/boot";

/// Where the distribution puts their modules.
const MODULES: &str = "/lib/modules";

/// The device that lets an emulator use the processor.
const KVM: &str = "/dev/kvm";

/// A machine before it is started.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) cache: Cache,
    pub(super) qemu: PathBuf,
    /// What the emulator calls itself.
    pub(super) emulator: String,
    pub(super) kernel: PathBuf,
    pub(super) kernel_digest: String,
    pub(super) initrd: PathBuf,
    pub(super) initrd_digest: String,
    pub(super) rootfs: PathBuf,
    pub(super) rootfs_digest: String,
    pub(super) root_type: &'static str,
    pub(super) processor: Processor,
    /// The group that may use the processor, for whom the emulator runs as.
    pub(super) kvm_group: Option<u32>,
}

impl Parts {
    /// Finds and makes all of it.
    pub(super) fn gather(settings: &MachineSettings) -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("machines are made for x86-64, and this host is none".to_owned());
        }
        let qemu = emulator(settings);
        let kernel = kernel_image(settings);
        let modules = modules(settings, kernel.as_deref().ok());
        let rootfs = rootfs(&settings.rootfs);
        let acceleration = acceleration(settings.acceleration);
        let missing: Vec<_> = [
            qemu.as_ref().err(),
            kernel.as_ref().err(),
            modules.as_ref().err(),
            rootfs.as_ref().err(),
            acceleration.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        let (qemu, emulator) = qemu?;
        let (kernel, modules, (acceleration, kvm_group)) = (kernel?, modules?, acceleration?);
        let cache = Cache::open(&settings.cache)
            .map_err(|error| format!("the cache `{}` cannot be used: {error}", settings.cache.display()))?;
        let rootfs = match rootfs? {
            Rootfs::Directory(directory) => image::of_directory(&cache, directory)?,
            Rootfs::Image(image) => image.clone(),
        };
        let root_type = image::file_system(&rootfs)?;
        let first = initrd::pack(&modules, root_type)?;
        let initrd_digest = hex(&<sha2::Sha256 as sha2::Digest>::digest(&first));
        let initrd = cache.keep(&format!("{initrd_digest}.initrd"), |draft| {
            fs::write(draft, &first).map_err(|error| format!("the first files cannot be written: {error}"))
        })?;
        Ok(Self {
            qemu,
            emulator,
            kernel_digest: cache.digest(&kernel)?,
            kernel,
            initrd,
            initrd_digest,
            rootfs_digest: cache.digest(&rootfs)?,
            rootfs,
            root_type,
            processor: match acceleration {
                Acceleration::Kvm => Processor::Real,
                Acceleration::Auto | Acceleration::Emulated => {
                    Processor::Software { counter_khz: kernel::counter_khz() }
                }
            },
            kvm_group,
            cache,
        })
    }
}

fn emulator(settings: &MachineSettings) -> Result<(PathBuf, String), String> {
    let program = settings.qemu.clone().unwrap_or_else(|| PathBuf::from(QEMU));
    let advice = "install `qemu-system-x86` or name another emulator";
    let output = Command::new(&program).arg("--version").env_clear().output().map_err(|error| {
        format!("the emulator `{}` cannot be started ({error}): {advice}", program.display())
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim();
    if output.status.success() && line.starts_with("QEMU") {
        Ok((program, line.chars().filter(|c| !c.is_control()).take(120).collect()))
    } else {
        Err(format!("`{}` does not say that it is QEMU: {advice}", program.display()))
    }
}

fn kernel_image(settings: &MachineSettings) -> Result<PathBuf, String> {
    let advice =
        "install `linux-image-cloud-amd64`, or unpack it anywhere and name its `vmlinuz` and modules";
    let Some(kernel) = settings.kernel.clone().or_else(|| newest(Path::new(BOOT))) else {
        return Err(format!("there is no kernel in `{BOOT}`: {advice}"));
    };
    match initrd::release_of(&kernel) {
        Ok(Some(_)) => Ok(kernel),
        Ok(None) => Err(format!("`{}` is no kernel for this processor: {advice}", kernel.display())),
        Err(error) => Err(format!("the kernel `{}` cannot be read ({error}): {advice}", kernel.display())),
    }
}

fn newest(boot: &Path) -> Option<PathBuf> {
    fs::read_dir(boot)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("vmlinuz-")))
        .max_by_key(|entry| entry.metadata().map(|meta| (meta.mtime(), meta.mtime_nsec())).ok())
        .map(|entry| entry.path())
}

fn modules(settings: &MachineSettings, kernel: Option<&Path>) -> Result<PathBuf, String> {
    let modules = match (&settings.modules, kernel) {
        (Some(modules), _) => modules.clone(),
        (None, Some(kernel)) => {
            let release = initrd::release_of(kernel).ok().flatten().unwrap_or_default();
            Path::new(MODULES).join(release)
        }
        (None, None) => return Err("the modules belong to the kernel that is missing".to_owned()),
    };
    if modules.join("kernel").is_dir() {
        Ok(modules)
    } else {
        Err(format!(
            "`{}` holds no modules: name the folder `lib/modules/<release>` of the kernel's package",
            modules.display()
        ))
    }
}

fn rootfs(rootfs: &Rootfs) -> Result<&Rootfs, String> {
    let advice =
        "name a directory with `usr`, `dev`, `proc` and `tmp`, or an ext4, squashfs or erofs image of one";
    match rootfs {
        Rootfs::Directory(directory) if directory == Path::new("/") => {
            Err(format!("a microvm needs an image: the whole host is none; {advice}"))
        }
        Rootfs::Directory(directory) => {
            match ["usr", "dev", "proc", "tmp"].iter().find(|name| !directory.join(name).is_dir()) {
                None => Ok(rootfs),
                Some(name) => Err(format!(
                    "a microvm needs an image: `{}` has no directory `{name}`; {advice}",
                    directory.display()
                )),
            }
        }
        Rootfs::Image(image) if image.is_file() => Ok(rootfs),
        Rootfs::Image(image) => {
            Err(format!("a microvm needs an image: there is no file `{}`; {advice}", image.display()))
        }
    }
}

/// Who will run the instructions, and the group needed for it.
fn acceleration(wanted: Acceleration) -> Result<(Acceleration, Option<u32>), String> {
    if wanted == Acceleration::Emulated {
        return Ok((Acceleration::Emulated, None));
    }
    match (kvm(), wanted) {
        (Kvm::Open, _) => Ok((Acceleration::Kvm, None)),
        (Kvm::ToGroup(group), _) => Ok((Acceleration::Kvm, Some(group))),
        (Kvm::Closed, Acceleration::Auto) => Ok((Acceleration::Emulated, None)),
        (Kvm::Closed, _) => Err(format!(
            "`{KVM}` cannot be opened by whom the emulator runs as: load the module `kvm`, and give the device to \
             a group (`chgrp kvm {KVM} && chmod 660 {KVM}`)"
        )),
    }
}

/// Who may use the processor for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kvm {
    /// Whom the emulator runs as.
    Open,
    /// The same, in this group.
    ToGroup(u32),
    /// Others, or nobody.
    Closed,
}

/// Root's own rights do not count: the emulator will not be root.
fn kvm() -> Kvm {
    let Ok(meta) = fs::metadata(KVM) else { return Kvm::Closed };
    if !meta.file_type().is_char_device() {
        return Kvm::Closed;
    }
    if !geteuid().is_root() {
        let opened = OpenOptions::new().read(true).write(true).open(KVM);
        return if opened.is_ok() { Kvm::Open } else { Kvm::Closed };
    }
    if meta.mode() & 0o006 == 0o006 {
        Kvm::Open
    } else if meta.mode() & 0o060 == 0o060 && meta.gid() != 0 {
        Kvm::ToGroup(meta.gid())
    } else {
        Kvm::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let settings = MachineSettings {
            qemu: Some("/no/such/qemu".into()),
            kernel: Some("/no/such/vmlinuz".into()),
            modules: Some("/no/such/modules".into()),
            ..MachineSettings::new(Rootfs::Image("/no/such/image".into()), "/no/such/cache")
        };
        let text = Parts::gather(&settings).unwrap_err();
        for part in ["qemu", "vmlinuz", "modules", "image"] {
            assert!(text.contains(&format!("`/no/such/{part}`")), "{text}");
        }
        for package in ["qemu-system-x86", "linux-image-cloud-amd64"] {
            assert!(text.contains(package), "{text}");
        }
    }

    #[test]
    fn the_whole_host_is_no_image() {
        assert!(rootfs(&Rootfs::Directory("/".into())).unwrap_err().contains("a microvm needs an image"));
    }

    #[test]
    fn a_program_that_is_not_the_emulator_is_refused() {
        let settings = |qemu: &str| MachineSettings {
            qemu: Some(qemu.into()),
            ..MachineSettings::new(Rootfs::Image("/".into()), "/")
        };
        assert!(emulator(&settings("/bin/true")).unwrap_err().contains("QEMU"));
    }
}
