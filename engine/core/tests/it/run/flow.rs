//! What the check says of trust and of invariants, against what happens: random blueprints with sources of every tier,
//! secrets, effects and gates, run with random luck and watched by somebody who follows every single thing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use blueprint_core::bill::{Bill, Bound, Rates};
use blueprint_core::check::compile;
use blueprint_core::finding::Code;
use blueprint_core::graph::Program;
use blueprint_core::run::{Command, Event};
use blueprint_core::source::SourceSet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::random::{Dice, follows};
use super::script::Script;
use super::spec::{Expect, Kind, Nodes, Spec, name, specs, upstream};
use super::world::{Trouble, World};
use claims::Claim;
use watcher::{Facts, Watcher};

mod claims;
mod watcher;

/// What a node is besides what the state machine cares for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extra {
    /// The tier it declares.
    tier: Option<&'static str>,
    workspace: &'static str,
    /// A node before it whose output it reads.
    reads: Option<usize>,
    /// It reads an input.
    input: bool,
    secret: bool,
    /// It is a request that changes something.
    commit: bool,
}

/// A blueprint with all of it.
struct Decorated<'a> {
    spec: &'a Spec,
    seed: u64,
}

impl Decorated<'_> {
    fn extra(&self, graph: usize, node: usize) -> Extra {
        let nodes = &self.spec.graphs[graph];
        let mut dice = Dice(follows((self.seed, graph, node)));
        let tier = match dice.below(12) {
            0 => Some("untrusted"),
            1 | 2 => Some("generated"),
            3 => Some("internal"),
            _ => None,
        };
        let workspace = ["write", "write", "write", "read", "scratch", "none", "none"][dice.below(7)];
        let before: Vec<usize> = upstream(nodes, node)
            .into_iter()
            .filter(|other| *other != node && nodes[*other].kind == Kind::Run && nodes[*other].each.is_none())
            .collect();
        let reads = (!before.is_empty() && dice.chance(50)).then(|| before[dice.below(before.len())]);
        let simple = nodes[node].expect == Expect::Success && nodes[node].each.is_none();
        Extra {
            tier,
            workspace,
            reads,
            input: dice.chance(20),
            secret: dice.chance(20),
            commit: simple && dice.chance(15),
        }
    }

    fn input_tier(&self) -> &'static str {
        ["trusted", "trusted", "internal", "untrusted"][(self.seed % 4) as usize]
    }

    /// The files. Without `perils` nothing is left that could be refused, and everything flows as before.
    fn texts(&self, perils: bool, claims: &[Claim]) -> Vec<(String, String)> {
        let graphs = self.spec.graphs.iter().enumerate();
        graphs
            .map(|(graph, nodes)| {
                let mut text = "[inputs]\ngo = { type = \"boolean\", default = true }\nitems = { type = \"list\", default = [] }\n".to_owned();
                // The secret of a blueprint that is used is its own.
                let _ = writeln!(text, "token = {{ type = \"secret\" }}\nx = {{ type = \"string\", default = \"\", tier = \"{}\" }}", if graph == 0 { self.input_tier() } else { "trusted" });
                for (number, node) in nodes.iter().enumerate() {
                    let extra = self.extra(graph, number);
                    let _ = write!(text, "{}", node.text(number, &work(&extra, perils, node.each.is_some())));
                    if matches!(node.kind, Kind::Use(_)) {
                        let x = match extra.reads {
                            Some(other) => format!("\"nodes.{}.o | default('')\"", name(other)),
                            None if node.each.is_some() && extra.input => "\"item\"".to_owned(),
                            None if extra.input => "\"inputs.x\"".to_owned(),
                            None => "\"'x'\"".to_owned(),
                        };
                        let _ = writeln!(text, "with = {{ x = {x}, token = \"inputs.token\" }}");
                    }
                }
                if graph == 0 {
                    for claim in claims {
 text.push_str(&claim.text());
 }
                }
                (format!("g{graph}"), text)
            })
            .collect()
    }

    /// What a watcher needs to know of a node.
    fn facts(&self, graph: &str, node: &str) -> Facts {
        let graph: usize = graph.trim_start_matches('g').parse().unwrap_or_default();
        let Ok(node) = node.trim_start_matches('n').parse::<usize>() else { return Facts::default() };
        let extra = self.extra(graph, node);
        let run = self.spec.graphs[graph][node].kind == Kind::Run;
        Facts {
            tier: extra.tier.unwrap_or("trusted"),
            workspace: extra.workspace != "none" && run && !extra.commit,
            secret: extra.secret && run && !extra.commit,
            commit: extra.commit && run,
            reads: extra.reads.map(name),
            input: extra.input,
        }
    }
}

