//! What a scenario gives in place of the outside world: ends of nodes, answers of servers and models, decisions, faults.

use std::sync::Arc;

use blueprint_agent::model::Script;
use blueprint_core::format::Workspace;
use blueprint_core::graph::{Action, Mind, Node};
use blueprint_core::run::{Decision, Failure, FailureClass};
use blueprint_core::source::resolve_path;
use serde_json::{Map, Value};
use toml::Spanned;

use super::super::file::{Ends, FaultTable, GateTable, HttpTable, Keyed, ModelTable, StubTable};
use super::super::wrong::unknown;
use super::super::{Answer, Fault, FaultKind, Says, Stub, Verdict};
use super::{Reader, is_agent, is_work};
use crate::cassette::Cassette;
use crate::outputs::fits as type_fits;

impl Reader<'_> {
    pub(super) fn stub(&mut self, key: &Spanned<String>, nodes: &[&Node], table: StubTable) -> Stub {
        let mut writes = Vec::new();
        for (path, text) in &table.writes {
            if self.is_path(path) {
                writes.push((path.get_ref().clone(), text.clone()));
            }
        }
        if let (Some((path, _)), Some(node)) =
            (table.writes.first_key_value(), nodes.iter().find(|node| node.workspace != Workspace::Write))
        {
            self.say(&path.span(), format!("`{}` cannot write: its `workspace` is not \"write\"", node.name));
        }
        if let Ends::Failed = table.ends {
            if let Some((output, _)) = table.outputs.first_key_value() {
                self.say(&output.span(), "a node that failed has no outputs");
            }
            let class = table.class.map_or(FailureClass::Command, Spanned::into_inner);
            let message =
                table.message.map_or_else(|| "failed, as the scenario says".to_owned(), Spanned::into_inner);
            let fingerprint = class.repairable().then(|| crate::fingerprint::of(&message, &[]));
            return Stub { end: Err(Failure { fingerprint, ..Failure::new(class, message) }), writes };
        }
        let stray =
            table.class.as_ref().map(Spanned::span).or_else(|| table.message.as_ref().map(Spanned::span));
        if let Some(range) = stray {
            self.say(&range, "only a node that `ends = \"failed\"` has a class and a message");
        }
        for node in nodes {
            for (name, value) in &table.outputs {
                match node.outputs.iter().find(|output| *output.name == **name.get_ref()) {
                    None => {
                        let known = node.outputs.iter().map(|output| &*output.name);
                        let message = unknown(&format!("output of `{}`", node.name), name.get_ref(), known);
                        self.say(&name.span(), message);
                    }
                    Some(output) if !type_fits(output.ty, value) => {
                        let message = format!("the output `{}` is not of type {}", output.name, output.ty);
                        self.say(&name.span(), message);
                    }
                    Some(_) => {}
                }
            }
            for output in &node.outputs {
                if !table.outputs.keys().any(|name| **name.get_ref() == *output.name) {
                    let message = format!("the stub of `{}` lacks the output `{}`", node.name, output.name);
                    self.say(&key.span(), message);
                }
            }
        }
        let outputs: Map<String, Value> =
            table.outputs.into_iter().map(|(name, value)| (name.into_inner(), value)).collect();
        Stub { end: Ok((!outputs.is_empty()).then_some(Value::Object(outputs))), writes }
    }

    pub(super) fn answer(&mut self, key: &Spanned<String>, _: &[&Node], table: HttpTable) -> Answer {
        if !(100..600).contains(&table.status) {
            self.say(&key.span(), format!("{} is not a status of HTTP", table.status));
        }
        let headers =
            table.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into()));
        let body = match table.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(value) => value.to_string().into_bytes(),
        };
        Answer { status: table.status, headers: headers.collect(), body }
    }

    pub(super) fn verdict(&mut self, _: &Spanned<String>, nodes: &[&Node], table: GateTable) -> Verdict {
        let by = table.by.get_ref().0.clone();
        let wants = nodes.iter().find_map(|node| match &node.action {
            Action::Gate(gate) if gate.min as usize > by.len() => Some((&node.name, gate.min)),
            _ => None,
        });
        if let (Some((name, min)), Decision::Approved) = (wants, table.decision.get_ref()) {
            let message =
                format!("`{name}` wants {min} approvals: name so many people, `by = [\"ada\", \"ben\"]`");
            self.say(&table.by.span(), message);
        }
        Verdict { decision: table.decision.into_inner(), by, reason: table.reason }
    }

    pub(super) fn models(&mut self, tables: Keyed<ModelTable>) -> Vec<(String, Says)> {
        let mut aliases: Vec<&str> = Vec::new();
        for node in self.program.nodes() {
            if let Action::Agent(agent) = &node.action
                && let Mind::Model { model, .. } = &agent.mind
            {
                aliases.push(model);
            }
        }
        let mut all = Vec::new();
        for (key, table) in tables {
            if !aliases.contains(&key.get_ref().as_str())
                && !self.nodes(key.get_ref()).into_iter().any(is_agent)
            {
                let agents = self.program.nodes().filter(|node| is_agent(node)).map(|node| &*node.name);
                let known: Vec<&str> = agents.chain(aliases.iter().copied()).collect();
                self.say(&key.span(), unknown("agent or model", key.get_ref(), known));
            }
            if let Some(script) = self.script(&key, table) {
                all.push((key.into_inner(), script));
            }
        }
        all
    }

    /// What stands in for a model: turns in the scenario, or a file beside it.
    fn script(&mut self, key: &Spanned<String>, table: ModelTable) -> Option<Says> {
        let own = !table.turns.is_empty() || table.price.is_some() || table.window.is_some();
        let file = match (&table.script, &table.cassette) {
            (Some(_), Some(other)) => {
                self.say(&other.span(), "a model is a `script` or a `cassette`, not both");
                return None;
            }
            (file, None) | (None, file) => file,
        };
        let Some(file) = file else {
            if table.turns.is_empty() {
                let message =
                    format!("`{}` says nothing: write `turn`, `script` or `cassette`", key.get_ref());
                self.say(&key.span(), message);
                return None;
            }
            return Some(Says::Script(Script {
                price: table.price,
                window: table.window,
                turns: table.turns,
            }));
        };
        if own {
            self.say(&file.span(), "the turns, the price and the window are those of the file");
            return None;
        }
        let path = resolve_path(self.path, file.get_ref()).and_then(|path| self.inside(&path));
        let Some(path) = path.filter(|path| path.is_file()) else {
            self.say(&file.span(), format!("there is no file `{}` beside this one", file.get_ref()));
            return None;
        };
        let read = if table.cassette.is_some() {
            Cassette::read(&path)
                .map(|cassette| Says::Cassette(Arc::new(cassette)))
                .map_err(|error| crate::chain(&error))
        } else {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            text.and_then(|text| Script::parse(&text).map_err(|error| error.to_string())).map(Says::Script)
        };
        read.map_err(|why| self.say(&file.span(), why)).ok()
    }

    pub(super) fn fault(&mut self, table: FaultTable) -> Option<Fault> {
        let what = *table.what.get_ref();
        if what == FaultKind::CiRed {
            let message =
                "`ci_red` cannot happen in this release, which has no ci nodes: they come with release 0.5";
            self.say(&table.what.span(), message);
            return None;
        }
        let named = format!("fault `{}`", what.as_str());
        let fit = |node: &Node| match what {
            _ if what.is_of_agents() => is_agent(node),
            FaultKind::SandboxMemory => matches!(node.action, Action::Run(_)),
            _ => is_work(node),
        };
        self.fitting(&table.at, &named, fit);
        if let Some(turn) = table.turn.as_ref().filter(|turn| !what.is_of_agents() || *turn.get_ref() == 0) {
            self.say(
                &turn.span(),
                "`turn` is the turn of an agent, from 1, for faults of its model and its tools",
            );
        }
        if let Some(times) = table.times.as_ref().filter(|times| !(1..=1000).contains(times.get_ref())) {
            self.say(&times.span(), "`times` is 1 to 1000");
        }
        Some(Fault {
            line: self.line(&table.at.span()),
            at: table.at.into_inner(),
            round: table.round,
            turn: table.turn.map(Spanned::into_inner),
            what,
            times: table.times.map_or(1, Spanned::into_inner),
        })
    }
}
