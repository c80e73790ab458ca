//! Holds what came out of a scenario against what was expected. Everything that differs is reported at once. What
//! cannot be looked at counts as a difference, never as a match.

use std::path::Path;

use blueprint_core::graph::{Edge, NodeIx};
use blueprint_core::run::{Inst, State, usd};
use serde::Serialize;
use serde_json::Value;

use super::route::{Ended, Route, route};
use super::{Expect, ExpectNode, Fault, Scenario};
use crate::payload::fetch;
use crate::start::OpenedRun;
use crate::store::Blobs;
use crate::trees::output_commits;
use crate::workspace::{CommitId, DiffOptions, Merge, Repository, TreeId, TreePath};

/// The largest file that is compared, in bytes.
const LARGEST: u64 = 16 << 20;
/// How many lines of a patch are shown in place of one that is missing.
const SHOWN: usize = 40;

/// Something that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Problem {
    /// The route.
    Route {
        /// As it should have been.
        expected: Vec<String>,
        /// As it was.
        actual: Vec<Ended>,
        /// Whether only a part of it is expected, in order.
        part: bool,
    },
    /// A value.
    Value {
        /// Which.
        what: String,
        /// As it should have been.
        expected: String,
        /// As it was.
        actual: String,
    },
    /// A text of several lines.
    Text {
        /// Which.
        what: String,
        /// As it should have been.
        expected: String,
        /// As it was.
        actual: String,
    },
}

/// What came out of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What differs. Nothing, if all is as expected.
    pub problems: Vec<Problem>,
    /// The route.
    pub route: Route,
}

/// Judges a run that nobody drives any more. `outcome` is how it ended, or `waiting`; `unused` are the faults that did
/// not happen.
pub fn judge(
    scenario: &Scenario,
    opened: &OpenedRun,
    outcome: &str,
    unused: &[Fault],
    (blobs, project, state_dir): (&Blobs, &Path, &Path),
) -> Judged {
    let expect = &scenario.expect;
    let route = route(opened.state.program(), &opened.entries);
    let mut judge = Judge { state: &opened.state, blobs, problems: Vec::new() };
    judge.value("outcome", &expect.outcome, outcome);
    judge.route(expect, &route);
    for (path, node) in &expect.nodes {
        judge.node(path, node);
    }
    judge.spent(expect);
    if !expect.diff.is_empty() || !expect.files.is_empty() {
        judge.tree(expect, project, state_dir);
    }
    for fault in unused {
        let what = format!("fault `{}` at `{}` (line {})", fault.what.as_str(), fault.at, fault.line);
        judge.say(what, format!("to happen, {} in all", fault.times), "did not happen as often".to_owned());
    }
    Judged { problems: judge.problems, route }
}

