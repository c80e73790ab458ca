//! Compiles files into graphs: reads, includes, resolves what one blueprint uses of another, and keeps the
//! graphs apart. What one node means is [`super::lower`]'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::agent::micros;
use super::event;
use crate::finding::{Code, Finding, Findings, nearest};
use crate::format::{Document, Entries, Input, NodeTable, Reading, Sp, blueprint_candidates, read};
use crate::graph::{Budget, Graph, GraphIx, Program};
use crate::source::{SourceSet, Span};

pub(super) struct Compiler<'a> {
    pub(super) sources: &'a SourceSet,
    pub(super) findings: Findings,
    graphs: Vec<Option<Graph>>,
    by_file: BTreeMap<String, Option<GraphIx>>,
    /// Files that are being compiled, outermost first.
    stack: Vec<String>,
    /// Nodes of all files so far.
    nodes: usize,
}

/// How deep blueprints may use or include each other.
const MAX_DEPTH: usize = 32;

/// A node with the file it was written in.
pub(super) struct NodeSource {
    pub(super) file: Arc<str>,
    pub(super) name: Sp<String>,
    pub(super) table: Box<Sp<NodeTable>>,
}

impl NodeSource {
    pub(super) fn span(&self, range: &Range<usize>) -> Span {
        Span::new(&self.file, range.clone())
    }

    pub(super) fn name_span(&self) -> Span {
        self.span(&self.name.range)
    }
}

/// A file with everything it includes.
pub(super) struct Unit {
    pub(super) file: Arc<str>,
    pub(super) document: Document,
    pub(super) nodes: Vec<NodeSource>,
    pub(super) inputs: Vec<(Arc<str>, Sp<String>, Sp<Input>)>,
    /// Names that exist but could not be read.
    pub(super) lost: BTreeSet<String>,
    /// Keys that could not be read, by the node, the input or the section they belong to.
    pub(super) broken: BTreeMap<String, BTreeSet<String>>,
}

impl Unit {
    /// Whether `name` is a node or input that could not be read.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        self.lost.contains(name)
    }

    /// Whether `key` of a node, input or section could not be read in full.
    pub(super) fn is_broken(&self, owner: &str, key: &str) -> bool {
        self.broken.get(owner).is_some_and(|keys| keys.contains(key))
    }

    fn remember(&mut self, reading: &mut Reading) {
        self.lost.extend(std::mem::take(&mut reading.lost));
        for path in std::mem::take(&mut reading.broken) {
            let (owner, key) = match path.as_slice() {
                [section, name, key, ..] if section == "nodes" || section == "inputs" => (name, key.clone()),
                [section, key, ..] => (section, key.clone()),
                [section] => (section, String::new()),
                [] => continue,
            };
            self.broken.entry(owner.clone()).or_default().insert(key);
        }
    }
}

impl<'a> Compiler<'a> {
    pub(super) fn new(sources: &'a SourceSet) -> Self {
        Self {
            sources,
            findings: Findings::default(),
            graphs: Vec::new(),
            by_file: BTreeMap::new(),
            stack: Vec::new(),
            nodes: 0,
        }
    }

    pub(super) fn program(&mut self) -> Option<Program> {
        let entry = self.sources.entry.clone();
        self.by_file.insert(entry.clone(), None);
        self.graphs.push(None);
        self.stack.push(entry.clone());
        let unit = self.unit(&entry)?;
        let wall = unit.document.budget.wall.as_ref().map(|wall| wall.value.0);
        let budget = Budget {
            cost_micros: unit.document.budget.cost_usd.as_ref().map(|cost| micros(cost.value)),
            tokens: unit.document.budget.tokens.as_ref().map(|tokens| tokens.value),
            tool_calls: unit.document.budget.tool_calls.as_ref().map(|calls| calls.value),
        };
        let summary = unit.document.summary.as_ref().map(|summary| summary.value.clone());
        let base = event::base(&unit.document.on);
        let mut root = self.graph(&unit);
        if let Some(root) = &mut root {
            event::give(&unit.document.on, &mut root.inputs);
        }
        self.graphs[0] = root;
        let graphs: Vec<Graph> = std::mem::take(&mut self.graphs).into_iter().collect::<Option<_>>()?;
        Some(Program {
            name: graphs[0].name.clone(),
            summary,
            digest: self.sources.digest(),
            wall,
            budget,
            base,
            graphs,
        })
    }

