//! Which backend isolates the commands of which nodes in a run. Chosen before the run starts, by trying.
//! A tier that nothing was chosen for has none: never a weaker one, never a default.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use blueprint_core::format::Tier;
use blueprint_core::graph::{Action, Image, Node, Program};
use blueprint_core::run::{Failure, FailureClass};
use blueprint_sandbox::{Backend, Image as Shown};
use serde_json::{Value, json};

use crate::images::Images;

/// What a node needs of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// How much what it runs is trusted.
    pub tier: Tier,
    /// Whether it names an image, which only containers can show.
    pub image: bool,
}

impl Need {
    /// That of a node.
    pub fn of(node: &Node) -> Self {
        Self { tier: node.tier, image: node.image.is_some() }
    }

    /// Those of all nodes of a program that run commands.
    pub fn all(program: &Program) -> BTreeSet<Self> {
        let commands =
            program.nodes().filter(|node| matches!(node.action, Action::Run(_) | Action::Agent(_)));
        commands.map(Self::of).collect()
    }
}

/// The choice for a run.
#[derive(Debug, Clone, Default)]
pub struct Isolation {
    chosen: BTreeMap<Need, Backend>,
    everywhere: Option<Backend>,
    images: Images,
}

impl Isolation {
    /// What was chosen for each need.
    pub fn new(chosen: impl IntoIterator<Item = (Need, Backend)>) -> Self {
        Self { chosen: chosen.into_iter().collect(), ..Self::default() }
    }

    /// The same for every need.
    pub fn same(backend: Backend) -> Self {
        Self { everywhere: Some(backend), ..Self::default() }
    }

    /// The same, with the images that were built.
    #[must_use]
    pub fn with_images(self, images: Images) -> Self {
        Self { images, ..self }
    }

    /// The images that were built.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What the commands of a node find their programs in. An image that was not built is none.
    pub fn image(&self, node: &Node) -> Result<Shown, Failure> {
        match &node.image {
            None => Ok(Shown::Host),
            Some(Image::Named(name)) => Ok(Shown::Named(name.to_string())),
            Some(Image::Made(recipe)) => match self.images.get(recipe) {
                Some(built) => Ok(Shown::Built { id: built.id.clone(), of: built.of.clone() }),
                None => {
                    let what = format!("the image `{recipe}` was not built for this run");
                    Err(Failure::new(FailureClass::Sandbox, what))
                }
            },
        }
    }

    /// The backend of a node.
    pub fn of(&self, node: &Node) -> Result<Backend, Failure> {
        let need = Need::of(node);
        self.everywhere.or_else(|| self.chosen.get(&need).copied()).ok_or_else(|| {
            let what = format!("nothing isolates the tier `{}` in this run", need.tier.as_str());
            Failure::new(FailureClass::Sandbox, what)
        })
    }

    /// What is recorded, in words.
    pub fn named(&self) -> String {
        match self.recorded() {
            Value::String(name) => name,
            Value::Object(by_tier) => {
                let parts = by_tier
                    .iter()
                    .map(|(tier, name)| format!("{tier}: {}", name.as_str().unwrap_or_default()));
                parts.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        }
    }

    /// What is recorded: a name where all nodes have the same, else one per tier.
    pub fn recorded(&self) -> Value {
        let mut names: BTreeSet<Backend> = self.chosen.values().copied().collect();
        names.extend(self.everywhere);
        match (names.first(), names.len()) {
            (None, _) => json!(Backend::Process.name()),
            (Some(one), 1) => json!(one.name()),
            _ => {
                let by_tier = self.chosen.iter().map(|(need, backend)| {
                    let tier = need.tier.as_str();
                    let name = if need.image { format!("{tier} with an image") } else { tier.to_owned() };
                    (name, json!(backend.name()))
                });
                Value::Object(by_tier.collect())
            }
        }
    }
}

/// The attestations of a run's sandboxes that are kept: each once, however many sandboxes say the same.
#[derive(Debug, Default)]
pub struct Attested(Mutex<BTreeMap<Vec<u8>, String>>);

impl Attested {
    /// The digest of an attestation, which `keep` keeps if it is new.
    pub(crate) fn digest<E>(
        &self,
        attestation: Vec<u8>,
        keep: impl FnOnce(&[u8]) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known.get(&attestation) {
            return Ok(digest.clone());
        }
        let digest = keep(&attestation)?;
        known.insert(attestation, digest.clone());
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_names_the_tiers_only_if_they_differ() {
        let need = |tier| Need { tier, image: false };
        let same = Isolation::new([
            (need(Tier::Trusted), Backend::Process),
            (need(Tier::Internal), Backend::Process),
        ]);
        assert_eq!(same.recorded(), json!("process"));
        let mixed = Isolation::new([
            (need(Tier::Trusted), Backend::Process),
            (need(Tier::Generated), Backend::Gvisor),
        ]);
        assert_eq!(mixed.recorded(), json!({ "trusted": "process", "generated": "gvisor" }));
    }
}
