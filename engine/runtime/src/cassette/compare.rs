//! Two cassettes of the same graph, step by step: what was recorded, and what came when it was played. Accidents, such
//! as times, do not count; what was only played back is not compared. Never looks at anything but the two.

use std::collections::BTreeMap;

use blueprint_agent::session::{Step, steady};
use blueprint_agent::tool::ToolOutcome;
use serde::Serialize;
use serde_json::Value;

use super::{Cassette, End, Entry, Said};

/// Longest excerpt of what was recorded or came, in characters.
const EXCERPT: usize = 200;

/// What came of comparing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// How many steps were compared.
    pub compared: usize,
    /// How many of them differ in accidents only.
    pub accidents: usize,
    /// What differs, in the order of the recording.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_identical(&self) -> bool {
        self.differences.is_empty()
    }
}

/// A step at which reality differs from the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path of the node; empty for the run as a whole.
    pub node: String,
    /// The round of repair.
    pub round: u32,
    /// The try of the node, from 1.
    pub attempt: u32,
    /// The turn of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// What differs: a result of a tool, a request, the end of a node.
    pub what: String,
    /// What was recorded.
    pub recorded: String,
    /// What came.
    pub came: String,
}

/// The place of a step within a try: the turn, the stage of the turn, the call, and how often this was so before. Calls
/// that go side by side return in any order.
type Place = (u32, u8, u32, u32);
/// The steps of one try, each with its place in the cassette.
type Steps<'a> = BTreeMap<Place, (usize, &'a Entry)>;

/// Compares what was recorded with what came.
pub fn compare(recorded: &Cassette, came: &Cassette) -> Comparison {
    let mut found = Comparison::default();
    let mut differences: Vec<(usize, Difference)> = Vec::new();
    let (old, new) = (tries(recorded), tries(came));
    for (key, steps) in &old {
        match new.get(key) {
            Some(others) => one_try(steps, others, &mut found, &mut differences),
            None => {
                if let Some((at, entry)) = steps.values().next() {
                    differences.push((
                        *at,
                        missing(entry, "this try of the node", "it was tried", "it was not tried"),
                    ));
                }
            }
        }
    }
    if let Some(outcome) = recorded.head.outcome {
        for (_, steps) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            if let Some((_, entry)) = steps.values().next() {
                let more = missing(entry, "this try of the node", "it was not tried", "it was tried");
                differences.push((recorded.entries.len(), more));
            }
        }
        let whole = |node: &str, what: &str, recorded: &str, came: &str| Difference {
            node: node.to_owned(),
            round: 0,
            attempt: 0,
            turn: None,
            what: what.to_owned(),
            recorded: recorded.to_owned(),
            came: came.to_owned(),
        };
        let end = recorded.entries.len();
        for (node, phase) in &recorded.head.nodes {
            found.compared += 1;
            let other = came.head.nodes.get(node).map_or("not part of the run", String::as_str);
            if other != phase && !differences.iter().any(|(_, difference)| difference.node == *node) {
                differences.push((end, whole(node, "where the node stands at the end", phase, other)));
            }
        }
        let other = came.head.outcome.map_or("not at its end", |outcome| outcome.as_str());
        found.compared += 2;
        if other != outcome.as_str() {
            differences.push((end, whole("", "how the run ended", outcome.as_str(), other)));
        }
        let tree = |tree: &Option<String>| tree.clone().unwrap_or_else(|| "none".to_owned());
        if recorded.head.tree != came.head.tree {
            let (one, other) = (tree(&recorded.head.tree), tree(&came.head.tree));
            differences.push((end, whole("", "the tree the run left", &one, &other)));
        }
    }
    differences.sort_by_key(|(at, _)| *at);
    found.differences = differences.into_iter().map(|(_, difference)| difference).collect();
    found
}

fn tries(cassette: &Cassette) -> BTreeMap<(&str, u32), Steps<'_>> {
    let mut tries: BTreeMap<(&str, u32), Steps<'_>> = BTreeMap::new();
    for (at, entry) in cassette.entries.iter().enumerate() {
        let Some((turn, stage, call)) = place(&entry.said) else { continue };
        let steps = tries.entry((&entry.node, entry.attempt)).or_default();
        let again = steps.range((turn, stage, call, 0)..=(turn, stage, call, u32::MAX)).count() as u32;
        steps.insert((turn, stage, call, again), (at, entry));
    }
    tries
}

/// Where a step is compared; `None`: it follows from another one.
fn place(said: &Said) -> Option<(u32, u8, u32)> {
    Some(match said {
        Said::Step(step) => match step {
            Step::Told { turn, .. } | Step::Compacted { turn, .. } => (*turn, 0, 0),
            Step::ModelCalled { turn, .. } => (*turn, 1, 0),
            Step::ModelAnswered { turn, .. } | Step::ModelFailed { turn, .. } => (*turn, 2, 0),
            Step::Offered { .. }
            | Step::ToolCalled { .. }
            | Step::HookAsked { .. }
            | Step::HookAnswered { .. }
            | Step::HookFailed { .. } => return None,
            Step::ToolReturned { turn, call, .. } => (*turn, 3, *call),
        },
        Said::Http { .. } => (u32::MAX, 0, 0),
        Said::Gate { .. } => (u32::MAX, 1, 0),
        Said::End(_) => (u32::MAX, 2, 0),
    })
}

