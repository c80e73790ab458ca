//! `graph`: a blueprint, or a run as it stands, as a picture.

use std::path::Path;

use blueprint_core::graph::{Action, Graph, Mind, NodeIx, Program, Value};
use blueprint_core::run::{Phase, State};

use super::check;
use super::run::{start_failed, warn_if_broken};
use crate::args::GraphKind;
use crate::context::Context;
use crate::draw::{self, Group, Picture, PictureEdge, PictureNode, Region, Rounds};
use crate::error::{CliError, Exit};
use crate::terminal;

pub(crate) async fn graph(
    context: &Context,
    what: &str,
    kind: GraphKind,
    output: Option<&Path>,
) -> Result<Exit, CliError> {
    let picture = match run_picture(context, what).await? {
        Some(picture) => picture,
        None => {
            let (_, program) = check::sound(context, what)?;
            picture(&program, None)
        }
    };
    let text = match kind {
        GraphKind::Svg => draw::svg(&picture, &draw::SvgOptions::default()),
        GraphKind::Mermaid => draw::mermaid(&picture),
        GraphKind::Dot => draw::dot(&picture),
    };
    match output {
        None => terminal::line(text.trim_end()),
        Some(path) => std::fs::write(path, text).map_err(|error| {
            CliError::environment(format!("`{}` cannot be written", path.display())).because(&error)
        })?,
    }
    Ok(Exit::Succeeded)
}

/// The picture of a run, if `what` is the beginning of the id of one.
async fn run_picture(context: &Context, what: &str) -> Result<Option<Picture>, CliError> {
    let looks_like_id = what.len() >= 4 && what.chars().all(|c| c.is_ascii_hexdigit());
    if !looks_like_id || !context.state_dir().join(blueprint_runtime::store::JOURNAL_FILE).exists() {
        return Ok(None);
    }
    let engine = context.reader().await?;
    let Ok(id) = context.find_run(&engine.store, Some(what)).await else { return Ok(None) };
    let opened = engine.open(&id).await.map_err(start_failed)?;
    warn_if_broken(&opened);
    Ok(Some(picture(opened.state.program(), Some(&opened.state))))
}

fn picture(program: &Program, state: Option<&State>) -> Picture {
    let mut picture =
        Picture { title: program.name.clone(), subtitle: program.summary.clone(), ..Picture::default() };
    add(&mut picture, program, program.root(), "", None, state);
    picture
}

fn add(
    picture: &mut Picture,
    program: &Program,
    graph: &Graph,
    prefix: &str,
    group: Option<usize>,
    state: Option<&State>,
) {
    let id = |ix: NodeIx| format!("{prefix}{}", graph.node(ix).name);
    for number in 0..graph.nodes.len() as u32 {
        let ix = NodeIx(number);
        let node = graph.node(ix);
        let mut drawn = PictureNode::new(id(ix), node.name.to_string(), kind(&node.action));
        let inner = match &node.action {
            Action::Use(uses) => Some((program.graph(uses.graph), uses)),
            _ => None,
        };
        let body = inner
            .filter(|(inner, _)| inner.kind == blueprint_core::graph::SubKind::Body)
            .map(|(inner, _)| &inner.nodes[0]);
        let shown = body.unwrap_or(node);
        drawn.kind = kind(&shown.action);
        drawn.tier = Some(tier(shown.tier));
        drawn.detail = detail(&shown.action);
        drawn.each = inner.is_some_and(|(_, uses)| uses.each.is_some());
        drawn.conditional = node.when.is_some();
        drawn.join = join(node.join);
        drawn.group = group;
        if let Some(instance) = state.and_then(|state| state.at(&id(ix)).map(|inst| state.instance(inst))) {
            drawn.state = Some(node_state(instance.phase));
            if let (Some(from), Some(to)) = (instance.started_at, instance.ended_at) {
                drawn.badge =
                    Some(blueprint_runtime::human(std::time::Duration::from_millis(to.saturating_sub(from))));
            }
        }
        picture.nodes.push(drawn);
        for need in graph.needs(ix) {
            picture.edges.push(PictureEdge::needs(id(*need), id(ix)));
        }
        if let Some((inner, _)) =
            inner.filter(|(inner, _)| inner.kind == blueprint_core::graph::SubKind::Blueprint)
        {
            let title = format!("{} · {}", node.name, inner.name);
            picture.groups.push(Group { id: id(ix), title, parent: group });
            let here = picture.groups.len() - 1;
            add(picture, program, inner, &format!("{}/", id(ix)), Some(here), state);
        }
    }
    for region in &graph.regions {
        let ci = matches!(graph.node(region.closer).action, Action::Ci);
        let rounds = if ci { Rounds::Ci(region.rounds) } else { Rounds::Local(region.rounds) };
        picture.regions.push(Region { from: id(region.from), closer: id(region.closer), rounds });
    }
}

