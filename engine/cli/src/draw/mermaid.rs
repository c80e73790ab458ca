//! The picture as a Mermaid flowchart, for places that render those and no SVG.
//! Labels are written so that no text can end a label, start a directive or become markup.

use super::picture::{Join, NodeKind, NodeState, Picture, PictureNode, Tier};
use super::scene::{End, Scene};
use super::text::{clean, name, put};

/// Draws the picture. Any strings give a valid flowchart.
pub fn mermaid(picture: &Picture) -> String {
    let scene = Scene::new(picture);
    let mut out = String::new();
    if !clean(&picture.title).is_empty() {
        put(&mut out, format_args!("---\ntitle: \"{}\"\n---\n", front_matter(&picture.title)));
    }
    out += "flowchart TB\n";
    inside(&mut out, &scene, &scene.contents(), 0, 1);
    for &(from, to) in &scene.needs {
        put(&mut out, format_args!("  {} --> {}\n", id(from), id(to)));
    }
    for back in &scene.returns {
        put(
            &mut out,
            format_args!("  {} -. \"{}\" .-> {}\n", id(back.closer), escaped(&back.label), id(back.from)),
        );
    }
    styles(&mut out, &scene);
    out
}

/// The words of a node: its label, then what else is worth a line.
pub(super) fn lines(node: &PictureNode) -> Vec<String> {
    let mut lines = vec![name(&node.label, &node.id)];
    lines.extend(node.detail.as_deref().map(clean).filter(|d| !d.is_empty()).map(shortened));
    let mut facts: Vec<String> = Vec::new();
    facts.extend(node.tier.map(|t| t.name().to_owned()));
    if node.each {
        facts.push("each".to_owned());
    }
    if node.conditional {
        facts.push("when".to_owned());
    }
    if node.join != Join::All {
        facts.push(format!("join {}", node.join.name()));
    }
    facts.extend(node.state.map(|s| s.name().to_owned()));
    facts.extend(node.badge.as_deref().map(clean).filter(|b| !b.is_empty()));
    if !facts.is_empty() {
        lines.push(facts.join(" · "));
    }
    lines
}

fn shortened(text: String) -> String {
    if text.chars().count() <= 48 {
        return text;
    }
    text.chars().take(47).chain(['…']).collect()
}

fn id(end: End) -> String {
    match end {
        End::Node(n) => format!("n{n}"),
        End::Group(g) => format!("g{g}"),
    }
}

