//! One file becomes one graph: outlines first, since expressions name the outputs of other nodes, then every
//! node with all it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use petgraph::graph::DiGraph;

use super::compiler::{Compiler, NodeSource, Unit, better_name};
use super::names::{Names, Outline, Place, Secrets, value_type};
use super::shape::heights;
use super::values::type_name;
use crate::expr::ValueType;
use crate::finding::{Code, Finding};
use crate::format::{Join, NodeTable, OutputFrom, RetryClass, RetryTable, Sp, Tier, Workspace};
use crate::graph::{
    Action, Approved, Declared, Each, Graph, GraphIx, InputSpec, KINDS, Node, NodeIx, Output, RegionIx,
    Retry, SubKind, Use,
};
use crate::run::FailureClass;
use crate::source::Span;

const MAX_PARALLEL: u32 = 1000;
const DEFAULT_PARALLEL: u32 = 5;
const MAX_ATTEMPTS: u32 = 20;

/// The kind key of a node, and the kinds that a key goes with.
fn kinds_of(table: &NodeTable) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let given = [
        table.run.as_ref().map(|v| v.range.clone()),
        table.edit.as_ref().map(|v| v.range.clone()),
        table.http.as_ref().map(|v| v.range.clone()),
        table.agent.as_ref().map(|v| v.range.clone()),
        table.gate.as_ref().map(|v| v.range.clone()),
        table.ci.as_ref().map(|v| v.range.clone()),
        table.forge.as_ref().map(|v| v.range.clone()),
        table.wait.as_ref().map(|v| v.range.clone()),
        table.uses.as_ref().map(|v| v.range.clone()),
    ];
    KINDS.iter().copied().zip(given).filter_map(|(kind, range)| range.map(|range| (kind, range))).collect()
}