    /// Compiles the blueprint at `path`, which is used at `from`, once.
    fn file(&mut self, path: &str, from: Span) -> Option<GraphIx> {
        if let Some(known) = self.by_file.get(path) {
            return *known;
        }
        let ix = GraphIx(self.graphs.len() as u32);
        self.graphs.push(None);
        self.by_file.insert(path.to_owned(), None);
        self.stack.push(path.to_owned());
        let graph = self.unit(path).and_then(|unit| {
            self.idle_budget(&unit, from);
            self.graph(&unit)
        });
        self.stack.pop();
        let compiled = graph.map(|graph| {
            self.graphs[ix.0 as usize] = Some(graph);
            ix
        });
        self.by_file.insert(path.to_owned(), compiled);
        compiled
    }

    /// Adds a graph that is the body of an `each` node.
    pub(super) fn add_body(&mut self, graph: Graph) -> GraphIx {
        let ix = GraphIx(self.graphs.len() as u32);
        self.graphs.push(Some(graph));
        ix
    }

    pub(super) fn compiled(&self, ix: GraphIx) -> Option<&Graph> {
        self.graphs.get(ix.0 as usize).and_then(Option::as_ref)
    }

    /// The graph that a node uses by name.
    pub(super) fn used(&mut self, node: &NodeSource, name: &Sp<String>) -> Option<GraphIx> {
        let span = node.span(&name.range);
        let path = self.existing(&node.file, name, &span, Code::UnknownBlueprint)?;
        if self.stack.contains(&path) {
            let circle: Vec<&str> =
                self.stack.iter().skip_while(|p| **p != path).map(String::as_str).collect();
            self.findings.push(
                Finding::new(Code::Recursion, span, format!("`{name}` uses itself", name = name.value))
                    .label("this closes the circle")
                    .reason(format!("the circle is {} → {path}", circle.join(" → ")))
                    .fix("take this node out, or repeat the work with `each` or `repair`, which are bounded"),
            );
            return None;
        }
        if self.stack.len() >= MAX_DEPTH {
            self.findings.push(
                Finding::new(
                    Code::TooLarge,
                    span,
                    format!("more than {MAX_DEPTH} blueprints use each other in a row"),
                )
                .label("one too many")
                .fix("use fewer blueprints of blueprints"),
            );
            return None;
        }
        self.file(&path, span)
    }

    /// Bounds of a blueprint that is used, which bound nothing there. `ci_rounds` is not one of them: its ci nodes
    /// take their rounds from it.
    fn idle_budget(&mut self, unit: &Unit, from: Span) {
        let budget = &unit.document.budget;
        let places = [
            ("cost_usd", budget.cost_usd.as_ref().map(|v| &v.range)),
            ("tokens", budget.tokens.as_ref().map(|v| &v.range)),
            ("wall", budget.wall.as_ref().map(|v| &v.range)),
            ("tool_calls", budget.tool_calls.as_ref().map(|v| &v.range)),
        ];
        let named: Vec<_> = places.into_iter().filter_map(|(key, range)| Some((key, range?))).collect();
        let Some((_, first)) = named.iter().min_by_key(|(_, range)| range.start) else { return };
        let keys: Vec<String> = named.iter().map(|(key, _)| format!("`{key}`")).collect();
        let verb = if keys.len() == 1 { "has" } else { "have" };
        let times = if named.iter().any(|(key, _)| *key == "wall") {
            ", or give the nodes here a `timeout`"
        } else {
            ""
        };
        self.findings.push(
            Finding::new(
                Code::IdleBudget,
                Span::new(&unit.file, (*first).clone()),
                format!("{} {verb} no effect where this blueprint is used", keys.join(" and ")),
            )
            .label("without effect there")
            .note(from, "used here")
            .reason("the budget of the blueprint that is run holds for everything in the run")
            .fix(format!("put the bound into the `[budget]` of {}{times}", self.sources.entry)),
        );
    }

