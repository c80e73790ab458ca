//! Why something has its tier: from where it came, and by which steps, in words that stand in a finding.

use std::fmt::Write;

use serde::Serialize;

use super::flow::From;
use super::source::Source;
use super::{Port, Trust};
use crate::format::Tier;
use crate::graph::{GraphIx, NodeIx, Program};
use crate::source::Span;

/// One step by which something came to a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// The node it came from, as people call it; none for the run itself.
    pub from: Option<String>,
    /// The node it came to.
    pub to: String,
    /// How.
    pub by: By,
}

/// How something comes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The workspace that one leaves is what the other starts from.
    Workspace,
    /// One reads the outputs of the other.
    Outputs,
    /// An input that the other reads.
    Input,
    /// A further round is told why the one before failed.
    Round,
    /// One runs after the other.
    Order,
}

/// Why something has its tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The tier.
    pub tier: Tier,
    /// The node, or the input, it starts with.
    pub origin: Option<String>,
    /// Why that is of this tier.
    pub source: Option<Source>,
    /// Where that is written, if it is a node.
    #[serde(skip)]
    pub span: Option<Span>,
    /// How it came from there.
    pub steps: Vec<Because>,
}

pub(super) fn of(trust: &Trust, program: &Program, port: Port) -> Reason {
    let mut ports = vec![port];
    let mut at = trust.ports.number(port);
    let (tier, source) = loop {
        match trust.spread.from(at) {
            None => {
                return Reason {
                    tier: Tier::Trusted,
                    origin: None,
                    source: None,
                    span: None,
                    steps: Vec::new(),
                };
            }
            Some((tier, From::Source(source))) => break (tier, source),
            Some((_, From::Port(from))) => {
                ports.push(trust.ports.port(from));
                at = from;
            }
        }
    };
    ports.reverse();
    let origin = ports.first().map(|first| called(program, *first));
    let span = ports
        .first()
        .and_then(|first| first.node())
        .map(|(graph, node)| program.graph(graph).node(node).span.clone());
    let mut steps: Vec<Because> = Vec::new();
    for pair in ports.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let Some((graph, node)) = after.node() else { continue };
        if before.node() == Some((graph, node)) {
            continue;
        }
        let to = name(program, graph, node);
        // The last node that was named before is where it came from, however many graphs lie between.
        let from = ports[..ports.iter().position(|port| *port == after).unwrap_or_default()]
            .iter()
            .rev()
            .find_map(|port| port.node())
            .map(|(graph, node)| name(program, graph, node));
        let by = match (before, after) {
            (_, Port::Tree(..) | Port::Made(..) | Port::Left(..)) => By::Workspace,
            (Port::Input(..) | Port::Item(_), _) => By::Input,
            (Port::Work(..) | Port::Passed(..), Port::Reads(..)) => By::Round,
            (_, Port::Reads(..) | Port::Output(..)) => By::Outputs,
            _ => By::Order,
        };
        match steps.last_mut() {
            // Where only the order matters, every node between says the same.
            Some(last) if last.by == By::Order && by == By::Order => last.to = to,
            _ => steps.push(Because { from, to, by }),
        }
    }
    Reason { tier, origin, source: Some(source), span, steps }
}

impl Port {
    /// The node it belongs to.
    pub fn node(self) -> Option<(GraphIx, NodeIx)> {
        match self {
            Self::Tree(graph, node)
            | Self::Reads(graph, node)
            | Self::Work(graph, node)
            | Self::Left(graph, node)
            | Self::Made(graph, node)
            | Self::Output(graph, node)
            | Self::Reached(graph, node)
            | Self::Passed(graph, node)
            | Self::Granted(graph, node) => Some((graph, node)),
            Self::Entry(_) | Self::Before(_) | Self::Item(_) | Self::Returned(_) | Self::Input(..) => None,
        }
    }
}

fn name(program: &Program, graph: GraphIx, node: NodeIx) -> String {
    let (graph, node) = (program.graph(graph), program.graph(graph).node(node));
    match graph.kind {
        crate::graph::SubKind::Blueprint if graph.name != program.name => {
            format!("{}/{}", graph.name, node.name)
        }
        _ => node.name.to_string(),
    }
}

fn called(program: &Program, port: Port) -> String {
    match port {
        Port::Input(graph, input) => format!("inputs.{}", program.graph(graph).inputs[input as usize].name),
        other => other.node().map(|(graph, node)| name(program, graph, node)).unwrap_or_default(),
    }
}

impl Reason {
    /// In sentences, such as "`fix` is generated: a model chooses what it does. It writes the workspace of `test`.".
    pub fn sentences(&self) -> String {
        let (Some(source), Some(origin)) = (self.source, &self.origin) else {
            return "nothing less trusted reaches it".to_owned();
        };
        let tier = self.tier.as_str();
        let mut text = match source {
            Source::Declared | Source::Default => format!("`{origin}` is declared {tier}"),
            Source::Model => format!("`{origin}` is {tier}: a model chooses what it does"),
            Source::Program => {
                format!("`{origin}` is {tier}: a program in its own loop chooses what it does")
            }
            Source::Hosts => {
                format!("`{origin}` is {tier}: it reads what strangers may have written on hosts it reaches")
            }
            Source::Response => format!("what `{origin}` is answered is {tier}: a server says what it likes"),
            Source::Input => format!("`{origin}` is {tier}: others may have written it"),
            Source::Base => {
                format!("the tree that the run starts from is {tier}: others may have written it")
            }
        };
        for Because { from, to, by } in &self.steps {
            let from = from.as_ref().map_or_else(|| "it".to_owned(), |from| format!("`{from}`"));
            let _ = match by {
                By::Workspace => write!(text, "; `{to}` starts from the workspace that {from} leaves"),
                By::Outputs => write!(text, "; `{to}` reads outputs of {from}"),
                By::Input => write!(text, "; `{to}` reads it"),
                By::Round => write!(text, "; `{to}` is told why {from} failed"),
                By::Order => write!(text, "; `{to}` comes after {from}"),
            };
        }
        text
    }
}