impl Compiler<'_> {
    /// Compiles a file with everything it includes.
    pub(super) fn graph(&mut self, unit: &Unit) -> Option<Graph> {
        let name = unit.document.name.as_ref();
        if let Some(name) = name {
            self.blueprint_name(unit, name);
        }
        let inputs = self.inputs(unit);
        if unit.nodes.is_empty() && unit.lost.is_empty() && !unit.is_broken("nodes", "") {
            let place = name.map_or(0..0, |name| name.range.clone());
            self.findings.push(
                Finding::new(
                    Code::EmptyBlueprint,
                    Span::new(&unit.file, place),
                    "this blueprint has no nodes",
                )
                .label("nothing to do")
                .fix("add a node: `[nodes.test]` with `run = \"…\"`"),
            );
        }
        let used = self.used_graphs(unit);
        let mut shape = self.shape(unit);
        let outlines: Vec<Outline> =
            unit.nodes.iter().zip(&used).map(|(node, used)| self.outline(unit, node, *used)).collect();
        let regions = self.regions(unit, &mut shape);
        let closers: BTreeMap<NodeIx, RegionIx> = regions
            .iter()
            .enumerate()
            .map(|(number, region)| (region.closer, RegionIx(number as u32)))
            .collect();
        let by_input = inputs.iter().enumerate().map(|(number, input)| (&*input.name, number)).collect();
        let names = Names { inputs: &inputs, outlines: &outlines, shape: &shape, by_input, unit };
        let mut nodes = Vec::with_capacity(unit.nodes.len());
        for (number, (source, used)) in unit.nodes.iter().zip(used).enumerate() {
            let ix = NodeIx(number as u32);
            nodes.push(self.node(unit, source, ix, used, &names, closers.get(&ix).copied()));
        }
        let claims = self.claims(unit, &shape);
        self.shared_secrets(unit, &inputs);
        self.triggers(unit, &names);
        let returns = self.returns(unit, &names);
        let nodes = nodes.into_iter().collect::<Option<Vec<Node>>>()?;
        Some(Graph {
            name: name?.value.clone(),
            file: Arc::clone(&unit.file),
            kind: SubKind::Blueprint,
            returns,
            heights: heights(&shape.dag),
            nodes,
            dag: shape.dag,
            regions,
            claims,
            approved_returns: BTreeSet::new(),
            by_name: shape.by_name,
            inputs,
        })
    }

    fn blueprint_name(&mut self, unit: &Unit, name: &Sp<String>) {
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
            && name.len() <= 64;
        if !good {
            self.findings.push(
                Finding::new(
                    Code::BadName,
                    Span::new(&unit.file, name.range.clone()),
                    format!("`{}` is not a usable name for a blueprint", name.value),
                )
                .label(if name.len() > 64 {
                    "longer than 64 characters"
                } else {
                    "not lower-case letters, digits, `-` and `_`"
                })
                .reason(
                    "a blueprint is called by its name at the command line and found by it in the project",
                )
                .fix(format!("call it \"{}\"", better_name(name, '-'))),
            );
        }
    }

    fn used_graphs(&mut self, unit: &Unit) -> Vec<Option<GraphIx>> {
        unit.nodes
            .iter()
            .map(|node| {
                let uses = node.table.uses.as_ref()?;
                let graph = self.used(node, uses)?;
                self.check_with(unit, node, uses, graph);
                Some(graph)
            })
            .collect()
    }

    fn outline(&mut self, unit: &Unit, node: &NodeSource, used: Option<GraphIx>) -> Outline {
        let each = node.table.each.is_some();
        let mut outputs: Vec<(Arc<str>, Option<ValueType>)> = Vec::new();
        for (name, output) in &node.table.output {
            if name.value == "status" {
                self.findings.push(
                    Finding::new(
                        Code::BadName,
                        node.span(&name.range),
                        "every node has an output `status` already",
                    )
                    .label("taken")
                    .fix("give it another name"),
                );
            }
            self.good_name("an output", name, node.span(&name.range));
            let ty = if each { ValueType::List } else { value_type(output.ty) };
            outputs.push((name.as_str().into(), Some(ty)));
        }
        if let Some(graph) = used.and_then(|used| self.compiled(used)) {
            outputs.extend(
                graph.returns.iter().map(|(name, ..)| (Arc::clone(name), each.then_some(ValueType::List))),
            );
        }
        Outline {
            name: node.name.as_str().into(),
            span: node.name_span(),
            outputs,
            open: unit.is_broken(&node.name, "output")
                || unit.is_broken(&node.name, "use")
                || (node.table.uses.is_some() && used.is_none()),
            used: node.table.uses.is_some(),
        }
    }

    fn node(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        ix: NodeIx,
        used: Option<GraphIx>,
        names: &Names<'_>,
        repair: Option<RegionIx>,
    ) -> Option<Node> {
        let table = &source.table;
        let kinds = kinds_of(table);
        let kind = self.one_kind(unit, source, &kinds);
        if let Some(kind) = kind {
            self.stray_keys(source, kind);
        }
        let each_given = table.each.is_some() || unit.is_broken(&source.name, "each");
        let outside = Place { node: Some(ix), item: false, extra: &[], secrets: Secrets::Never };
        let inside = Place { item: each_given, ..outside };
        let when = table.when.as_ref().and_then(|when| self.condition(&source.file, when, names, outside));
        let each = self.each(source, names, outside);
        let with = self.with(source, used, names, inside);
        // Several kinds are one fault; what each of them says is looked at all the same.
        let mut action = None;
        for (kind, _) in &kinds {
            action = self.action(unit, source, kind, used, with.clone(), names, inside);
        }
        let outputs = self.outputs(source, names, inside);
        let output_from = self.output_from(unit, source);
        let retry = self.retry(source);
        let defaults = &unit.document.defaults;
        let mut artifacts = Vec::new();
        for artifact in &table.artifacts {
            artifacts.extend(self.inside_workspace(source, artifact));
        }
        let action = action.filter(|_| kind.is_some())?;
        let workspace = match (&table.workspace, &action) {
            (Some(workspace), action) => {
                if matches!(action, Action::Edit(_)) {
                    self.edit_workspace(source);
                }
                workspace.value
            }
            (None, Action::Edit(_)) => Workspace::Write,
            (None, Action::Run(_) | Action::Agent(_)) => {
                defaults.workspace.as_ref().map_or(Workspace::Write, |workspace| workspace.value)
            }
            (None, _) => Workspace::None,
        };
        let default_tier = defaults.tier.as_ref().map_or(Tier::Trusted, |tier| tier.value);
        let declared =
            table.tier.as_ref().map(|tier| Declared { value: tier.value, span: source.span(&tier.range) });
        let tier = declared.as_ref().map_or(default_tier, |declared| declared.value);
        let image = match kind {
            Some("run" | "agent") => self.image(unit, source, tier),
            _ => None,
        };
        let node = Node {
            name: source.name.as_str().into(),
            summary: table.summary.as_ref().map(|summary| summary.value.clone()),
            span: source.name_span(),
            action,
            needs: names.shape.order.needs(ix).to_vec(),
            when,
            join: table.join.as_ref().map_or(Join::All, |join| join.value),
            retry,
            repair,
            timeout: table.timeout.as_ref().or(defaults.timeout.as_ref()).map(|timeout| timeout.value.0),
            outputs,
            output_from,
            artifacts,
            workspace,
            tier,
            declared,
            default_tier,
            approved: Approved::default(),
            image,
        };
        Some(match each {
            Some(each) => self.wrap_each(unit, node, each, names.inputs),
            None => node,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "everything that is known when a node is compiled")]
    fn action(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        kind: &str,
        used: Option<GraphIx>,
        with: Vec<(Arc<str>, crate::graph::Value)>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Action> {
        let table = &source.table;
        match kind {
            "run" => self.run(unit, source, table.run.as_ref()?, names, place).map(Box::new).map(Action::Run),
            "edit" => self.edits(unit, source, table.edit.as_ref()?, names, place).map(Action::Edit),
            "http" => self.http(source, table.http.as_ref()?, names, place).map(Box::new).map(Action::Http),
            "wait" => Some(Action::Wait(table.wait.as_ref()?.value.0)),
            "gate" => Some(Action::Gate(Box::new(self.gate(source, table.gate.as_ref()?, names, place)))),
            "agent" => {
                let agent = self.agent(unit, source, table.agent.as_ref()?, names, place)?;
                Some(Action::Agent(Box::new(agent)))
            }
            "use" => Some(Action::Use(Box::new(Use { graph: used?, with, each: None }))),
            later => self.later(unit, source, later, names, place),
        }
    }

    fn one_kind(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        kinds: &[(&'static str, std::ops::Range<usize>)],
    ) -> Option<&'static str> {
        match kinds {
            [(kind, _)] => Some(kind),
            [] if KINDS.iter().any(|kind| unit.is_broken(&source.name, kind)) => None,
            [] => {
                self.findings.push(
                    Finding::new(
                        Code::NoKind,
                        source.name_span(),
                        format!("the node `{}` does not say what to do", source.name.value),
                    )
                    .label("no kind")
                    .fix(format!("add one of {}", KINDS.join(", "))),
                );
                None
            }
            [(first, one), (second, other), ..] => {
                self.findings.push(
                    Finding::new(
                        Code::TwoKinds,
                        source.span(other),
                        format!("the node `{}` does two things: {first} and {second}", source.name.value),
                    )
                    .label("the second kind")
                    .note(source.span(one), "the first kind")
                    .fix("make two nodes of it, one of which needs the other"),
                );
                None
            }
        }
    }

    fn stray_keys(&mut self, source: &NodeSource, kind: &str) {
        let table = &source.table;
        let run = kind == "run";
        let first = |range: Option<&std::ops::Range<usize>>| range.cloned();
        let stray = [
            ("args", first(table.args.first().map(|v| &v.range)), run),
            ("shell", table.shell.as_ref().map(|v| v.range.clone()), run),
            ("env", first(table.env.0.first().map(|(k, _)| &k.range)), run || kind == "agent"),
            (
                "credentials",
                first(table.credentials.0.first().map(|(k, _)| &k.range)),
                run || kind == "agent",
            ),
            ("stdin", table.stdin.as_ref().map(|v| v.range.clone()), run),
            ("cwd", table.cwd.as_ref().map(|v| v.range.clone()), run),
            ("expect", table.expect.as_ref().map(|v| v.range.clone()), run),
            ("output_from", table.output_from.as_ref().map(|v| v.range.clone()), run),
            ("artifacts", first(table.artifacts.first().map(|v| &v.range)), run),
            ("with", first(table.with.0.first().map(|(k, _)| &k.range)), kind == "use"),
            ("tools", first(table.tools.first().map(|v| &v.range)), kind == "agent"),
            ("image", table.image.as_ref().map(|v| v.range.clone()), run || kind == "agent"),
            ("network", first(table.network.first().map(|v| &v.range)), run || kind == "agent"),
            (
                "output",
                first(table.output.0.first().map(|(k, _)| &k.range)),
                run || kind == "http" || kind == "agent",
            ),
            (
                "timeout",
                table.timeout.as_ref().map(|v| v.range.clone()),
                !matches!(kind, "wait" | "gate" | "use"),
            ),
            ("retry", table.retry.as_ref().map(|v| v.range.clone()), !matches!(kind, "wait" | "gate")),
            (
                "workspace",
                table.workspace.as_ref().map(|v| v.range.clone()),
                matches!(kind, "run" | "edit" | "agent"),
            ),
            ("max_parallel", table.max_parallel.as_ref().map(|v| v.range.clone()), table.each.is_some()),
        ];
        for (key, range, fits) in stray {
            if let Some(range) = range
                && !fits
            {
                let article = if matches!(kind, "edit" | "agent" | "http") { "an" } else { "a" };
                let why = if key == "max_parallel" {
                    "without `each`".to_owned()
                } else {
                    format!("for {article} {kind} node")
                };
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        source.span(&range),
                        format!("`{key}` means nothing {why}"),
                    )
                    .label("without effect")
                    .fix(stray_fix(key, kind)),
                );
            }
        }
    }

    fn each(&mut self, source: &NodeSource, names: &Names<'_>, place: Place<'_>) -> Option<Each> {
        let each = source.table.each.as_ref()?;
        let (list, ty) = self.expression(&source.file, each, names, place)?;
        if let Some(ty) = ty
            && ty != ValueType::List
        {
            self.findings.push(
                Finding::new(
                    Code::TypeMismatch,
                    source.span(&each.range),
                    format!("`each` takes a list, not {}", type_name(ty)),
                )
                .label(format!("this is {}", type_name(ty)))
                .fix("name an input or output of type \"list\", or write one: \"['a', 'b']\""),
            );
        }
        let max_parallel = source.table.max_parallel.as_ref().map_or(DEFAULT_PARALLEL, |max| max.value);
        if let Some(written) = &source.table.max_parallel
            && !(1..=MAX_PARALLEL).contains(&max_parallel)
        {
            self.findings.push(
                Finding::new(
                    Code::EachBounds,
                    source.span(&written.range),
                    format!("`max_parallel` is 1 to {MAX_PARALLEL}, not {max_parallel}"),
                )
                .label("out of range")
                .fix("write for example `max_parallel = 4`"),
            );
        }
        Some(Each { list, max_parallel })
    }

    fn with(
        &mut self,
        source: &NodeSource,
        used: Option<GraphIx>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Vec<(Arc<str>, crate::graph::Value)> {
        let mut with = Vec::new();
        for (name, value) in &source.table.with {
            let input = used
                .and_then(|used| self.compiled(used))
                .and_then(|g| g.inputs.iter().find(|i| *i.name == **name))
                .cloned();
            let secret = input.as_ref().is_some_and(|input| input.ty == crate::format::InputType::Secret);
            let Some((compiled, ty)) = self.value(
                &source.file,
                value,
                names,
                Place { secrets: if secret { Secrets::Whole } else { Secrets::Never }, ..place },
            ) else {
                continue;
            };
            if let Some(input) = &input {
                self.fits(source, input, value, &compiled, ty);
            }
            with.push((name.as_str().into(), compiled));
        }
        with
    }

    fn fits(
        &mut self,
        source: &NodeSource,
        input: &InputSpec,
        written: &Sp<crate::format::Scalar>,
        value: &crate::graph::Value,
        ty: Option<ValueType>,
    ) {
        use crate::format::InputType;
        let problem = match value {
            crate::graph::Value::Literal(literal) => {
                input.check(literal).err().map(|error| error.to_string())
            }
            crate::graph::Value::Expr(_) => {
                let fits = ty.is_none_or(|ty| match input.ty {
                    InputType::String | InputType::Enum | InputType::Path | InputType::Secret => {
                        ty == ValueType::String
                    }
                    InputType::Integer => ty == ValueType::Integer,
                    InputType::Number => matches!(ty, ValueType::Integer | ValueType::Number),
                    InputType::Boolean => ty == ValueType::Boolean,
                    InputType::List => ty == ValueType::List,
                });
                (!fits).then(|| format!("this is {}", ty.map_or("something else", type_name)))
            }
        };
        if let Some(problem) = problem {
            self.findings.push(
                Finding::new(
                    Code::TypeMismatch,
                    source.span(&written.range),
                    format!("the value for the input `{}` does not fit: {problem}", input.name),
                )
                .label(format!("`{}` takes {}", input.name, input.type_name()))
                .fix(match value {
                    crate::graph::Value::Literal(_) => {
                        "give a value of its type and within its bounds".to_owned()
                    }
                    crate::graph::Value::Expr(_) => format!("give {}", input.type_name()),
                }),
            );
        }
    }

    fn outputs(&mut self, source: &NodeSource, names: &Names<'_>, place: Place<'_>) -> Vec<Output> {
        let http = source.table.http.is_some();
        let place = Place { extra: &["status", "headers", "body"], ..place };
        let mut outputs = Vec::new();
        for (name, spec) in &source.table.output {
            let from = match &spec.from {
                Some(from) if http => self.expression(&source.file, from, names, place).map(|(expr, _)| expr),
                Some(from) => {
                    self.findings.push(
                        Finding::new(
                            Code::KeyWithoutEffect,
                            source.span(&from.range),
                            "`from` means nothing here",
                        )
                        .label("only for http nodes")
                        .fix("take it out; `output_from` says where a command's outputs are read"),
                    );
                    None
                }
                None => None,
            };
            outputs.push(Output { name: name.as_str().into(), ty: spec.ty, from });
        }
        outputs
    }

    fn output_from(&mut self, unit: &Unit, source: &NodeSource) -> OutputFrom {
        match source.table.output_from.as_ref() {
            None => OutputFrom::Json,
            Some(from) => {
                if source.table.output.is_empty() && !unit.is_broken(&source.name, "output") {
                    self.findings.push(
                        Finding::new(
                            Code::KeyWithoutEffect,
                            source.span(&from.range),
                            "`output_from` means nothing without `output`",
                        )
                        .label("without effect")
                        .fix("declare the outputs: `output = { name = \"string\" }`"),
                    );
                }
                if let OutputFrom::File(file) = &from.value {
                    self.file_inside_workspace(source, file);
                }
                from.value.clone()
            }
        }
    }

    fn retry(&mut self, source: &NodeSource) -> Retry {
        let Some(retry) = &source.table.retry else { return Retry::never() };
        let RetryTable { attempts, backoff, on } = &retry.value;
        if !(2..=MAX_ATTEMPTS).contains(&attempts.value) {
            self.findings.push(
                Finding::new(
                    Code::RetryBounds,
                    source.span(&attempts.range),
                    format!("`attempts` is 2 to {MAX_ATTEMPTS}, not {}", attempts.value),
                )
                .label("all tries together, the first one included")
                .fix("write for example `attempts = 3`"),
            );
        }
        let classes: BTreeSet<FailureClass> = match on {
            None => BTreeSet::from([FailureClass::Timeout, FailureClass::Infra, FailureClass::Sandbox]),
            Some(on) => {
                if on.is_empty() {
                    self.findings.push(
                        Finding::new(
                            Code::RetryClass,
                            source.span(&on.range),
                            "a retry on nothing never happens",
                        )
                        .label("empty")
                        .fix("name a class: timeout, infra, sandbox, command, conflict"),
                    );
                }
                if source.table.agent.is_some()
                    && let Some(class) = on.iter().find(|class| class.value == RetryClass::Command)
                {
                    self.findings.push(
                        Finding::new(
                            Code::RetryClass,
                            source.span(&class.range),
                            "a semantic failure of an agent does not change by trying again",
                        )
                        .label("pointless here")
                        .fix("use `repair` on the node that verifies the agent's work"),
                    );
                }
                on.iter().map(|class| failure_class(class.value)).collect()
            }
        };
        let backoff = backoff.as_ref().map_or(Duration::from_secs(1), |backoff| backoff.value.0);
        Retry { attempts: attempts.value, backoff, on: classes }
    }

    /// An `each` node becomes a node that runs a graph of one node for each item.
    fn wrap_each(&mut self, unit: &Unit, node: Node, each: Each, inputs: &[InputSpec]) -> Node {
        if let Action::Use(uses) = node.action {
            return Node { action: Action::Use(Box::new(Use { each: Some(each), ..*uses })), ..node };
        }
        let mut dag = DiGraph::new();
        dag.add_node(NodeIx(0));
        let outer = Node {
            action: Action::Wait(Duration::ZERO),
            retry: Retry::never(),
            timeout: None,
            artifacts: Vec::new(),
            workspace: Workspace::None,
            ..node.clone()
        };
        let inner = Node { needs: Vec::new(), when: None, join: Join::All, repair: None, ..node };
        let graph = self.add_body(Graph {
            name: outer.name.to_string(),
            file: Arc::clone(&unit.file),
            kind: SubKind::Body,
            inputs: inputs.to_vec(),
            returns: Vec::new(),
            claims: Vec::new(),
            approved_returns: BTreeSet::new(),
            by_name: BTreeMap::from([(Arc::clone(&outer.name), NodeIx(0))]),
            nodes: vec![inner],
            dag,
            regions: Vec::new(),
            heights: vec![1],
        });
        Node { action: Action::Use(Box::new(Use { graph, with: Vec::new(), each: Some(each) })), ..outer }
    }

    fn returns(&mut self, unit: &Unit, names: &Names<'_>) -> Vec<(Arc<str>, crate::graph::Value, Span)> {
        let place = Place { node: None, item: false, extra: &[], secrets: Secrets::Never };
        let mut returns = Vec::new();
        for (name, value) in &unit.document.returns {
            self.good_name("a returned value", name, Span::new(&unit.file, name.range.clone()));
            if let Some((compiled, _)) = self.value(&unit.file, value, names, place) {
                returns.push((
                    Arc::from(name.as_str()),
                    compiled,
                    Span::new(&unit.file, value.range.clone()),
                ));
            }
        }
        returns
    }
}

/// Where a key belongs that means nothing for a kind of node.
fn stray_fix(key: &str, kind: &str) -> &'static str {
    match (key, kind) {
        ("output", "use") => "take it out; the outputs are what the used blueprint `returns`",
        ("with", _) => {
            "take it out; inputs are for blueprints that are used, a command takes `env` and `args`"
        }
        ("env" | "args", "use") => "take it out; a used blueprint takes its inputs by `with`",
        ("env" | "args" | "shell" | "stdin" | "cwd" | "expect" | "artifacts" | "output_from", _) => {
            "take it out; it is for run nodes"
        }
        ("tools", _) => "take it out; it is for agent nodes",
        ("network", "http") => "take it out; an http node reaches the host of its `url`",
        ("network" | "credentials", _) => "take it out; it is for run and agent nodes",
        ("timeout", "gate") => "take it out; a gate has `expires`",
        ("timeout", "use") => "take it out; the nodes of the used blueprint have time limits of their own",
        ("max_parallel", _) => "take it out, or add `each`",
        _ => "take it out",
    }
}

fn failure_class(class: RetryClass) -> FailureClass {
    match class {
        RetryClass::Timeout => FailureClass::Timeout,
        RetryClass::Infra => FailureClass::Infra,
        RetryClass::Sandbox => FailureClass::Sandbox,
        RetryClass::Command => FailureClass::Command,
        RetryClass::Conflict => FailureClass::Conflict,
    }
}
