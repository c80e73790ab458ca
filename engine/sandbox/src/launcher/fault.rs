//! Turns failures of single steps into the one report the host gets.
//! A failed step always ends the set-up; nothing here may carry on without it.

use std::{fmt::Display, io};

use nix::errno::Errno;

use crate::wire::{Failure, Stage};

/// Names the step a result belongs to.
pub(crate) trait During<T> {
    /// The value, or a report that says which step failed on what.
    fn during(self, stage: Stage, what: impl Display) -> Result<T, Failure>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, stage: Stage, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Failure { stage, detail: what.to_string(), errno: Some(errno) },
            None => Failure { stage, detail: format!("{what}: {error}"), errno: None },
        })
    }
}

impl<T> During<T> for nix::Result<T> {
    fn during(self, stage: Stage, what: impl Display) -> Result<T, Failure> {
        self.map_err(|errno: Errno| Failure { stage, detail: what.to_string(), errno: Some(errno as i32) })
    }
}

/// A failure that the kernel gave no reason for.
pub(crate) fn fault(stage: Stage, what: impl Display) -> Failure {
    Failure { stage, detail: what.to_string(), errno: None }
}
