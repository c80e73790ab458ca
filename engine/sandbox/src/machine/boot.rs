//! What the guest of a machine is told first, and the names both sides know its parts by.
//! Nothing in it is secret: whoever runs commands in the machine could read its memory in the worst case.

use serde::{Deserialize, Serialize};

use crate::{attestation::Attestation, contract::Spec};

/// Name of the port the conversation goes through.
pub(super) const PORT: &str = "blueprint";

/// Name of the disk with the base system.
pub(super) const ROOT_DISK: &str = "root";

/// Name of the disk with what goes into the workspace.
pub(super) const IMPORT_DISK: &str = "import";

/// Name of the disk with what comes out of the workspace.
pub(super) const EXPORT_DISK: &str = "export";

/// Most files and directories that can be shown read-only: each is a disk, and a machine has places for few.
#[cfg(feature = "host")]
pub(super) const MAX_SHOWN: usize = 8;

/// What a file that is shown alone is called on its disk.
#[cfg(feature = "host")]
pub(super) const ONLY_FILE: &str = "file";

/// Name of the disk with one more read-only file or directory.
pub(super) fn shown_disk(number: usize) -> String {
    format!("shown{number}")
}

/// The word of the kernel's command line that makes the first process this machine's guest.
pub(crate) const ENTRY: &str = "machine";

/// The first frame a guest in a machine reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MachineBoot {
    /// What commands may see and use. In place of its paths on the host it has those on the disks, empty for all of a
    /// disk.
    pub(super) spec: Spec,
    /// What the host knows about the machine; the guest adds what only it can know.
    pub(super) attestation: Attestation,
    /// Type of the base system's file system.
    pub(super) root_type: String,
    /// Largest workspace, in bytes.
    pub(super) workspace_bytes: u64,
}
