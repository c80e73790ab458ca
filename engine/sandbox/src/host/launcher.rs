//! Which executable becomes the launcher.
//! It must be one whose `main` calls `launcher_main` before anything else.

use std::path::{Path, PathBuf};

/// The program started with the hidden argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// The running program itself.
    pub fn this_program() -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }

    /// Another program, such as the guest binary of this crate.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The same program under a name that still holds in another process.
    pub(super) fn resolved(&self) -> std::io::Result<PathBuf> {
        std::fs::canonicalize(&self.program)
    }
}

impl Default for Launcher {
    fn default() -> Self {
        Self::this_program()
    }
}
