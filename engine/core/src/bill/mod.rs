//! What a run can cost at most, before it starts: calls of models, tokens, money, sandboxes, rounds of CI, interruptions of
//! people, and time. An upper bound for every way through the graph; where there is none, it says which node has none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::graph::Program;

pub use bound::Bound;

mod bound;
mod count;

/// What is known outside of the blueprint.
#[derive(Debug, Clone)]
pub struct Rates {
    /// What models can use up in one call, by the name that a blueprint gives them.
    pub models: BTreeMap<String, Rate>,
    /// How many nodes run at the same time.
    pub jobs: u32,
    /// The time limit of a command without one.
    pub command: Duration,
    /// The time limit of an agent without one.
    pub agent: Duration,
    /// The time limit of a request without one.
    pub request: Duration,
    /// Whether hooks of the settings ask models as well: nobody knows how often.
    pub asking: bool,
}

/// What one call of a model can use up. `None` is not known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// How often a call is made at most before it is given up, each of which may be billed.
    pub tries: u32,
    /// Tokens of one try, in and out.
    pub tokens: Option<u64>,
    /// Money of one try, in millionths of a US dollar.
    pub micros: Option<u64>,
}

/// The bill of one node, for all its tries in all rounds and for all items together.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its path, without the numbers of items.
    pub node: String,
    /// How often it runs.
    pub times: Bound,
    /// What it uses up.
    #[serde(flatten)]
    pub most: Most,
}

/// What can be used up at most.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Most {
    /// Calls of models, tries among them.
    pub calls: Bound,
    /// Tokens of models, in and out.
    pub tokens: Bound,
    /// Money, in millionths of a US dollar.
    pub cost_micros: Bound,
    /// Sandboxes that are started.
    pub sandboxes: Bound,
    /// Rounds of CI.
    pub ci_rounds: Bound,
    /// Times that people are asked.
    pub questions: Bound,
    /// Work, in milliseconds, one after the other.
    pub work_ms: Bound,
}

/// The bill of a program.
#[derive(Debug, Clone, Serialize)]
pub struct Bill {
    /// All together. The budget of the blueprint is what bounds them where it is tighter.
    pub total: Most,
    /// Time from start to end in milliseconds, without the time that people take.
    pub wall_ms: Bound,
    /// The nodes of the longest way, by name.
    pub longest: Vec<String>,
    /// The nodes that use up something, the dearest first.
    pub lines: Vec<Line>,
    /// What the budget of the blueprint bounds.
    pub capped: Vec<&'static str>,
}

impl Bill {
    /// Works it out, in time linear in nodes and edges.
    pub fn of(program: &Program, rates: &Rates) -> Self {
        count::bill(program, rates)
    }
}