fn one_try(
    recorded: &Steps<'_>,
    came: &Steps<'_>,
    found: &mut Comparison,
    differences: &mut Vec<(usize, Difference)>,
) {
    // After the first request that differs, every later one does.
    let mut asked_otherwise = false;
    for (place, (at, old)) in recorded {
        found.compared += 1;
        let Some((_, new)) = came.get(place) else {
            let instead = came
                .range(place..)
                .next()
                .map_or_else(|| "nothing".to_owned(), |(_, (_, entry))| named(entry));
            differences.push((*at, missing(old, "a step", &named(old), &instead)));
            return;
        };
        let same_next = || {
            let next = (place.0.saturating_add(1), 1, 0, 0);
            let digest =
                |steps: &Steps<'_>| steps.get(&next).and_then(|(_, entry)| request(entry).map(str::to_owned));
            digest(recorded).filter(|digest| !digest.is_empty()).is_some_and(|one| digest(came) == Some(one))
        };
        match between(old, new, same_next) {
            Verdict::Same => {}
            Verdict::Accident => found.accidents += 1,
            Verdict::Otherwise { request: true, .. } if asked_otherwise => {}
            Verdict::Otherwise { request, what, recorded, came } => {
                asked_otherwise |= request;
                differences.push((*at, Difference { recorded, came, ..missing(old, &what, "", "") }));
            }
        }
    }
    let complete = recorded.values().any(|(_, entry)| matches!(entry.said, Said::End(_) | Said::Gate { .. }));
    let more = came.iter().find(|(place, _)| !recorded.contains_key(place));
    if let (true, Some((place, (_, new)))) = (complete, more) {
        let at = recorded.range(..place).next_back().map_or(0, |(_, (at, _))| *at);
        differences.push((at, missing(new, "a step", "nothing", &named(new))));
    }
}

fn request(entry: &Entry) -> Option<&str> {
    match &entry.said {
        Said::Step(Step::ModelCalled { request, .. }) => Some(request),
        _ => None,
    }
}

enum Verdict {
    Same,
    Accident,
    Otherwise { request: bool, what: String, recorded: String, came: String },
}

fn otherwise(what: impl Into<String>, recorded: impl Into<String>, came: impl Into<String>) -> Verdict {
    Verdict::Otherwise { request: false, what: what.into(), recorded: recorded.into(), came: came.into() }
}

/// `same_next` says that the model was then asked the same, so that what differs is an accident or the place of the
/// workspace.
fn between(old: &Entry, new: &Entry, same_next: impl Fn() -> bool) -> Verdict {
    match (&old.said, &new.said) {
        (
            Said::Step(Step::ModelCalled { request: one, .. }),
            Said::Step(Step::ModelCalled { request: other, .. }),
        ) => {
            if one == other || one.is_empty() || other.is_empty() {
                return Verdict::Same;
            }
            let what = "what the model is asked".to_owned();
            Verdict::Otherwise { request: true, what, recorded: short_digest(one), came: short_digest(other) }
        }
        (
            Said::Step(Step::ToolReturned { tool, outcome: one, tree: one_tree, .. }),
            Said::Step(Step::ToolReturned { outcome: other, tree: other_tree, .. }),
        ) => {
            let what = || format!("the result of `{tool}`");
            let ((one_kind, one), (other_kind, other)) = (text_of(one), text_of(other));
            if one_kind != other_kind {
                return otherwise(
                    what(),
                    format!("{one_kind}: {}", excerpt(&one)),
                    format!("{other_kind}: {}", excerpt(&other)),
                );
            }
            if one_tree != other_tree {
                let tree = |tree: &Option<String>| {
                    tree.clone().unwrap_or_else(|| "the workspace as before".to_owned())
                };
                return otherwise(format!("the workspace after `{tool}`"), tree(one_tree), tree(other_tree));
            }
            texts(&one, &other, what, same_next)
        }
        (Said::Step(Step::Told { text: one, .. }), Said::Step(Step::Told { text: other, .. })) => {
            texts(one, other, || "what the engine told the model".to_owned(), same_next)
        }
        (Said::Step(Step::ModelAnswered { .. }), Said::Step(Step::ModelFailed { message, .. })) => {
            otherwise("the answer of the model", "an answer", excerpt(message))
        }
        (Said::Http { request: one, .. }, Said::Http { request: other, .. }) => {
            if one == other || one.is_empty() || other.is_empty() {
                return Verdict::Same;
            }
            otherwise("what the server is asked", short_digest(one), short_digest(other))
        }
        (Said::End(one), Said::End(other)) => ends(one, other),
        // What was played back is what was recorded.
        _ => Verdict::Same,
    }
}

