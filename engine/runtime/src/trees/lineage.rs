//! Whose leftovers a node may find: what the node before it in the same checkout left there and no tree holds,
//! such as `target/`. Looks at the graph only; where it cannot tell, the answer is no.

use std::collections::BTreeSet;
use std::sync::Arc;

use blueprint_core::graph::{Action, Graph, Node, NodeIx, Program, SubKind};

/// How many nodes are looked at before a node counts as not downstream. Chains are short, and an answer must not
/// cost what building a cache anew would save.
const FARTHEST: usize = 256;

/// The graphs of a run, asked which node follows which.
#[derive(Debug)]
pub(super) struct Lineage {
    program: Arc<Program>,
    /// For each graph, whether it or one it uses has a gate.
    gated: Vec<bool>,
}

impl Lineage {
    pub(super) fn new(program: Arc<Program>) -> Self {
        let mut gated = vec![false; program.graphs.len()];
        // A graph is used by others at most as often as there are graphs in a row.
        loop {
            let before = gated.clone();
            for (graph, has) in program.graphs.iter().zip(&mut gated) {
                *has = graph.nodes.iter().any(|node| is_gate(node, &before));
            }
            if gated == before {
                return Self { program, gated };
            }
        }
    }

    /// The name of the blueprint.
    pub(super) fn blueprint(&self) -> &str {
        &self.program.name
    }

    /// Whether the node at the path `next` may find what the node at `last` left: it is the same node again, or
    /// downstream of it at the same tier with no gate between them. What passes a gate is what the gate showed, and
    /// leftovers are not shown.
    pub(super) fn inherits(&self, last: &str, next: &str) -> bool {
        last == next || self.follows(last, next).unwrap_or(false)
    }

    fn follows(&self, last: &str, next: &str) -> Option<bool> {
        if self.leaf(last)?.tier != self.leaf(next)?.tier {
            return Some(false);
        }
        let mut graph = self.program.root();
        let (mut before, mut after) = (last.split('/'), next.split('/'));
        loop {
            let (one, other) = (before.next()?, after.next()?);
            if one != other {
                let (from, to) = (node_named(graph, one)?, node_named(graph, other)?);
                let passes = |ix: NodeIx, deeper: bool| deeper && is_gate(graph.node(ix), &self.gated);
                if passes(from, before.next().is_some()) || passes(to, after.next().is_some()) {
                    return Some(false);
                }
                return Some(from != to && self.reaches(graph, from, to));
            }
            graph = self.below(graph.node(node_named(graph, one)?)).err()?;
        }
    }

    /// Whether `to` comes behind `from`, or starts the next round of a region that `from` is part of.
    fn reaches(&self, graph: &Graph, from: NodeIx, to: NodeIx) -> bool {
        if graph.regions.iter().any(|region| region.from == to && region.members.contains(&from)) {
            return true;
        }
        let mut seen = BTreeSet::from([to]);
        let mut next = vec![to];
        let mut found = false;
        while let Some(node) = next.pop() {
            for need in graph.needs(node) {
                if *need == from {
                    found = true;
                } else if is_gate(graph.node(*need), &self.gated) || seen.len() >= FARTHEST {
                    return false;
                } else if seen.insert(*need) {
                    next.push(*need);
                }
            }
        }
        found
    }

    /// The node that does the work of a path.
    fn leaf(&self, path: &str) -> Option<&Node> {
        let mut graph = self.program.root();
        let mut segments = path.split('/').peekable();
        loop {
            let node = graph.node(node_named(graph, segments.next()?)?);
            match self.below(node) {
                Err(below) if segments.peek().is_some() => graph = below,
                Err(_) => return Some(node),
                Ok(leaf) => return segments.peek().is_none().then_some(leaf),
            }
        }
    }

    /// The node itself, the one it repeats for each item, or the graph it uses.
    fn below<'a>(&'a self, node: &'a Node) -> Result<&'a Node, &'a Graph> {
        let Action::Use(used) = &node.action else { return Ok(node) };
        let graph = self.program.graph(used.graph);
        match (graph.kind, graph.nodes.as_slice()) {
            (SubKind::Body, [body]) => self.below(body),
            _ => Err(graph),
        }
    }
}

fn is_gate(node: &Node, gated: &[bool]) -> bool {
    match &node.action {
        Action::Gate(_) => true,
        Action::Use(used) => gated.get(used.graph.0 as usize).copied().unwrap_or(true),
        _ => false,
    }
}

/// The node of a segment such as `lint` or `lint[2]`.
fn node_named(graph: &Graph, segment: &str) -> Option<NodeIx> {
    let name = segment.split_once('[').map_or(segment, |(name, _)| name);
    graph.by_name.get(name).copied()
}