struct Judge<'a> {
    state: &'a State,
    blobs: &'a Blobs,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn say(&mut self, what: String, expected: String, actual: String) {
        self.problems.push(Problem::Value { what, expected, actual });
    }

    fn value(&mut self, what: &str, expected: &str, actual: &str) {
        if expected != actual {
            self.say(what.to_owned(), expected.to_owned(), actual.to_owned());
        }
    }

    fn route(&mut self, expect: &Expect, route: &Route) {
        let steps: Vec<&str> = route.ended.iter().map(|ended| ended.step.as_str()).collect();
        let whole =
            expect.route.as_ref().map(|groups| in_order(groups, &steps)).filter(|wanted| *wanted != steps);
        let part = expect.route_contains.as_ref().filter(|wanted| {
            let mut left = steps.iter();
            !wanted.iter().all(|step| left.any(|known| known == step))
        });
        let differing =
            whole.map(|steps| (steps, false)).into_iter().chain(part.map(|steps| (steps.clone(), true)));
        for (expected, part) in differing {
            self.problems.push(Problem::Route { expected, actual: route.ended.clone(), part });
        }
    }

    fn node(&mut self, path: &str, expect: &ExpectNode) {
        let Some(inst) = self.state.at(path) else {
            self.say(format!("node `{path}`"), "part of the run".to_owned(), "not part of it".to_owned());
            return;
        };
        let instance = self.state.instance(inst);
        let what = |key: &str| format!("{key} of `{path}`");
        if let Some(phase) = expect.phase {
            self.value(&what("phase"), phase.as_str(), instance.phase.as_str());
        }
        if let Some(rounds) = expect.rounds {
            self.value(&what("rounds"), &rounds.to_string(), &instance.round.to_string());
        }
        if let Some(attempts) = expect.attempts {
            self.value(&what("attempts"), &attempts.to_string(), &instance.attempt.to_string());
        }
        let failure = instance.failure.as_deref();
        if let Some(class) = expect.failure {
            let actual = failure.map_or_else(
                || "none".to_owned(),
                |failure| format!("{}: {}", failure.class.as_str(), failure.message),
            );
            if failure.is_none_or(|failure| failure.class != class) {
                self.say(what("failure"), class.as_str().to_owned(), actual);
            }
        }
        if let Some(part) = &expect.message {
            let actual = failure.map_or("", |failure| failure.message.as_str());
            if !actual.contains(part) {
                self.say(what("message"), format!("… {part} …"), actual.to_owned());
            }
        }
        self.outputs(path, inst, expect);
    }

    fn outputs(&mut self, path: &str, inst: Inst, expect: &ExpectNode) {
        if expect.outputs.is_empty() {
            return;
        }
        let outputs = self.state.instance(inst).outputs.as_ref().map(|payload| fetch(self.blobs, payload));
        let outputs = match outputs {
            Some(Ok(Value::Object(outputs))) => outputs,
            Some(Err(error)) => {
                let why = crate::chain(&error);
                self.say(format!("outputs of `{path}`"), "to be read".to_owned(), why);
                return;
            }
            Some(Ok(_)) | None => serde_json::Map::new(),
        };
        for (name, wanted) in &expect.outputs {
            let actual = outputs.get(name);
            if actual != Some(wanted) {
                let actual = actual.map_or_else(|| "none".to_owned(), Value::to_string);
                self.say(format!("output `{name}` of `{path}`"), wanted.to_string(), actual);
            }
        }
    }

    fn spent(&mut self, expect: &Expect) {
        let (spent, expect) = (self.state.spent(), &expect.spent);
        for (what, wanted, actual) in [
            ("model calls", expect.model_calls, spent.model_calls),
            ("tool calls", expect.tool_calls, spent.tool_calls),
        ] {
            if let Some(wanted) = wanted {
                self.value(what, &wanted.to_string(), &actual.to_string());
            }
        }
        if let Some(most) = expect.max_tokens.filter(|most| spent.tokens > *most) {
            self.say("tokens".to_owned(), format!("at most {most}"), spent.tokens.to_string());
        }
        if let Some(most) = expect.max_cost_usd {
            if spent.unpriced_calls > 0 {
                let actual = format!("{} calls whose price is not known", spent.unpriced_calls);
                self.say("cost".to_owned(), format!("at most ${most}"), actual);
            } else if spent.cost_micros as f64 > most * 1_000_000.0 {
                self.say(
                    "cost".to_owned(),
                    format!("at most ${most}"),
                    format!("${}", usd(spent.cost_micros)),
                );
            }
        }
    }

    fn tree(&mut self, expect: &Expect, project: &Path, state_dir: &Path) {
        let found = Repository::discover(project, state_dir)
            .map_err(|error| crate::chain(&error))
            .and_then(|repository| Ok((self.ends(&repository)?, repository)));
        let ((from, to), repository) = match found {
            Ok(found) => found,
            Err(why) => return self.say("the result".to_owned(), "a tree".to_owned(), why),
        };
        if !expect.diff.is_empty() {
            match repository.diff(from, to, DiffOptions::default()) {
                Ok(diff) => self.diff(expect, &String::from_utf8_lossy(&diff.patch)),
                Err(error) => self.say("diff".to_owned(), "a patch".to_owned(), crate::chain(&error)),
            }
        }
        for (path, wanted) in &expect.files {
            let what = format!("file `{path}`");
            match repository.read_file(to, &TreePath::from(path.as_str()), LARGEST) {
                Ok(Some(bytes)) if bytes == wanted.as_bytes() => {}
                Ok(Some(bytes)) => {
                    let actual = String::from_utf8_lossy(&bytes).into_owned();
                    self.problems.push(Problem::Text { what, expected: wanted.clone(), actual });
                }
                Ok(None) => self.say(what, "to be there".to_owned(), "there is no such file".to_owned()),
                Err(error) => self.say(what, "to be read".to_owned(), crate::chain(&error)),
            }
        }
    }

    fn diff(&mut self, expect: &Expect, patch: &str) {
        for wanted in &expect.diff {
            if patch.lines().any(|line| line == wanted) {
                continue;
            }
            let changed = patch.lines().filter(|line| line.starts_with(['+', '-']));
            let changed: Vec<&str> = changed.take(SHOWN).collect();
            let actual = if changed.is_empty() { "nothing changed".to_owned() } else { changed.join("\n") };
            self.problems.push(Problem::Text { what: "diff".to_owned(), expected: wanted.clone(), actual });
        }
    }

    /// What the run started from and what it left.
    fn ends(&self, repository: &Repository) -> Result<(TreeId, TreeId), String> {
        let base = self.state.start().and_then(|start| start.base.clone());
        let base = base.ok_or_else(|| "the run has no workspace, so it changed nothing".to_owned())?;
        let graph = self.state.program().root();
        let last: Vec<Inst> = (0..graph.nodes.len() as u32)
            .map(NodeIx)
            .filter(|ix| !graph.behind(*ix).any(|(_, edge)| edge == Edge::Needs))
            .map(|ix| self.state.in_scope(0, ix))
            .collect();
        Ok((merged(repository, &[base])?, merged(repository, &output_commits(self.state, &last))?))
    }
}