    fn existing(&mut self, from: &str, name: &Sp<String>, span: &Span, code: Code) -> Option<String> {
        let candidates = blueprint_candidates(from, name);
        if let Some(found) = candidates.iter().find(|path| self.sources.get(path).is_some()) {
            return Some(found.clone());
        }
        let finding = Finding::new(code, span.clone(), format!("there is no blueprint `{}`", name.value))
            .label("not found");
        let known: Vec<&str> =
            self.sources.files.keys().map(String::as_str).filter(|path| is_toml(path)).collect();
        let near = candidates.iter().find_map(|path| nearest(path, known.iter().copied()));
        self.findings.push(match near {
            _ if candidates.is_empty() => finding
                .reason("a blueprint never names a file outside its project")
                .fix("write the name of a blueprint of the project, or a path inside it that ends in .toml"),
            Some(near) => finding.fix(format!("did you mean \"{}\"?", as_named(near))),
            None => finding.fix(format!("make {}, or mend the name", candidates.join(" or "))),
        });
        None
    }

    /// Reads a file and everything it includes.
    fn unit(&mut self, path: &str) -> Option<Unit> {
        let file: Arc<str> = path.into();
        let Some(text) = self.sources.get(path) else {
            self.findings.push(
                Finding::new(Code::FileMissing, None, format!("`{path}` cannot be read"))
                    .fix("mend the path, or make the file"),
            );
            return None;
        };
        let mut reading = read(&file, text, &mut self.findings);
        let mut document = reading.document.take()?;
        let includes = std::mem::take(&mut document.include);
        let (inputs, nodes) = (std::mem::take(&mut document.inputs), std::mem::take(&mut document.nodes));
        let mut unit = Unit {
            file: Arc::clone(&file),
            document,
            nodes: Vec::new(),
            inputs: Vec::new(),
            lost: BTreeSet::new(),
            broken: BTreeMap::new(),
        };
        unit.remember(&mut reading);
        let mut seen = BTreeSet::from([path.to_owned()]);
        self.include(&mut unit, &file, &includes, &mut vec![path.to_owned()], &mut seen);
        self.merge(&mut unit, &file, inputs, nodes);
        self.nodes += unit.nodes.len();
        if self.nodes > super::MAX_NODES {
            let span = unit.document.name.as_ref().map(|name| Span::new(&file, name.range.clone()));
            self.findings.push(
                Finding::new(Code::TooLarge, span, format!("more than {} nodes in all", super::MAX_NODES))
                    .label("too large")
                    .fix("run the same nodes over a list with `each`, or split the work into several blueprints"),
            );
            return None;
        }
        Some(unit)
    }

    /// Takes in the nodes and inputs of other files, each file once.
    fn include(
        &mut self,
        unit: &mut Unit,
        from: &Arc<str>,
        includes: &[Sp<String>],
        chain: &mut Vec<String>,
        seen: &mut BTreeSet<String>,
    ) {
        for name in includes {
            let span = Span::new(from, name.range.clone());
            let Some(path) = self.existing(from, name, &span, Code::FileMissing) else { continue };
            if chain.contains(&path) {
                let circle: Vec<&str> =
                    chain.iter().skip_while(|known| **known != path).map(String::as_str).collect();
                self.findings.push(
                    Finding::new(Code::Recursion, span, format!("`{path}` includes itself"))
                        .label("this closes the circle")
                        .reason(format!("the circle is {} → {path}", circle.join(" → ")))
                        .fix("take this include out"),
                );
                continue;
            }
            if chain.len() >= MAX_DEPTH {
                self.findings.push(
                    Finding::new(
                        Code::TooLarge,
                        span,
                        format!("more than {MAX_DEPTH} files include each other in a row"),
                    )
                    .label("one too many")
                    .fix("include them from one file"),
                );
                continue;
            }
            if !seen.insert(path.clone()) {
                continue;
            }
            let file: Arc<str> = path.as_str().into();
            let text = self.sources.get(&path).unwrap_or_default();
            let mut reading = read(&file, text, &mut self.findings);
            unit.remember(&mut reading);
            let Some(document) = reading.document else { continue };
            self.left_out(&file, &document);
            chain.push(path);
            self.include(unit, &file, &document.include, chain, seen);
            chain.pop();
            self.merge(unit, &file, document.inputs, document.nodes);
        }
    }

