//! Random invariants, and what it is to break one.

use std::collections::BTreeMap;

use blueprint_core::run::Phase;

use crate::run::random::Dice;
use crate::run::spec::{Kind, Nodes, name, upstream};

#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    /// Before a node, another one has passed.
    Passed { before: usize, passed: usize },
    /// Before a node, a person has approved.
    Gated { before: usize },
    /// After a node, another one passes.
    Follows { after: usize, passed: usize },
}

impl Claim {
    /// One that has a chance to hold.
    pub(super) fn random(nodes: &Nodes, dice: &mut Dice) -> Self {
        let before = dice.below(nodes.len());
        let above: Vec<usize> = upstream(nodes, before).into_iter().filter(|node| *node != before).collect();
        let other = if above.is_empty() || dice.chance(10) {
            dice.below(nodes.len())
        } else {
            above[dice.below(above.len())]
        };
        match dice.below(3) {
            0 => Self::Passed { before, passed: other },
            1 if nodes.iter().any(|node| matches!(node.kind, Kind::Gate { .. })) => Self::Gated { before },
            _ => Self::Follows { after: other, passed: before },
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Passed { before, passed } => {
                format!("[[prove]]\nbefore = \"{}\"\npassed = \"{}\"\n", name(*before), name(*passed))
            }
            Self::Gated { before } => {
                format!("[[prove]]\nbefore = \"{}\"\ngated_by = \"human\"\n", name(*before))
            }
            Self::Follows { after, passed } => {
                format!("[[prove]]\nafter = \"{}\"\npassed = \"{}\"\n", name(*after), name(*passed))
            }
        }
    }

    /// Whether it is broken by a node that starts now.
    pub(super) fn is_broken_by(&self, starts: &str, passed: &dyn Fn(&str) -> bool, approved: bool) -> bool {
        match self {
            Self::Passed { before, passed: wanted } => name(*before) == starts && !passed(&name(*wanted)),
            Self::Gated { before } => name(*before) == starts && !approved,
            Self::Follows { .. } => false,
        }
    }

    /// Whether it is broken by how a run ended that succeeded.
    pub(super) fn is_broken_at_the_end(&self, ends: &BTreeMap<String, Phase>) -> bool {
        let passed = |node: usize| ends.get(&name(node)) == Some(&Phase::Succeeded);
        match self {
            Self::Follows { after, passed: wanted } => passed(*after) && !passed(*wanted),
            Self::Passed { .. } | Self::Gated { .. } => false,
        }
    }
}
