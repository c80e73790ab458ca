//! What a node takes from its scope, and what becomes of it there. Lists names; never looks a value up.

use super::node::{Action, EditKind, HttpBody, McpWay, Mind, Node, Value};
use crate::expr::{Expr, Reference, Text};

/// What becomes of a value in the node that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// It decides whether the node runs.
    Condition,
    /// It becomes part of what a command, an agent, an edit or a request works with.
    Data,
    /// It is shown to the people at a gate.
    Question,
    /// It becomes a header of requests to one host, and commands never see it.
    Header,
    /// It is the list that a graph is run for.
    List,
    /// It becomes an input of another graph; the number is its place in `with`.
    With(usize),
}

impl Value {
    /// The names in it.
    pub fn references(&self) -> &[Reference] {
        match self {
            Self::Literal(_) => &[],
            Self::Expr(expr) => expr.references(),
        }
    }
}

impl Node {
    /// Every name that the node takes from its scope. Outputs of http nodes are taken from the answer and not from there.
    pub fn reads(&self) -> Vec<(Read, &Reference)> {
        let mut found = Reads(Vec::new());
        found.add(Read::Condition, self.when.iter().flat_map(Expr::references));
        match &self.action {
            Action::Run(run) => {
                let values = run.args.iter().chain(run.env.iter().map(|(_, value)| value));
                found.add(Read::Data, values.flat_map(Value::references));
                found.add(Read::Data, run.stdin.iter().flat_map(Text::references));
            }
            Action::Edit(edits) => edits.iter().for_each(|edit| match &edit.kind {
                EditKind::Replace { with: text, .. }
                | EditKind::Regex { with: text, .. }
                | EditKind::InsertAtLine { text, .. }
                | EditKind::InsertAtEnd { text, .. }
                | EditKind::Template(text) => found.add(Read::Data, text.references()),
                EditKind::Set { value, .. } => found.add(Read::Data, value.references()),
                EditKind::Patch(_) => {}
            }),
            Action::Http(http) => {
                found.add(Read::Data, http.url.references());
                found.add(Read::Header, http.headers.iter().flat_map(|(_, value)| value.references()));
                match &http.body {
                    HttpBody::Empty => {}
                    HttpBody::Text(text) => found.add(Read::Data, text.references()),
                    HttpBody::Json(fields) => {
                        found.add(Read::Data, fields.iter().flat_map(|(_, value)| value.references()));
                    }
                }
            }
            Action::Gate(gate) => found.add(Read::Question, gate.ask.iter().flat_map(Text::references)),
            Action::Use(uses) => {
                found.add(Read::List, uses.each.iter().flat_map(|each| each.list.references()));
                for (at, (_, value)) in uses.with.iter().enumerate() {
                    found.add(Read::With(at), value.references());
                }
            }
            Action::Agent(agent) => {
                let system = match &agent.mind {
                    Mind::Model { system, .. } | Mind::Script { system, .. } => system.as_ref(),
                    Mind::Program { .. } => None,
                };
                found.add(Read::Data, agent.prompt.iter().chain(system).flat_map(Text::references));
                found.add(Read::Data, agent.env.iter().flat_map(|(_, value)| value.references()));
                for server in &agent.mcp {
                    if let McpWay::Url { headers, .. } = &server.way {
                        found.add(Read::Header, headers.iter().flat_map(|(_, value)| value.references()));
                    }
                }
            }
            Action::Forge(forge) => found.add(Read::Data, forge.texts.iter().flat_map(Text::references)),
            Action::Wait(_) | Action::Ci => {}
        }
        found.0
    }
}

struct Reads<'a>(Vec<(Read, &'a Reference)>);

impl<'a> Reads<'a> {
    fn add(&mut self, read: Read, references: impl IntoIterator<Item = &'a Reference>) {
        self.0.extend(references.into_iter().map(|reference| (read, reference)));
    }
}
