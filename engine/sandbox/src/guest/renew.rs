//! Empties the folders that are private to a sandbox, so that another command finds them as the first one did.
//! Removes what is in them and never what a link leads to; what cannot be removed makes the sandbox unfit.

use std::{fs, io, path::Path};

use crate::{
    contract::HOME,
    launcher::During,
    wire::{Failure, Stage},
};

/// Empties them.
pub(super) fn private_folders() -> Result<(), Failure> {
    for folder in ["/tmp", HOME, "/dev/shm"] {
        empty(Path::new(folder)).during(Stage::Guest, format_args!("`{folder}` cannot be emptied"))?;
    }
    Ok(())
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
