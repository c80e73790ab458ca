//! Errors as people meet them: what happened, why, what to do, and the exit code. The only place that maps
//! errors to exit codes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blueprint_runtime::store::Fault;

use crate::terminal;

/// The exit codes, as documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Succeeded,
    Failed,
    Usage,
    Environment,
    Rejected,
    Waiting,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            Exit::Rejected => 4,
            Exit::Waiting => 75,
        })
    }
}

/// An error with all that a person needs.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    damaged: Option<PathBuf>,
}

impl CliError {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hints: Vec::new(), damaged: None }
    }

    /// What was asked for makes no sense, or the blueprint is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The machine lacks something or refuses something.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// The work failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Already said; only the exit code is left.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Adds the error behind it, with everything behind that.
    pub(crate) fn because(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.message != text && !self.causes.iter().any(|cause| cause.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds one reason in our own words.
    pub(crate) fn since(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// The journal file that is damaged, if that is behind it.
    pub(crate) fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// The same error without advice.
    pub(crate) fn without_hints(self) -> Self {
        Self { hints: Vec::new(), ..self }
    }

    /// The same error, with everything said that can be said about the damage.
    pub(crate) fn undamaged(self) -> Self {
        Self { damaged: None, ..self }
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Prints an error and gives its exit code.
pub(crate) fn report(error: &CliError) -> ExitCode {
    if !error.message.is_empty() {
        terminal::error_line(&format!("error: {}", error.message));
        for cause in &error.causes {
            terminal::error_line(&format!("  because {cause}"));
        }
        for hint in &error.hints {
            terminal::error_line(&format!("  try: {hint}"));
        }
    }
    error.exit.into()
}

/// An error whose message and causes are those of `error`.
pub(crate) fn from_error(exit: Exit, error: &(dyn std::error::Error + 'static)) -> CliError {
    let message = error.to_string();
    let said = match error.source() {
        Some(source) => CliError::new(exit, message).because(source),
        None => CliError::new(exit, message),
    };
    CliError { damaged: damaged(error), ..said }
}

/// The journal file whose damage is behind an error.
fn damaged(error: &(dyn std::error::Error + 'static)) -> Option<PathBuf> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Fault::Corrupt { path, .. }) = error.downcast_ref() {
            return Some(path.clone());
        }
        next = error.source();
    }
    None
}