fn work(extra: &Extra, perils: bool, each: bool) -> String {
    let value = match (extra.reads, extra.input) {
        (Some(other), _) => Some(format!("nodes.{}.o | default('')", name(other))),
        (None, true) if each => Some("item".to_owned()),
        (None, true) => Some("inputs.x".to_owned()),
        (None, false) => None,
    };
    if extra.commit {
        let url = value.map_or_else(String::new, |value| format!("{{{{ {value} }}}}"));
        let effect = if perils { "" } else { ", effect = \"propose\"" };
        return format!(
            "http = {{ url = \"https://example.org/{url}\", method = \"POST\"{effect} }}\noutput = {{ o = {{ type = \"string\", from = \"body\" }} }}\ntier = \"{}\"\n",
            extra.tier.unwrap_or("trusted")
        );
    }
    let mut text =
        format!("run = \"true\"\noutput = {{ o = \"string\" }}\nworkspace = \"{}\"\n", extra.workspace);
    if let Some(value) = value {
        let _ = writeln!(text, "args = [\"{value}\"]");
    }
    if extra.secret && perils {
        let _ = writeln!(text, "env = {{ TOKEN = \"inputs.token\" }}");
    }
    if let Some(tier) = extra.tier {
        // What is declared must not be better than what reaches it, so it is only ever declared to be worse.
        let _ = writeln!(text, "tier = \"{tier}\"");
    }
    text
}

