//! How much what a trigger brings along can be trusted. Goes by the name of the event: who caused it is known only when it
//! comes, and may then be found to be better, never worse.

use crate::expr::Expr;
use crate::format::{Scalar, Sp, Tier, Trigger};
use crate::graph::InputSpec;

/// Events that only people with write access, or the forge by their wish, can cause.
const INTERNAL: [&str; 12] = [
    "push",
    "create",
    "delete",
    "release",
    "deployment",
    "deployment_status",
    "milestone",
    "label",
    "repository_dispatch",
    "workflow_dispatch",
    "schedule",
    "branch_protection_rule",
];

/// How much the data of an event can be trusted.
fn tier(event: &str) -> Tier {
    let family = event.split('.').next().unwrap_or(event);
    if INTERNAL.contains(&family) { Tier::Internal } else { Tier::Untrusted }
}

/// How much the tree that a run starts from can be trusted: that of a pull request is of whoever opened it.
pub(super) fn base(triggers: &[Sp<Trigger>]) -> Tier {
    let events = triggers.iter().filter_map(|trigger| trigger.event.as_ref());
    let strange =
        |event: &str| event.starts_with("pull_request") && !event.starts_with("pull_request_target");
    if events.into_iter().any(|event| strange(event)) { Tier::Untrusted } else { Tier::Trusted }
}

/// Lowers the tiers of the inputs that triggers give values of their events.
pub(super) fn give(triggers: &[Sp<Trigger>], inputs: &mut [InputSpec]) {
    for trigger in triggers {
        let Some(event) = &trigger.event else { continue };
        let tier = tier(event);
        for (name, value) in &trigger.with {
            // What does not parse is a fault of its own; until it is mended, it counts as if it named the event.
            let named = match &value.value {
                Scalar::Expression(text) => {
                    Expr::parse(text).map_or(true, |expr| !expr.references().is_empty())
                }
                _ => false,
            };
            if named && let Some(input) = inputs.iter_mut().find(|input| *input.name == **name) {
                input.tier = input.tier.max(tier);
            }
        }
    }
}