fn detail(action: &Action) -> Option<String> {
    match action {
        Action::Run(run) => Some(run.argv.join(" ").lines().map(str::trim).collect::<Vec<_>>().join(" ")),
        Action::Edit(edits) => Some(
            edits
                .iter()
                .map(|edit| edit.file.as_str())
                .filter(|file| !file.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Action::Http(http) => Some(format!("{} {}", http.method, http.url.source())),
        Action::Wait(pause) => Some(blueprint_runtime::human(*pause)),
        Action::Gate(gate) => Some(format!("{} approval{}", gate.min, if gate.min == 1 { "" } else { "s" })),
        Action::Use(uses) => {
            uses.each.as_ref().map(|each| format!("each {}", each.list.source())).or_else(|| {
                let with: Vec<String> =
                    uses.with.iter().map(|(name, value)| format!("{name} = {}", spelled(value))).collect();
                (!with.is_empty()).then(|| with.join(", "))
            })
        }
        Action::Agent(agent) => Some(match &agent.mind {
            Mind::Model { model, .. } => format!("{model}, {} turns", agent.max_turns),
            Mind::Script { .. } => "scripted model".to_owned(),
            Mind::Program { argv, .. } => argv.first().cloned().unwrap_or_default(),
        }),
        Action::Ci | Action::Forge(_) => None,
    }
}

fn spelled(value: &Value) -> String {
    match value {
        Value::Literal(value) => value.to_string(),
        Value::Expr(expr) => expr.source().to_owned(),
    }
}

fn kind(action: &Action) -> draw::NodeKind {
    match action {
        Action::Run(_) => draw::NodeKind::Run,
        Action::Edit(_) => draw::NodeKind::Edit,
        Action::Http(_) => draw::NodeKind::Http,
        Action::Wait(_) => draw::NodeKind::Wait,
        Action::Gate(_) => draw::NodeKind::Gate,
        Action::Use(_) => draw::NodeKind::Blueprint,
        Action::Agent(_) => draw::NodeKind::Agent,
        Action::Ci => draw::NodeKind::Ci,
        Action::Forge(_) => draw::NodeKind::Forge,
    }
}

fn tier(tier: blueprint_core::format::Tier) -> draw::Tier {
    use blueprint_core::format::Tier;
    match tier {
        Tier::Trusted => draw::Tier::Trusted,
        Tier::Internal => draw::Tier::Internal,
        Tier::Generated => draw::Tier::Generated,
        Tier::Untrusted => draw::Tier::Untrusted,
    }
}

fn join(join: blueprint_core::format::Join) -> draw::Join {
    use blueprint_core::format::Join;
    match join {
        Join::All => draw::Join::All,
        Join::Any => draw::Join::Any,
        Join::Settled => draw::Join::Settled,
    }
}

fn node_state(phase: Phase) -> draw::NodeState {
    match phase {
        Phase::Pending | Phase::Ready => draw::NodeState::Pending,
        Phase::Evaluating | Phase::Running | Phase::Expanded | Phase::Collecting => draw::NodeState::Running,
        Phase::Waiting | Phase::Backoff | Phase::Repairing | Phase::Escalating => draw::NodeState::Waiting,
        Phase::Succeeded => draw::NodeState::Succeeded,
        Phase::Failed => draw::NodeState::Failed,
        Phase::Skipped => draw::NodeState::Skipped,
        Phase::Cancelled => draw::NodeState::Cancelled,
    }
}
