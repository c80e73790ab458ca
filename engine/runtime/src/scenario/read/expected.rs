//! What is to come out of a scenario, as it is written: the route, the ends of nodes, what was spent and left.

use std::ops::Range;

use blueprint_core::run::Phase;
use toml::Spanned;

use super::super::file::{ExpectTable, Together};
use super::super::wrong::unknown;
use super::super::{Expect, ExpectNode, ExpectSpent};
use super::Reader;

/// How a run can stand when nobody drives it any more.
const ENDS: [&str; 6] = ["succeeded", "failed", "rejected", "escalated", "cancelled", "waiting"];
/// Where a node can stand.
const PHASES: [Phase; 14] = [
    Phase::Pending,
    Phase::Evaluating,
    Phase::Ready,
    Phase::Running,
    Phase::Waiting,
    Phase::Backoff,
    Phase::Expanded,
    Phase::Collecting,
    Phase::Repairing,
    Phase::Escalating,
    Phase::Succeeded,
    Phase::Failed,
    Phase::Skipped,
    Phase::Cancelled,
];

impl Reader<'_> {
    /// A step of a route: a path, with `#N` for the Nth attempt.
    fn step(&mut self, range: &Range<usize>, written: &str) {
        let (path, attempt) = written.split_once('#').map_or((written, None), |(path, n)| (path, Some(n)));
        if self.nodes(path).is_empty() {
            self.say(range, unknown("node", path, self.names()));
        }
        if let Some(attempt) = attempt.filter(|attempt| attempt.parse::<u32>().map_or(true, |n| n < 2)) {
            let message = format!("`#{attempt}` is no attempt: the first is `{path}`, the second `{path}#2`");
            self.say(range, message);
        }
    }

    fn route(&mut self, steps: Option<Vec<Spanned<Together>>>) -> Option<Vec<Vec<String>>> {
        let mut route = Vec::new();
        for step in steps? {
            for written in &step.get_ref().0 {
                self.step(&step.span(), written);
            }
            route.push(step.into_inner().0);
        }
        Some(route)
    }

    fn part(&mut self, steps: Option<Vec<Spanned<String>>>) -> Option<Vec<String>> {
        let steps = steps?;
        for step in &steps {
            self.step(&step.span(), step.get_ref());
        }
        Some(steps.into_iter().map(Spanned::into_inner).collect())
    }

    pub(super) fn expect(&mut self, table: ExpectTable) -> Expect {
        if !ENDS.contains(&table.outcome.get_ref().as_str()) {
            self.say(&table.outcome.span(), unknown("outcome", table.outcome.get_ref(), ENDS));
        }
        if let Some(effects) = table.effects.as_ref().filter(|effects| !effects.get_ref().is_empty()) {
            let message =
                "no effect can be expected: forge nodes come with release 0.5. Leave it empty or out";
            self.say(&effects.span(), message);
        }
        if let (Some(_), Some(Some(first))) =
            (&table.route, table.route_contains.as_ref().map(|steps| steps.first()))
        {
            self.say(&first.span(), "expect a whole `route` or a part of it with `route_contains`, not both");
        }
        let mut nodes = Vec::new();
        for (key, node) in table.nodes {
            if self.nodes(key.get_ref()).is_empty() {
                let message = unknown("node", key.get_ref(), self.names());
                self.say(&key.span(), message);
            }
            let phase = node.phase.and_then(|written| {
                let found = PHASES.into_iter().find(|phase| phase.as_str() == written.get_ref());
                if found.is_none() {
                    self.say(&written.span(), unknown("phase", written.get_ref(), PHASES.map(Phase::as_str)));
                }
                found
            });
            let expected = ExpectNode {
                phase,
                rounds: node.rounds,
                attempts: node.attempts,
                outputs: node.outputs,
                failure: node.failure,
                message: node.message,
            };
            nodes.push((key.into_inner(), expected));
        }
        let mut files = Vec::new();
        for (path, text) in table.files {
            if self.is_path(&path) {
                files.push((path.into_inner(), text));
            }
        }
        Expect {
            outcome: table.outcome.into_inner(),
            route: self.route(table.route),
            route_contains: self.part(table.route_contains),
            nodes,
            spent: ExpectSpent {
                model_calls: table.spent.model_calls,
                tool_calls: table.spent.tool_calls,
                max_cost_usd: table.spent.max_cost_usd,
                max_tokens: table.spent.max_tokens,
            },
            diff: table.diff,
            files,
        }
    }
}
