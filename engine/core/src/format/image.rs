//! An image as its author wrote it: a name, or what to make one of. What the keys mean together, and whether what they
//! name can be used, is decided by [`crate::check`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{Entries, Sp, TextOr};

/// An image: its name, or what it is made of.
pub type ImageValue = TextOr<ImageTable>;

/// What an image is made of. Exactly one of `packages`, `dockerfile` and `devcontainer` must be there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageTable {
    /// Packages of the distribution that `base` is, each as `NAME` or `NAME=VERSION`.
    #[serde(default)]
    pub packages: Option<Sp<Vec<Sp<String>>>>,
    /// The image that the packages are added to.
    #[serde(default)]
    pub base: Option<Sp<String>>,
    /// A Dockerfile, as a path of the project.
    #[serde(default)]
    pub dockerfile: Option<Sp<String>>,
    /// The folder whose files the Dockerfile may copy, as a path of the project; the Dockerfile's own if left out.
    #[serde(default)]
    pub context: Option<Sp<String>>,
    /// The stage of the Dockerfile to build; the last one if left out.
    #[serde(default)]
    pub target: Option<Sp<String>>,
    /// Values for the `ARG`s of the Dockerfile. Plain texts, and no place for secrets: an image remembers them.
    #[serde(default)]
    pub args: Entries<Sp<String>>,
    /// A `devcontainer.json`, as a path of the project.
    #[serde(default)]
    pub devcontainer: Option<Sp<String>>,
}
