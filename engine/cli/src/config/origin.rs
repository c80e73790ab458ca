//! Where a setting was written, precise enough to go there and change it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option on the command line, such as `--jobs`.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The project's `blueprint.toml`.
    Project(Place),
    /// The user's own settings file.
    User(Place),
    /// Nobody: it is built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "option {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Project(place) => write!(f, "project {place}"),
            Self::User(place) => write!(f, "user {place}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A place in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: PathBuf,
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// Column in characters, counted from 1.
    pub(crate) column: usize,
}

impl Place {
    pub(super) fn new(path: &Path, text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", plain(&self.path.to_string_lossy()), self.line, self.column)
    }
}

/// `text` without anything a terminal could take for a command. Names in a project file are chosen
/// by strangers.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        // The marks that reorder text can make a line read differently from what it says.
        if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}