fn ends(old: &End, new: &End) -> Verdict {
    let told = |end: &End| match end {
        End::Succeeded { .. } => "it succeeded".to_owned(),
        End::Failed { class, message, .. } => format!("it failed ({}): {}", class.as_str(), excerpt(message)),
    };
    let tree = |tree: &Option<String>| tree.clone().unwrap_or_else(|| "what it started from".to_owned());
    let (one_tree, other_tree) = match (old, new) {
        (
            End::Succeeded { outputs: one, tree: one_tree },
            End::Succeeded { outputs: other, tree: other_tree },
        ) => {
            let text = |outputs: &Option<Value>| {
                outputs.as_ref().map_or_else(|| "none".to_owned(), Value::to_string)
            };
            match texts(&text(one), &text(other), || "the outputs of the node".to_owned(), || false) {
                Verdict::Same => {}
                other => return other,
            }
            (one_tree, other_tree)
        }
        (
            End::Failed { class: one, fingerprint: one_mark, tree: one_tree, .. },
            End::Failed { class: other, fingerprint: other_mark, tree: other_tree, .. },
        ) => {
            let marks_differ =
                one_mark.as_ref().zip(other_mark.as_ref()).is_some_and(|(one, other)| one != other);
            if one != other || marks_differ {
                return otherwise("how the node failed", told(old), told(new));
            }
            (one_tree, other_tree)
        }
        _ => return otherwise("the end of the node", told(old), told(new)),
    };
    if one_tree == other_tree {
        Verdict::Same
    } else {
        otherwise("the tree the node left", tree(one_tree), tree(other_tree))
    }
}

fn texts(one: &str, other: &str, what: impl Fn() -> String, same_next: impl Fn() -> bool) -> Verdict {
    if one == other {
        return Verdict::Same;
    }
    let (steady_one, steady_other) = (steady(one), steady(other));
    if steady_one == steady_other || same_next() {
        return Verdict::Accident;
    }
    // Of what differs the first line says most; it is shown as it really was.
    let differs = steady_one.lines().zip(steady_other.lines()).position(|(one, other)| one != other);
    let shortest = steady_one.lines().count().min(steady_other.lines().count());
    let at = differs.unwrap_or(shortest);
    let line = |text: &str| text.lines().nth(at).map_or_else(|| "nothing more".to_owned(), excerpt);
    let what = format!("{}, line {}", what(), at + 1);
    let (shown_one, shown_other) = (line(one), line(other));
    if shown_one == shown_other {
        // Verdicts of tests were put in order for the comparison.
        return otherwise(what, line(&steady_one), line(&steady_other));
    }
    otherwise(what, shown_one, shown_other)
}

fn text_of(outcome: &ToolOutcome) -> (&'static str, String) {
    match outcome {
        ToolOutcome::Done(text) => ("done", text.clone()),
        ToolOutcome::Failed(text) => ("failed", text.clone()),
        ToolOutcome::Finish(value) => ("finished", value.to_string()),
    }
}

fn missing(entry: &Entry, what: &str, recorded: &str, came: &str) -> Difference {
    let turn = match &entry.said {
        Said::Step(step) => Some(step.turn()),
        Said::Http { .. } | Said::Gate { .. } | Said::End(_) => None,
    };
    Difference {
        node: entry.node.clone(),
        round: entry.round,
        attempt: entry.attempt,
        turn,
        what: what.to_owned(),
        recorded: recorded.to_owned(),
        came: came.to_owned(),
    }
}

fn named(entry: &Entry) -> String {
    match &entry.said {
        Said::Step(Step::ModelCalled { .. }) => "the model is asked".to_owned(),
        Said::Step(Step::ModelAnswered { .. }) => "the model answers".to_owned(),
        Said::Step(Step::ModelFailed { message, .. }) => format!("the model fails: {}", excerpt(message)),
        Said::Step(Step::Offered { .. }) => "servers offer other tools".to_owned(),
        Said::Step(Step::HookAsked { hook, .. }) => format!("the hook `{hook}` asks a model"),
        Said::Step(Step::HookAnswered { hook, .. }) => format!("the model of the hook `{hook}` answers"),
        Said::Step(Step::HookFailed { hook, .. }) => format!("the model of the hook `{hook}` fails"),
        Said::Step(Step::ToolCalled { tool, .. }) => format!("`{tool}` is called"),
        Said::Step(Step::ToolReturned { tool, .. }) => format!("`{tool}` returns"),
        Said::Step(Step::Told { .. }) => "the engine corrects the model".to_owned(),
        Said::Step(Step::Compacted { .. }) => "the conversation is shortened".to_owned(),
        Said::Http { status, .. } => format!("the server answers {status}"),
        Said::Gate { decision, .. } => format!("somebody decides: {decision:?}").to_lowercase(),
        Said::End(End::Succeeded { .. }) => "the node succeeds".to_owned(),
        Said::End(End::Failed { class, message, .. }) => {
            format!("the node fails ({}): {}", class.as_str(), excerpt(message))
        }
    }
}

fn short_digest(digest: &str) -> String {
    format!("request {}", digest.get(..12).unwrap_or(digest))
}

fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(EXCERPT).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}
