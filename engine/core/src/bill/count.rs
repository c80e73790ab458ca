//! Counts: how often each node runs at most, what one time of it uses up, and how long the longest way is.

use std::time::Duration;

use petgraph::algo::toposort;
use serde_json::Value as Json;

use super::{Bill, Bound, Line, Most, Rates};
use crate::graph::{Action, Agent, Each, Graph, Mind, Node, NodeIx, Program, SubKind};

pub(super) fn bill(program: &Program, rates: &Rates) -> Bill {
    let mut count = Count { program, rates, lines: Vec::new() };
    let way = count.graph(program.root(), &Bound::AtMost(1), "");
    let mut total = Most::default();
    for line in &count.lines {
        total.add(&line.most);
    }
    // Graham, 1966: while a place is idle, the longest way is being walked.
    let wall = way.beyond.plus(&total.work_ms.part(u64::from(rates.jobs)));
    let budget = program.budget;
    let caps = [
        ("cost_usd", budget.cost_micros, total.cost_micros.clone()),
        ("tokens", budget.tokens, total.tokens.clone()),
        ("wall", program.wall.map(millis), wall.clone()),
    ];
    let tighter =
        |cap: Option<u64>, bound: &Bound| cap.is_some_and(|cap| bound.most().is_none_or(|most| most > cap));
    let capped = caps.iter().filter(|(_, cap, bound)| tighter(*cap, bound)).map(|(name, ..)| *name).collect();
    total.cost_micros = total.cost_micros.within(budget.cost_micros);
    total.tokens = total.tokens.within(budget.tokens);
    let mut lines = count.lines;
    lines.sort_by(|one, two| rank(&two.most).cmp(&rank(&one.most)).then(one.node.cmp(&two.node)));
    Bill { total, wall_ms: wall.within(program.wall.map(millis)), longest: way.nodes, lines, capped }
}

/// What of two bills is the dearer one: money, then tokens, then work. What is not bounded is dearest.
fn rank(most: &Most) -> (u64, u64, u64) {
    let number = |bound: &Bound| bound.most().unwrap_or(u64::MAX);
    (number(&most.cost_micros), number(&most.tokens), number(&most.work_ms))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Most {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.calls, &other.calls),
            (&mut self.tokens, &other.tokens),
            (&mut self.cost_micros, &other.cost_micros),
            (&mut self.sandboxes, &other.sandboxes),
            (&mut self.ci_rounds, &other.ci_rounds),
            (&mut self.questions, &other.questions),
            (&mut self.work_ms, &other.work_ms),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.plus(theirs);
        }
    }

    fn times(&self, times: &Bound) -> Self {
        Self {
            calls: self.calls.times(times),
            tokens: self.tokens.times(times),
            cost_micros: self.cost_micros.times(times),
            sandboxes: self.sandboxes.times(times),
            ci_rounds: self.ci_rounds.times(times),
            questions: self.questions.times(times),
            work_ms: self.work_ms.times(times),
        }
    }
}

/// How long something takes.
#[derive(Debug, Clone, Default)]
struct Time {
    whole: Bound,
    /// Without the share that it has in the work of all places.
    beyond: Bound,
}

impl Time {
    fn times(&self, times: &Bound) -> Self {
        Self { whole: self.whole.times(times), beyond: self.beyond.times(times) }
    }
}

/// The longest way through a graph.
#[derive(Debug, Default)]
struct Way {
    whole: Bound,
    beyond: Bound,
    nodes: Vec<String>,
}

struct Count<'a> {
    program: &'a Program,
    rates: &'a Rates,
    lines: Vec<Line>,
}