/// The steps that are expected, those that may come in any order as they came.
fn in_order(groups: &[Vec<String>], actual: &[&str]) -> Vec<String> {
    let mut steps = Vec::new();
    let mut from = 0;
    for group in groups {
        let mut wanted: Vec<&str> = group.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        let found = actual[from..].windows(group.len().max(1)).position(|window| {
            let mut window = window.to_vec();
            window.sort_unstable();
            window == wanted
        });
        match found {
            Some(at) => {
                let at = from + at;
                steps.extend(actual[at..at + group.len()].iter().map(|step| (*step).to_owned()));
                from = at + group.len();
            }
            None => steps.extend(group.iter().cloned()),
        }
    }
    steps
}

fn merged(repository: &Repository, commits: &[String]) -> Result<TreeId, String> {
    let ids: Result<Vec<CommitId>, _> = commits.iter().map(|commit| commit.parse()).collect();
    let ids = ids.map_err(|error: crate::workspace::IdError| error.to_string())?;
    match repository.merge(&ids).map_err(|error| crate::chain(&error))? {
        Merge::Clean(tree) => Ok(tree),
        Merge::Conflict { .. } => Err("the ends of the run changed the same places".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::in_order;

    fn steps(groups: &[&[&str]], actual: &[&str]) -> String {
        let owned = |group: &&[&str]| group.iter().map(|step| (*step).to_owned()).collect();
        let groups: Vec<Vec<String>> = groups.iter().map(owned).collect();
        in_order(&groups, actual).join(" ")
    }

    #[test]
    fn steps_that_stand_together_take_the_order_in_which_they_came() {
        assert_eq!(steps(&[&["a"], &["b", "c"], &["d"]], &["a", "c", "b", "d"]), "a c b d");
        assert_eq!(steps(&[&["a"], &["b", "c"], &["d"]], &["x", "a", "c", "b", "d"]), "a c b d");
        assert_eq!(steps(&[&["b", "c"], &["d"]], &["b", "d", "c"]), "b c d");
        assert_eq!(steps(&[&["a"], &[]], &[]), "a");
    }
}
