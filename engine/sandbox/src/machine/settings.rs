//! What a virtual machine is made of, as told by the caller, and what it was really made of.
//! Plain data: nothing here looks at the host, and nothing is chosen in place of something that was named.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Largest workspace a machine holds unless it is told otherwise, in bytes.
const WORKSPACE_BYTES: u64 = 1 << 30;

/// The parts of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSettings {
    /// The emulator; `None` is the distribution's `qemu-system-x86_64`.
    #[serde(default)]
    pub qemu: Option<PathBuf>,
    /// The kernel's image; `None` is the newest one in `/boot`.
    #[serde(default)]
    pub kernel: Option<PathBuf>,
    /// The folder of that kernel's modules; `None` is the one in `/lib/modules` that belongs to the kernel.
    #[serde(default)]
    pub modules: Option<PathBuf>,
    /// What commands find beside the workspace. There is no default: the host's own system is too large to be
    /// copied into every machine, and showing less of it than was meant would be a guess.
    pub rootfs: Rootfs,
    /// A private folder for what takes long to make: images, and the first files of the machine.
    pub cache: PathBuf,
    /// Who runs the machine's instructions.
    #[serde(default)]
    pub acceleration: Acceleration,
    /// Seconds a machine may take to become ready. One that does not is started once more.
    #[serde(default = "boot_seconds")]
    pub boot_seconds: u64,
    /// Largest workspace, in bytes. It lies in the machine's memory, on top of what commands may use.
    #[serde(default = "workspace_bytes")]
    pub workspace_bytes: u64,
}

/// Time a machine gets to become ready unless it is told otherwise, in seconds. Software needs two or three of them
/// on an idle host.
const BOOT_SECONDS: u64 = 20;

fn boot_seconds() -> u64 {
    BOOT_SECONDS
}

fn workspace_bytes() -> u64 {
    WORKSPACE_BYTES
}

impl MachineSettings {
    /// The distribution's emulator and kernel, with this root file system and this cache.
    pub fn new(rootfs: Rootfs, cache: impl Into<PathBuf>) -> Self {
        Self {
            qemu: None,
            kernel: None,
            modules: None,
            rootfs,
            cache: cache.into(),
            acceleration: Acceleration::default(),
            boot_seconds: BOOT_SECONDS,
            workspace_bytes: WORKSPACE_BYTES,
        }
    }
}

/// The file system below `/usr`, `/bin`, `/lib*` and parts of `/etc`. It needs the empty directories `/dev`,
/// `/proc` and `/tmp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// A directory of the host, packed into an image once and again when it changes.
    Directory(PathBuf),
    /// An image: ext4, squashfs or erofs, without a partition table.
    Image(PathBuf),
}

/// Who runs a machine's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceleration {
    /// The processor where `/dev/kvm` can be opened by whom the emulator runs as, else software. The attestation
    /// says which.
    #[default]
    Auto,
    /// The processor; without `/dev/kvm` nothing is started.
    Kvm,
    /// Software, everywhere and slowly.
    Emulated,
}

/// What a started machine is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// What the emulator calls itself.
    pub emulator: String,
    /// Who runs its instructions; never [`Acceleration::Auto`].
    pub acceleration: Acceleration,
    /// SHA-256 of the kernel's image, in hexadecimal.
    pub kernel_digest: String,
    /// SHA-256 of the first files: the guest and the modules, in hexadecimal.
    pub initrd_digest: String,
    /// SHA-256 of the root file system's image, in hexadecimal.
    pub rootfs_digest: String,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// Its processors.
    pub processors: u32,
}