impl Count<'_> {
    /// The lines of all nodes of a graph that runs so often. Gives the longest way through it once.
    fn graph(&mut self, graph: &Graph, times: &Bound, prefix: &str) -> Way {
        let mut rounds = vec![Bound::AtMost(1); graph.nodes.len()];
        for region in &graph.regions {
            for member in &region.members {
                rounds[member.at()] = rounds[member.at()].times(&Bound::AtMost(u64::from(region.rounds)));
            }
        }
        let mut longest: Vec<Time> = vec![Time::default(); graph.nodes.len()];
        let mut from: Vec<Option<NodeIx>> = vec![None; graph.nodes.len()];
        let mut way = Way::default();
        let mut last = None;
        for index in toposort(&graph.dag, None).unwrap_or_default() {
            let at = graph.dag[index];
            let rounds = &rounds[at.at()];
            let own = self.node(graph.node(at), &times.times(rounds), prefix).times(rounds);
            let before: Vec<NodeIx> = graph.before(at).map(|(before, _)| before).collect();
            from[at.at()] = before.iter().copied().max_by_key(|before| length(&longest[before.at()].whole));
            let most = |part: fn(&Time) -> &Bound| {
                let times = before.iter().map(|before| part(&longest[before.at()]).clone());
                times.max_by_key(length).unwrap_or_default()
            };
            let here = Time {
                whole: most(|time| &time.whole).plus(&own.whole),
                beyond: most(|time| &time.beyond).plus(&own.beyond),
            };
            if last.is_none() || length(&here.whole) > length(&way.whole) {
                (way.whole, last) = (here.whole.clone(), Some(at));
            }
            if length(&here.beyond) > length(&way.beyond) {
                way.beyond = here.beyond.clone();
            }
            longest[at.at()] = here;
        }
        while let Some(at) = last {
            way.nodes.push(graph.node(at).name.to_string());
            last = from[at.at()];
        }
        way.nodes.reverse();
        way
    }

    /// The line of a node that runs in so many rounds. Gives how long one round of it takes.
    fn node(&mut self, node: &Node, times: &Bound, prefix: &str) -> Time {
        let path = format!("{prefix}{}", node.name);
        let tries = Bound::AtMost(u64::from(node.retry.attempts));
        let pauses =
            Bound::AtMost((1..node.retry.attempts).map(|tries| millis(node.retry.pause(tries))).sum());
        let times = times.times(&tries);
        let time = if let Action::Use(uses) = &node.action {
            let items = uses.each.as_ref().map_or(Bound::AtMost(1), |each| self.items(each, &path));
            let graph = self.program.graph(uses.graph);
            let below = if graph.kind == SubKind::Body { prefix.to_owned() } else { format!("{path}/") };
            let way = self.graph(graph, &times.times(&items), &below);
            match &uses.each {
                None => Time { whole: way.whole, beyond: way.beyond },
                Some(each) => {
                    // So many items at a time, and the last of them to its end.
                    let parts = u64::from(each.max_parallel);
                    let all = way.whole.times(&items).part(parts).plus(&way.whole);
                    Time { whole: all.clone(), beyond: all }
                }
            }
        } else {
            let (most, once) = self.once(node);
            // What a place is busy with is part of the work that is shared among the places.
            let beyond =
                if node.takes_a_place() { once.less_part(u64::from(self.rates.jobs)) } else { once.clone() };
            if !times.is_zero() {
                self.lines.push(Line { node: path, most: most.times(&times), times });
            }
            Time { whole: once, beyond }
        };
        let time = time.times(&tries);
        Time { whole: time.whole.plus(&pauses), beyond: time.beyond.plus(&pauses) }
    }

    /// How many items a list can have.
    fn items(&self, each: &Each, path: &str) -> Bound {
        let references = each.list.references();
        if references.is_empty() {
            return match each.list.eval(&Json::Null) {
                Ok(Json::Array(items)) => Bound::AtMost(items.len() as u64),
                _ => Bound::open(format!("`{path}` runs for each item of a list of unknown length")),
            };
        }
        let input = match references {
            [reference] if each.list.source().trim() == reference.dotted() => match reference.path.as_slice()
            {
                [first, name] if first == "inputs" => {
                    self.program.root().inputs.iter().find(|input| *input.name == **name)
                }
                _ => None,
            },
            _ => None,
        };
        match input.and_then(|input| input.max) {
            Some(max) if max >= 0.0 => Bound::AtMost(max.ceil() as u64),
            _ => Bound::open(format!("`{path}` runs for each item of a list that has no greatest length")),
        }
    }

    /// What so many turns of a model use up.
    fn model(&self, most: &mut Most, node: &Node, model: &str, turns: &Bound, agent: &Agent) {
        let open = |why: String| Bound::open(format!("{why} of `{}`", node.name));
        let Some(rate) = self.rates.models.get(model) else {
            most.calls = turns.clone();
            most.tokens = open(format!("nothing is known of the model `{model}`"));
            most.cost_micros = most.tokens.clone();
            return;
        };
        most.calls = turns.times(&Bound::AtMost(u64::from(rate.tries)));
        if self.rates.asking {
            most.calls = Bound::open(format!("hooks ask models during `{}`", node.name));
        }
        let known = |each: Option<u64>, what: &str| match each {
            Some(each) => most.calls.times(&Bound::AtMost(each)),
            None => open(format!("{what} of the model `{model}` is not known, that")),
        };
        let (tokens, cost) = (known(rate.tokens, "the window"), known(rate.micros, "the price"));
        most.tokens = tokens.within(agent.max_tokens);
        most.cost_micros = match rate.micros {
            // A limit of money does not help where the price is not known: such a call is refused.
            None => cost,
            Some(_) => cost.within(agent.max_cost_micros),
        };
    }

    /// What one try of a node uses up, and how long it takes.
    fn once(&self, node: &Node) -> (Most, Bound) {
        let limit = |usual: Duration| Bound::AtMost(millis(node.timeout.unwrap_or(usual)));
        let one = Bound::AtMost(1);
        let mut most = Most::default();
        let time = match &node.action {
            Action::Run(_) => {
                most.sandboxes = one;
                limit(self.rates.command)
            }
            Action::Agent(agent) => {
                most.sandboxes = one;
                let turns = Bound::AtMost(u64::from(agent.max_turns));
                match &agent.mind {
                    Mind::Script { .. } => most.calls = turns,
                    Mind::Program { .. } => {
                        let why = format!("`{}` is a program that asks models by itself", node.name);
                        most.calls = Bound::open(why.clone());
                        most.tokens = Bound::open(why.clone());
                        most.cost_micros = Bound::open(why);
                    }
                    Mind::Model { model, .. } => self.model(&mut most, node, model, &turns, agent),
                }
                limit(self.rates.agent)
            }
            Action::Http(_) => limit(self.rates.request),
            Action::Wait(pause) => Bound::AtMost(millis(*pause)),
            Action::Gate(gate) => {
                most.questions = Bound::AtMost(u64::from(gate.min));
                Bound::default()
            }
            Action::Ci => {
                most.ci_rounds = one;
                node.timeout.map_or_else(
                    || Bound::open(format!("`{}` waits for CI without a `timeout`", node.name)),
                    |timeout| Bound::AtMost(millis(timeout)),
                )
            }
            Action::Edit(_) | Action::Forge(_) | Action::Use(_) => Bound::default(),
        };
        // A pause takes no place, so it is no work for one.
        most.work_ms = if node.takes_a_place() { time.clone() } else { Bound::default() };
        (most, time)
    }
}

fn length(bound: &Bound) -> u64 {
    bound.most().unwrap_or(u64::MAX)
}