/// Every character that could mean something to Mermaid, Markdown or HTML inside a quoted label
/// as a numbered entity; no others, because Mermaid takes an entity for its width as written.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in clean(text).chars() {
        if c == '$' && last == '$' {
            // Two in a row would begin a formula even as entities; an invisible space parts them.
            out += "#8203;";
        }
        last = c;
        if matches!(c, '"' | '#' | '&' | '<' | '>' | '`' | '\\' | '%' | '$' | ';' | '*' | '{' | '}' | '~') {
            put(&mut out, format_args!("#{};", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Inside double quotes of YAML, and without anything that could begin a directive.
fn front_matter(text: &str) -> String {
    clean(text).chars().filter(|c| !matches!(c, '"' | '\\' | '%')).collect()
}

/// The nodes and frames of one level. Recursion is bounded by the depth a scene allows.
fn inside(out: &mut String, scene: &Scene<'_>, contents: &[Vec<End>], level: usize, indent: usize) {
    let pad = "  ".repeat(indent);
    for &end in &contents[level] {
        // Writing to a string cannot fail.
        match end {
            End::Node(n) => {
                let node = &scene.picture.nodes[n];
                let words = lines(node).iter().map(|l| escaped(l)).collect::<Vec<_>>().join("<br/>");
                let (open, close) = shape(node.kind);
                put(out, format_args!("{pad}n{n}{open}\"{words}\"{close}\n"));
            }
            End::Group(g) => {
                put(out, format_args!("{pad}subgraph g{g}[\"{}\"]\n", frame_title(scene, g)));
                inside(out, scene, contents, g + 1, indent + 1);
                put(out, format_args!("{pad}end\n"));
            }
        }
    }
}

/// The title of a frame and the facts of the node it opens up.
fn frame_title(scene: &Scene<'_>, group: usize) -> String {
    let frame = &scene.picture.groups[group];
    let mut parts = vec![escaped(&name(&frame.title, &frame.id))];
    if let Some(head) = scene.head_node(group) {
        parts.extend(lines(head).iter().skip(1).map(|l| escaped(l)));
    }
    parts.join(" · ")
}

fn shape(kind: NodeKind) -> (&'static str, &'static str) {
    match kind {
        NodeKind::Gate => ("{{", "}}"),
        NodeKind::Agent => ("([", "])"),
        NodeKind::Blueprint => ("[[", "]]"),
        NodeKind::Wait => ("(", ")"),
        _ => ("[", "]"),
    }
}

/// Fill, stroke: middle tones that work on light and dark pages, with dark words on them.
pub(super) fn colours(kind: NodeKind) -> (&'static str, &'static str) {
    match kind {
        NodeKind::Run => ("#e2e8f0", "#3d5a80"),
        NodeKind::Edit => ("#d5f0ee", "#0b736e"),
        NodeKind::Http => ("#d8ecf8", "#0a6796"),
        NodeKind::Agent => ("#e9ddfa", "#7438c9"),
        NodeKind::Gate => ("#fbe8c8", "#9a5700"),
        NodeKind::Ci => ("#dfe3fb", "#3f4fc2"),
        NodeKind::Forge => ("#f8dce8", "#b12d69"),
        NodeKind::Wait => ("#e6e9ed", "#5a6675"),
        NodeKind::Blueprint => ("#dcf0e0", "#2a743c"),
    }
}

fn state_style(state: NodeState) -> Option<&'static str> {
    match state {
        NodeState::Succeeded => Some("stroke:#1f7a3a,stroke-width:3px"),
        NodeState::Failed => Some("stroke:#c42534,stroke-width:4px"),
        NodeState::Running => Some("stroke:#1766c2,stroke-width:4px"),
        NodeState::Waiting => Some("stroke:#9a5700,stroke-width:3px"),
        NodeState::Skipped | NodeState::Cancelled => Some("opacity:0.6"),
        NodeState::Pending => None,
    }
}

/// Classes for all that occurs, and which nodes have them.
fn styles(out: &mut String, scene: &Scene<'_>) {
    let nodes = || scene.picture.nodes.iter().enumerate().filter(|(n, _)| scene.opened[*n].is_none());
    let mut class = |name: &str, style: &str, has: &dyn Fn(&PictureNode) -> bool| {
        let who: Vec<String> = nodes().filter(|(_, node)| has(node)).map(|(n, _)| format!("n{n}")).collect();
        if !who.is_empty() {
            put(out, format_args!("  classDef {name} {style}\n  class {} {name}\n", who.join(",")));
        }
    };
    for kind in NodeKind::ALL {
        let (fill, stroke) = colours(kind);
        let style = format!("fill:{fill},stroke:{stroke},color:#18212d");
        class(&format!("k_{}", kind.name()), &style, &|n| n.kind == kind);
    }
    class("t_untrusted", "stroke:#bd2935,stroke-width:2px", &|n| n.tier == Some(Tier::Untrusted));
    class("when", "stroke-dasharray:5 4", &|n| n.conditional);
    for state in NodeState::ALL {
        if let Some(style) = state_style(state) {
            class(&format!("s_{}", state.name()), style, &|n| n.state == Some(state));
        }
    }
    let first = scene.needs.len();
    let which: Vec<String> = (first..first + scene.returns.len()).map(|e| e.to_string()).collect();
    if !which.is_empty() {
        put(out, format_args!("  linkStyle {} stroke:#b4540a,color:#b4540a\n", which.join(",")));
    }
}
