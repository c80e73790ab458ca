//! What can be wrong with settings. All of it is reported at once, each with its place.

use std::fmt;

use super::key::Key;
use super::origin::{Origin, Place, plain};

/// A setting that cannot be used; nothing runs before it is mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// A file is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where the parser stopped understanding.
        place: Place,
        /// What it expected.
        message: String,
    },
    /// A name that is not a setting.
    #[error("{place}: unknown setting `{name}`{}", help(.suggestion.as_deref()))]
    UnknownKey {
        /// Where it is written.
        place: Place,
        /// The name as written.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value that does not fit its setting.
    #[error("{origin}: `{}` {reason}", .key.name())]
    Value {
        /// Where it is written.
        origin: Origin,
        /// The setting.
        key: Key,
        /// Why it does not fit, as the rest of a sentence about the setting.
        reason: String,
    },
    /// A value that is right and may not be set here.
    #[error("{origin}: `{}` {reason}", .key.name())]
    NotHere {
        /// Where it is written.
        origin: Origin,
        /// The setting.
        key: Key,
        /// Why not, and where instead.
        reason: String,
    },
    /// A table that cannot be used as it is.
    #[error("{place}: `[{name}]` {reason}")]
    Table {
        /// Where it is written.
        place: Place,
        /// The name of the table.
        name: &'static str,
        /// Why, as the rest of a sentence about the table.
        reason: String,
    },
    /// A table was expected.
    #[error("{place}: `{name}` is a table: write `[{name}]` above its settings")]
    NotATable {
        /// Where it is written.
        place: Place,
        /// The name of the table.
        name: &'static str,
    },
}

fn help(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl ConfigError {
    pub(super) fn unknown(place: Place, name: &str, suggestion: Option<String>) -> Self {
        Self::UnknownKey { place, name: plain(name), suggestion }
    }
}

/// Every error of one reading, in the order of the layers and of the files. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn unless_empty(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Goes through the errors.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that is not wrong and still worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A project asked for more than the user allows, so it got what the user allows.
    Tightened {
        /// The setting.
        key: Key,
        /// What the project asked for.
        asked: String,
        /// Where it asked.
        project: Origin,
        /// What it got.
        allowed: String,
        /// Where the user said so.
        user: Origin,
    },
    /// A variable that looks like one of ours and is none.
    UnknownVariable {
        /// Its name.
        name: String,
        /// What was probably meant.
        suggestion: &'static str,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tightened { key, asked, project, allowed, user } => {
                write!(
                    f,
                    "`{}` stays {allowed} ({user}): a project cannot loosen it to {asked} ({project})",
                    key.name()
                )
            }
            Self::UnknownVariable { name, suggestion } => {
                write!(f, "environment variable `{}` sets nothing; did you mean `{suggestion}`?", plain(name))
            }
        }
    }
}