fn sound(texts: &[(String, String)]) -> Arc<Program> {
    let checked = compile(&sources(texts));
    checked.program.unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

fn sources(texts: &[(String, String)]) -> SourceSet {
    let path = |name: &str| format!("blueprints/{name}.toml");
    let files =
        texts.iter().map(|(name, text)| (path(name), format!("schema = 1\nname = \"{name}\"\n{text}")));
    SourceSet { entry: path("g0"), files: files.collect() }
}

/// What came of all cases together.
#[derive(Debug, Default)]
struct Count {
    runs: usize,
    /// Cases the check refused, and those of them in which something came to pass that it refused them for.
    refused: usize,
    rightly: usize,
    declared: usize,
    claims: usize,
    held: usize,
    broken: usize,
}

fn runner(usual: u32) -> TestRunner {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is for whoever starts it")]
    let cases =
        std::env::var("BLUEPRINT_FLOW_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 5_000, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

/// One run of a blueprint, watched: what came to pass that must not.
fn watched(
    decorated: &Decorated<'_>,
    program: &Arc<Program>,
    claims: &[Claim],
    luck: u64,
    dice: u64,
) -> Vec<String> {
    let trouble = [0, 10, 30, 60][(luck % 4) as usize];
    let script = Script { seed: luck, trouble };
    let seen = Rc::new(RefCell::new(Watcher::new(decorated.input_tier(), claims.to_vec())));
    let watcher = Rc::clone(&seen);
    let spec = Spec { graphs: decorated.spec.graphs.clone(), jobs: decorated.spec.jobs };
    let seed = decorated.seed;
    let mut world = World::new(Arc::clone(program), spec.jobs, script, dice, Trouble::Little).observed(
        move |state, event| {
            let decorated = Decorated { spec: &spec, seed };
            watcher.borrow_mut().see(state, event, &|graph, node| decorated.facts(graph, node));
        },
    );
    world.run();
    drop(world);
    let seen = Rc::try_unwrap(seen).unwrap_or_else(|_| panic!("somebody still watches")).into_inner();
    seen.violations()
}

fn one(spec: &Spec, seed: u64, count: &RefCell<Count>) -> Result<(), TestCaseError> {
    let decorated = Decorated { spec, seed };
    let mut count = count.borrow_mut();
    let texts = decorated.texts(true, &[]);
    let findings = compile(&sources(&texts)).findings;
    let has = |code: Code| findings.iter().any(|finding| finding.code == code);
    let (perilous, declared) = (has(Code::SecretReached) || has(Code::EffectReached), has(Code::TierTooGood));
    if declared {
        // A declaration that is too good says nothing of the others; there is nothing to run.
        count.declared += 1;
        return Ok(());
    }
    let errors: Vec<_> =
        findings.iter().filter(|f| f.severity == blueprint_core::finding::Severity::Error).collect();
    prop_assert!(
        errors.iter().all(|f| matches!(f.code, Code::SecretReached | Code::EffectReached)),
        "{errors:#?}"
    );
    // What is refused runs without what it is refused for, to see whether that would ever have mattered.
    let program = sound(&if perilous { decorated.texts(false, &[]) } else { texts });
    let mut violated = false;
    for round in 0..10_u64 {
        let violations = watched(&decorated, &program, &[], follows((seed, round)), seed ^ round);
        let (allowed, others): (Vec<_>, Vec<_>) =
            violations.into_iter().partition(|said| perilous && !said.starts_with("taint"));
        prop_assert!(others.is_empty(), "{others:#?}");
        violated |= !allowed.is_empty();
        count.runs += 1;
    }
    count.refused += usize::from(perilous);
    count.rightly += usize::from(perilous && violated);
    Ok(())
}

#[test]
fn nothing_that_is_called_safe_is_ever_violated() {
    let count = RefCell::new(Count::default());
    let tested = runner(12_000).run(&(specs(), any::<u64>()), |(spec, seed)| one(&spec, seed, &count));
    let count = count.into_inner();
    println!(
        "{} runs; {} blueprints refused for secrets or effects, {} of them rightly in 10 runs of theirs ({} % of refusals \
         were for what these runs did not show); {} refused for a tier",
        count.runs,
        count.refused,
        count.rightly,
        100 * (count.refused - count.rightly) / count.refused.max(1),
        count.declared,
    );
    if let Err(error) = tested {
        panic!("{error}");
    }
    assert!(count.runs > 0 && count.rightly > 0, "no case was perilous, so nothing was tested");
}

fn nodes(spec: &Spec) -> &Nodes {
    &spec.graphs[0]
}

#[test]
fn no_invariant_that_is_proved_is_ever_broken() {
    let count = RefCell::new(Count::default());
    let tested = runner(3_000).run(&(specs(), any::<u64>()), |(spec, seed)| {
        let decorated = Decorated { spec: &spec, seed };
        let claim = Claim::random(nodes(&spec), &mut Dice(seed));
        let findings = compile(&sources(&decorated.texts(false, &[claim]))).findings;
        if findings.iter().any(|finding| finding.code == Code::Hollow || finding.code == Code::TierTooGood) {
            return Ok(());
        }
        let broken = findings.iter().any(|finding| finding.code == Code::Broken);
        let mut count = count.borrow_mut();
        count.claims += 1;
        let program = sound(&decorated.texts(false, if broken { &[] } else { std::slice::from_ref(&claim) }));
        let mut seen = false;
        for round in 0..10_u64 {
            let violations = watched(&decorated, &program, &[claim], follows((seed, round)), seed ^ round);
            let said: Vec<_> = violations.into_iter().filter(|said| said.starts_with("claim")).collect();
            prop_assert!(broken || said.is_empty(), "{claim:?}: {said:#?}");
            seen |= !said.is_empty();
            count.runs += 1;
        }
        count.held += usize::from(!broken);
        count.broken += usize::from(seen);
        Ok(())
    });
    let count = count.into_inner();
    println!(
        "{} runs; {} invariants, {} proved, {} refused of which {} were seen to break in 10 runs of theirs",
        count.runs,
        count.claims,
        count.held,
        count.claims - count.held,
        count.broken,
    );
    if let Err(error) = tested {
        panic!("{error}");
    }
    assert!(count.held > 0 && count.broken > 0, "{count:?}");
}

/// Limits that matter to nobody here.
fn rates() -> Rates {
    let time = std::time::Duration::from_mins(1);
    Rates { models: BTreeMap::new(), jobs: 1, command: time, agent: time, request: time, asking: false }
}

#[test]
fn nothing_runs_more_often_than_the_bill_says() {
    let counted = RefCell::new((0, 0));
    let tested = runner(3_000).run(&(specs(), any::<u64>()), |(spec, seed)| {
        let texts = spec.texts();
        let program = sound(&texts);
        let bill = Bill::of(&program, &rates());
        let most: BTreeMap<String, Bound> =
            bill.lines.iter().map(|line| (line.node.clone(), line.times.clone())).collect();
        for round in 0..4_u64 {
            let luck = follows((seed, round));
            let script = Script { seed: luck, trouble: [10, 30, 60, 90][(luck % 4) as usize] };
            let seen: Rc<RefCell<BTreeMap<String, u64>>> = Rc::default();
            let counts = Rc::clone(&seen);
            let mut world = World::new(Arc::clone(&program), spec.jobs, script, luck, Trouble::Little)
                .observed(move |_, event| {
                    if let Event::Issued(Command::StartNode { node, .. } | Command::OpenGate { node, .. }) =
                        event
                    {
                        *counts.borrow_mut().entry(without_numbers(node)).or_default() += 1;
                    }
                });
            world.run();
            for (node, times) in seen.borrow().iter() {
                let allowed = most.get(node);
                prop_assert!(allowed.is_some(), "{node} is not on the bill: {most:?}");
                let allowed = allowed.and_then(Bound::most);
                prop_assert!(
                    allowed.is_none_or(|most| *times <= most),
                    "{node} ran {times} times of {allowed:?}"
                );
                let mut counted = counted.borrow_mut();
                counted.0 += 1;
                counted.1 += usize::from(allowed == Some(*times));
            }
        }
        Ok(())
    });
    let (all, exact) = counted.into_inner();
    println!("{all} nodes that ran, {exact} of them as often as the bill says");
    if let Err(error) = tested {
        panic!("{error}");
    }
}

/// The path of a node without the numbers of items.
fn without_numbers(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|letter| {
            let number = inside || *letter == '[';
            inside = number && *letter != ']';
            !number
        })
        .collect()
}