    /// Sections of an included file that would have no effect.
    fn left_out(&mut self, file: &Arc<str>, document: &Document) {
        let budget = &document.budget;
        let defaults = &document.defaults;
        let places = [
            ("on", document.on.first().map(|v| &v.range)),
            ("prove", document.prove.first().map(|v| &v.range)),
            ("returns", document.returns.0.first().map(|(key, _)| &key.range)),
            ("budget", budget.ci_rounds.as_ref().map(|v| &v.range)),
            ("budget", budget.cost_usd.as_ref().map(|v| &v.range)),
            ("budget", budget.tokens.as_ref().map(|v| &v.range)),
            ("budget", budget.wall.as_ref().map(|v| &v.range)),
            ("budget", budget.tool_calls.as_ref().map(|v| &v.range)),
            ("defaults", defaults.timeout.as_ref().map(|v| &v.range)),
            ("defaults", defaults.workspace.as_ref().map(|v| &v.range)),
            ("defaults", defaults.tier.as_ref().map(|v| &v.range)),
            ("defaults", defaults.image.as_ref().map(|v| &v.range)),
            ("defaults", defaults.shell.as_ref().map(|v| &v.range)),
            ("defaults", defaults.env.0.first().map(|(key, _)| &key.range)),
        ];
        let mut told = "";
        for (key, range) in places {
            let Some(range) = range.filter(|_| key != told) else { continue };
            told = key;
            self.findings.push(
                Finding::new(
                    Code::KeyWithoutEffect,
                    Span::new(file, range.clone()),
                    format!("`{key}` means nothing in a file that is included"),
                )
                .label("without effect")
                .reason("only the nodes and inputs of an included file become part of the blueprint")
                .fix(format!("move it to the blueprint, or `use` {file} as a blueprint of its own")),
            );
        }
    }

    fn merge(
        &mut self,
        unit: &mut Unit,
        file: &Arc<str>,
        inputs: Entries<Sp<Input>>,
        nodes: Entries<Box<Sp<NodeTable>>>,
    ) {
        let mut known: BTreeMap<String, usize> =
            unit.inputs.iter().enumerate().map(|(at, (_, name, _))| (name.value.clone(), at)).collect();
        for (name, input) in inputs.0 {
            if let Some(at) = known.get(&name.value) {
                let (other_file, other, _) = &unit.inputs[*at];
                let first = Span::new(other_file, other.range.clone());
                self.twice("the input", &name, file, first);
            } else {
                known.insert(name.value.clone(), unit.inputs.len());
                unit.inputs.push((Arc::clone(file), name, input));
            }
        }
        let mut known: BTreeMap<String, usize> =
            unit.nodes.iter().enumerate().map(|(at, node)| (node.name.value.clone(), at)).collect();
        for (name, table) in nodes.0 {
            if let Some(at) = known.get(&name.value) {
                let first = unit.nodes[*at].name_span();
                self.twice("the node", &name, file, first);
            } else {
                known.insert(name.value.clone(), unit.nodes.len());
                unit.nodes.push(NodeSource { file: Arc::clone(file), name, table });
            }
        }
    }

    fn twice(&mut self, what: &str, name: &Sp<String>, file: &Arc<str>, first: Span) {
        self.findings.push(
            Finding::new(
                Code::Duplicate,
                Span::new(file, name.range.clone()),
                format!("{what} `{}` is defined twice", name.value),
            )
            .label("second definition")
            .note(first, "first definition")
            .fix("give one of them another name"),
        );
    }