#[cfg(test)]
mod tests {
    use blueprint_core::check::compile;
    use blueprint_core::source::SourceSet;

    use super::*;

    fn lineage(nodes: &str) -> Lineage {
        let part =
            "schema = 1\nname = \"part\"\n[nodes.a]\nrun = \"a\"\n[nodes.b]\nneeds = [\"a\"]\nrun = \"b\"\n";
        let asks = "schema = 1\nname = \"asks\"\n[nodes.ask]\ngate = {}\n[nodes.b]\nneeds = [\"ask\"]\nrun = \"b\"\n";
        let files = [
            ("blueprint.toml", format!("schema = 1\nname = \"main\"\n{nodes}")),
            ("part.toml", part.to_owned()),
            ("asks.toml", asks.to_owned()),
        ];
        let files = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
        let checked = compile(&SourceSet { entry: "blueprint.toml".to_owned(), files });
        Lineage::new(checked.program.unwrap_or_else(|| panic!("{:#?}", checked.findings)))
    }

    fn pairs(lineage: &Lineage, paths: &[&str]) -> Vec<String> {
        let mut pairs = Vec::new();
        for last in paths {
            for next in paths.iter().filter(|next| *next != last) {
                if lineage.inherits(last, next) {
                    pairs.push(format!("{last} > {next}"));
                }
            }
        }
        pairs
    }

    #[test]
    fn only_what_is_downstream_inherits() {
        let lineage = lineage(
            "[nodes.a]\nrun = \"a\"\n[nodes.left]\nneeds = [\"a\"]\nrun = \"l\"\n\
             [nodes.right]\nneeds = [\"a\"]\nrun = \"r\"\n[nodes.join]\nneeds = [\"left\", \"right\"]\nrun = \"j\"\n",
        );
        assert_eq!(
            pairs(&lineage, &["a", "left", "right", "join"]),
            ["a > left", "a > right", "a > join", "left > join", "right > join"]
        );
        assert!(lineage.inherits("left", "left"), "the same node again");
        assert!(!lineage.inherits("gone", "join") && !lineage.inherits("", "a"));
    }

    #[test]
    fn nothing_passes_a_gate_or_another_tier() {
        let lineage = lineage(
            "[nodes.a]\nrun = \"a\"\n[nodes.ask]\nneeds = [\"a\"]\ngate = {}\n[nodes.b]\nneeds = [\"ask\"]\nrun = \"b\"\n\
             [nodes.round]\nneeds = [\"a\", \"ask\"]\nrun = \"r\"\n[nodes.other]\nneeds = [\"a\"]\nrun = \"o\"\ntier = \"generated\"\n\
             [nodes.hidden]\nneeds = [\"other\"]\nuse = \"./asks.toml\"\n[nodes.end]\nneeds = [\"hidden\"]\nrun = \"e\"\ntier = \"generated\"\n",
        );
        let paths = ["a", "b", "round", "other", "hidden/b", "end"];
        assert_eq!(pairs(&lineage, &paths), Vec::<String>::new());
    }

    #[test]
    fn sub_graphs_items_and_rounds_have_their_own_order() {
        let lineage = lineage(
            "[nodes.first]\nrun = \"a\"\n[nodes.part]\nneeds = [\"first\"]\nuse = \"./part.toml\"\n\
             [nodes.item]\nneeds = [\"part\"]\neach = \"[1, 2]\"\nrun = \"i\"\n\
             [nodes.parts]\nneeds = [\"item\"]\neach = \"[1, 2]\"\nuse = \"./part.toml\"\n\
             [nodes.change]\nneeds = [\"parts\"]\nrun = \"c\"\n[nodes.side]\nneeds = [\"change\"]\nrun = \"s\"\n\
             [nodes.verify]\nneeds = [\"side\"]\nrun = \"v\"\nrepair = { from = \"change\", rounds = 2 }\n",
        );
        let paths = ["first", "part/a", "part/b", "item[0]", "item[1]", "parts[0]/a", "parts[1]/b"];
        assert_eq!(
            pairs(&lineage, &paths).iter().filter(|pair| !pair.starts_with("first")).collect::<Vec<_>>(),
            [
                "part/a > part/b",
                "part/a > item[0]",
                "part/a > item[1]",
                "part/a > parts[0]/a",
                "part/a > parts[1]/b",
                "part/b > item[0]",
                "part/b > item[1]",
                "part/b > parts[0]/a",
                "part/b > parts[1]/b",
                "item[0] > parts[0]/a",
                "item[0] > parts[1]/b",
                "item[1] > parts[0]/a",
                "item[1] > parts[1]/b",
            ]
        );
        assert!(lineage.inherits("verify", "change") && lineage.inherits("side", "change"));
        assert!(!lineage.inherits("verify", "side"));
    }
}
