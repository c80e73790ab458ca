//! Invariants as they are written: whether they claim anything, and about what. Whether they hold is found out when all
//! graphs are there.

use std::ops::Range;

use super::compiler::{Compiler, Unit};
use super::shape::Shape;
use crate::finding::{Code, Finding, nearest};
use crate::format::{Approval, Effect, Expect, NodeTable, OneOrNames, Prove, Sp};
use crate::graph::{Claim, KINDS, Kept, NodeIx, Passed, Target, What};
use crate::source::Span;

impl Compiler<'_> {
    pub(super) fn claims(&mut self, unit: &Unit, shape: &Shape) -> Vec<Claim> {
        unit.document.prove.iter().filter_map(|prove| self.claim(unit, shape, prove)).collect()
    }

    fn claim(&mut self, unit: &Unit, shape: &Shape, prove: &Sp<Prove>) -> Option<Claim> {
        let at = |range: &Range<usize>| Span::new(&unit.file, range.clone());
        let before = prove.before.as_ref().map(|names| self.targets(unit, shape, names));
        let after = prove.after.as_ref().map(|names| self.targets(unit, shape, names));
        let mut passed = prove.passed.as_ref().map(|names| self.passed(unit, shape, names));
        if let (Some(approval), false) = (&prove.gated_by, unit.broken.contains_key("prove")) {
            passed
                .get_or_insert(Some(Vec::new()))
                .get_or_insert_default()
                .push(Passed::Approval(approval.value));
        }
        let never: Vec<_> = prove
            .never
            .iter()
            .flat_map(|never| {
                let all = [
                    (Kept::Secrets, &never.secrets),
                    (Kept::Network, &never.network),
                    (Kept::Effects, &never.effects),
                ];
                all.into_iter().filter_map(|(kept, tier)| Some((kept, tier.as_ref()?.value)))
            })
            .collect();
        let (places, others) =
            (usize::from(before.is_some()) + usize::from(after.is_some()), passed.is_some());
        let wrong = match (&prove.never, places, others) {
            _ if unit.broken.contains_key("prove") => return None,
            (Some(_), 0, false) if !never.is_empty() && prove.touches.is_none() => None,
            (Some(_), 0, false) if prove.touches.is_none() => {
                Some(("`never` names nothing", "needs `secrets`, `network` or `effects`"))
            }
            (Some(_), ..) => Some(("`never` stands alone", "take the others out, or write two invariants")),
            (None, 0, _) => Some(("this invariant claims nothing", "needs `before` or `after`")),
            (None, 2, _) => {
                Some(("this invariant has two places", "write one for `before` and one for `after`"))
            }
            (None, _, false) => Some(("this invariant claims nothing", "needs `passed` or `gated_by`")),
            (None, _, true) if prove.touches.is_some() && after.is_some() => {
                Some(("`touches` goes with `before`", "what a change touches is known before"))
            }
            (None, _, true) => None,
        };
        if let Some((message, label)) = wrong {
            self.findings.push(
                Finding::new(Code::MissingKey, at(&prove.range), message)
                    .label(label)
                    .fix("say where and what, such as `before = \"deploy\"` and `passed = [\"test\"]`"),
            );
            return None;
        }
        let what = match (before, after) {
            (Some(targets), _) => What::Before(targets?, passed??),
            (_, Some(targets)) => What::After(targets?, passed??),
            _ => What::Never(never),
        };
        Some(Claim {
            span: at(&prove.range),
            what,
            touches: prove.touches.as_ref().map(|glob| glob.as_str().into()),
        })
    }

    fn targets(&mut self, unit: &Unit, shape: &Shape, names: &OneOrNames) -> Option<Vec<Target>> {
        let all: Vec<_> = names
            .0
            .iter()
            .map(|name| match name.split_once(':') {
                Some(("kind", _)) => self.kind(unit, name).map(Target::Kind),
                Some(("effect", effect)) => match Effect::ALL.iter().find(|known| known.as_str() == effect) {
                    Some(effect) => Some(Target::Effect(*effect)),
                    None => self.unknown(
                        unit,
                        name,
                        "effects are `effect:propose` and `effect:commit`".to_owned(),
                    ),
                },
                _ => self.named(unit, shape, name).map(Target::Node),
            })
            .collect();
        all.into_iter().collect()
    }

    fn passed(&mut self, unit: &Unit, shape: &Shape, names: &OneOrNames) -> Option<Vec<Passed>> {
        let all: Vec<_> = names
            .0
            .iter()
            .map(|name| {
                if name.starts_with("kind:") {
                    return self.kind(unit, name).map(Passed::Kind);
                }
                let ix = self.named(unit, shape, name)?;
                let node = &unit.nodes[ix.at()];
                if cannot_fail(&node.table) {
                    self.findings.push(
                        Finding::new(
                            Code::Hollow,
                            Span::new(&unit.file, name.range.clone()),
                            format!("`{}` passes whatever happens", name.value),
                        )
                        .label("cannot fail")
                        .note(node.name_span(), "`expect = \"any\"` here")
                        .reason("that a node has passed says something only if it could have failed")
                        .fix("let the node say which exit codes are a success, or name another one"),
                    );
                    return None;
                }
                Some(Passed::Node(ix))
            })
            .collect();
        all.into_iter().collect()
    }

    fn kind(&mut self, unit: &Unit, name: &Sp<String>) -> Option<&'static str> {
        let kind = name.strip_prefix("kind:").unwrap_or(name);
        match KINDS.iter().find(|known| **known == kind) {
            Some(known) => Some(known),
            None => self.unknown(
                unit,
                name,
                match nearest(kind, KINDS) {
                    Some(near) => format!("did you mean `kind:{near}`?"),
                    None => format!("kinds are {}", KINDS.join(", ")),
                },
            ),
        }
    }

    fn named(&mut self, unit: &Unit, shape: &Shape, name: &Sp<String>) -> Option<NodeIx> {
        if let Some(ix) = shape.by_name.get(name.as_str()) {
            return Some(*ix);
        }
        if unit.is_lost(name) {
            return None;
        }
        let fix = shape.node_near(name).map_or_else(
            || "name a node of this blueprint".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.unknown(unit, name, fix)
    }

    fn unknown<T>(&mut self, unit: &Unit, name: &Sp<String>, fix: String) -> Option<T> {
        self.findings.push(
            Finding::new(
                Code::UnknownNode,
                Span::new(&unit.file, name.range.clone()),
                format!("there is no node `{}`", name.value),
            )
            .label("unknown node")
            .fix(fix),
        );
        None
    }
}

/// Whether a node succeeds with every exit code.
fn cannot_fail(node: &NodeTable) -> bool {
    node.run.is_some() && node.expect.as_ref().is_some_and(|expect| expect.value == Expect::Any)
}

impl Approval {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Checks => "checks",
        }
    }
}
