//! Settings with a fixed set of words, and what every kind of value must be able to do.

use std::fmt;
use std::str::FromStr;

use super::key::nearest;
use super::quantity::{Bytes, Cpus, Jobs, Pids, Wall};

/// What isolates the commands of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// The strongest one this machine has.
    Auto,
    /// The built-in one.
    Process,
    /// `bwrap`.
    Bubblewrap,
    /// A container of the Docker engine.
    Container,
    /// A container under gVisor.
    Gvisor,
    /// A virtual machine.
    Microvm,
    /// Nothing. Only an option on the command line can say so, each time.
    None,
}

/// How hard the journal is pushed to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Every event survives a power failure.
    Full,
    /// Every event survives the death of the process.
    Normal,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// When it goes to a terminal that can show it.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A value a setting can have.
pub(super) trait Value: Copy + fmt::Display + FromStr<Err = String> {
    /// How it is written in a file.
    const FORM: Form;

    /// Whether a project that asks for `self` asks for more than `allowed`.
    fn loosens(self, allowed: Self) -> bool;
}

/// The TOML types a value can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Integer,
    Number,
}

impl Value for Jobs {
    const FORM: Form = Form::Integer;

    fn loosens(self, allowed: Self) -> bool {
        self > allowed
    }
}

impl Value for Pids {
    const FORM: Form = Form::Integer;

    fn loosens(self, allowed: Self) -> bool {
        self > allowed
    }
}

impl Value for Cpus {
    const FORM: Form = Form::Number;

    fn loosens(self, allowed: Self) -> bool {
        self > allowed
    }
}

impl Value for Bytes {
    const FORM: Form = Form::Text;

    fn loosens(self, allowed: Self) -> bool {
        self > allowed
    }
}

impl Value for Wall {
    const FORM: Form = Form::Text;

    fn loosens(self, allowed: Self) -> bool {
        self > allowed
    }
}

impl Value for Sandbox {
    const FORM: Form = Form::Text;

    /// Sandboxes have no order that holds on every machine, so any other choice counts as looser.
    fn loosens(self, allowed: Self) -> bool {
        self != allowed
    }
}

impl Value for Durability {
    const FORM: Form = Form::Text;

    fn loosens(self, allowed: Self) -> bool {
        matches!((self, allowed), (Self::Normal, Self::Full))
    }
}

impl Value for Color {
    const FORM: Form = Form::Text;

    /// Nothing depends on colours.
    fn loosens(self, _: Self) -> bool {
        false
    }
}

/// Finds `text` among `words`; says all of them if it is not there.
fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let all: Vec<String> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let hint = nearest(text, words.iter().map(|(name, _)| *name));
    let hint = hint.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
    Err(format!("must be one of {}{hint}", all.join(", ")))
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        word(
            text,
            &[
                ("auto", Self::Auto),
                ("process", Self::Process),
                ("bubblewrap", Self::Bubblewrap),
                ("container", Self::Container),
                ("gvisor", Self::Gvisor),
                ("microvm", Self::Microvm),
            ],
        )
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("full", Self::Full), ("normal", Self::Normal)])
    }
}

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)])
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Process => "process",
            Self::Bubblewrap => "bubblewrap",
            Self::Container => "container",
            Self::Gvisor => "gvisor",
            Self::Microvm => "microvm",
            Self::None => "none",
        })
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Normal => "normal",
        })
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}