    /// The text of a file that a node names.
    pub(super) fn text_file(&mut self, node: &NodeSource, name: &Sp<String>) -> Option<&'a str> {
        let path = crate::source::resolve_path(&node.file, name);
        if let Some(text) = path.as_deref().and_then(|path| self.sources.get(path)) {
            return Some(text);
        }
        let finding = Finding::new(
            Code::FileMissing,
            node.span(&name.range),
            format!("there is no file `{}`", name.value),
        )
        .label("not found");
        self.findings.push(match path {
            Some(path) => finding.fix(format!("make {path}, or mend the name")),
            None => finding.reason("a blueprint never names a file outside its project").fix(
                "write a path inside the project, relative to this file, with `/` and without a leading `/`",
            ),
        });
        None
    }

    /// Whether a name can stand in an expression as it is.
    pub(super) fn good_name(&mut self, what: &str, name: &str, span: Span) -> bool {
        let mut chars = name.chars();
        let good = chars.next().is_some_and(|c| c.is_ascii_lowercase())
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= 64;
        if !good {
            self.findings.push(
                Finding::new(Code::BadName, span, format!("`{name}` is not a usable name for {what}"))
                    .label(if name.len() > 64 {
                        "longer than 64 characters"
                    } else {
                        "not lower-case letters, digits and `_`"
                    })
                    .reason("a name stands in expressions as it is")
                    .fix(format!("call it `{}`", better_name(name, '_'))),
            );
        }
        good
    }

    /// Compiles the values of `with` against the inputs of the graph that is used.
    pub(super) fn check_with(&mut self, unit: &Unit, node: &NodeSource, uses: &Sp<String>, graph: GraphIx) {
        let is_broken = unit.is_broken(&node.name, "with");
        let Some(graph) = self.compiled(graph) else { return };
        let known: Vec<&str> = graph.inputs.iter().map(|input| &*input.name).collect();
        let mut findings = Vec::new();
        for (name, _) in &node.table.with {
            if !known.contains(&name.value.as_str()) {
                let finding = Finding::new(
                    Code::UnknownInput,
                    node.span(&name.range),
                    format!("`{}` has no input `{}`", graph.name, name.value),
                )
                .label("unknown input");
                findings.push(match nearest(name, known.iter().copied()) {
                    Some(near) => finding.fix(format!("did you mean `{near}`?")),
                    None if known.is_empty() => finding.fix("take it out; it takes no inputs"),
                    None => finding.fix(format!("take it out; it takes {}", known.join(", "))),
                });
            }
        }
        for input in &graph.inputs {
            if input.default.is_none() && node.table.with.get(&input.name).is_none() && !is_broken {
                findings.push(
                    Finding::new(
                        Code::MissingInput,
                        node.span(&uses.range),
                        format!("`{}` needs the input `{}`", graph.name, input.name),
                    )
                    .label(format!("`{}` is not given", input.name))
                    .fix(format!(
                        "add `with = {{ {} = … }}`: {}",
                        input.name,
                        input.type_name()
                    )),
                );
            }
        }
        for finding in findings {
            self.findings.push(finding);
        }
    }
}

/// A usable name that is like `name`; `gap` stands for what cannot stay.
pub(super) fn better_name(name: &str, gap: char) -> String {
    let mut better = String::new();
    for c in name.trim().chars().take(60) {
        if c.is_ascii_alphanumeric() || c == '_' {
            better.push(c.to_ascii_lowercase());
        } else if !better.ends_with(gap) {
            better.push(gap);
        }
    }
    let better = better.trim_matches(gap);
    match better.chars().next() {
        Some(first) if first.is_ascii_lowercase() => better.to_owned(),
        Some(_) => format!("n{gap}{better}"),
        None => "name".to_owned(),
    }
}

fn is_toml(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|ending| ending == "toml")
}

/// How a blueprint at `path` is named by another one of the project.
fn as_named(path: &str) -> &str {
    let name = path
        .strip_prefix("blueprints/")
        .and_then(|inside| inside.strip_suffix("/blueprint.toml").or(inside.strip_suffix(".toml")));
    name.filter(|name| !name.contains('/')).unwrap_or(path)
}
