//! Images as they were checked: names, and recipes of which everything is known but the files that a build may copy.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where the commands of a node find their programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// An image that somebody made: its name.
    Named(Arc<str>),
    /// One that is made before the run.
    Made(Arc<Recipe>),
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// Packages on top of an image.
    Packages {
        /// The image.
        base: String,
        /// `NAME` or `NAME=VERSION`, in order and each once.
        packages: Vec<String>,
    },
    /// A Dockerfile.
    Dockerfile(DockerfileRecipe),
}

/// What is built by a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DockerfileRecipe {
    /// Where it is in the project, for people.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
    /// The folder of the project whose files it may copy; empty for the project itself.
    pub context: String,
    /// The stage to build.
    pub target: Option<String>,
    /// Values for its `ARG`s.
    pub args: Vec<(String, String)>,
    /// The images that its stages are made from or copy from.
    pub bases: Vec<String>,
    /// Places in the text right behind the beginning of each stage, in bytes and in order.
    pub stages: Vec<usize>,
}

impl Image {
    /// The images it is, or begins with.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Named(name) => vec![name],
            Self::Made(recipe) => recipe.bases().iter().map(String::as_str).collect(),
        }
    }
}

impl Recipe {
    /// The images it begins with.
    pub fn bases(&self) -> &[String] {
        match self {
            Self::Packages { base, .. } => std::slice::from_ref(base),
            Self::Dockerfile(recipe) => &recipe.bases,
        }
    }

    /// BLAKE3 of all it says, as lower-case hex. Without the files of its context.
    pub fn key(&self) -> String {
        let text = serde_json::to_vec(self).expect("texts, lists and numbers are JSON");
        blake3::hash(&text).to_hex().to_string()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages { base, packages } => write!(f, "packages {} on {base}", packages.join(", ")),
            Self::Dockerfile(DockerfileRecipe { file, target: None, .. }) => f.write_str(file),
            Self::Dockerfile(DockerfileRecipe { file, target: Some(target), .. }) => {
                write!(f, "{file}, target {target}")
            }
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Made(recipe) => recipe.fmt(f),
        }
    }
}
