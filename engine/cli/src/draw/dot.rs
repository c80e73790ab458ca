//! The picture in the DOT language, for Graphviz.
//! Names are always made up and quoted; what a blueprint says appears in escaped labels only.

use super::mermaid::{colours, lines};
use super::picture::{NodeKind, Picture, PictureNode};
use super::scene::{End, Scene};
use super::text::{clean, name, put};

/// Draws the picture. Any strings give a valid graph.
pub fn dot(picture: &Picture) -> String {
    let scene = Scene::new(picture);
    let anchors = anchors(&scene);
    let mut out = String::from("digraph \"blueprint\" {\n");
    out += "  graph [rankdir=TB, compound=true, fontname=\"Helvetica\", fontsize=16, labelloc=t, labeljust=l];\n";
    out += "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\", fontname=\"Helvetica\", fontsize=12];\n";
    out += "  edge [color=\"#8793a3\", fontname=\"Helvetica\", fontsize=10];\n";
    // Writing to a string cannot fail.
    put(&mut out, format_args!("  label=\"{}\";\n", escaped(&picture.title)));
    let source = Source { scene: &scene, contents: scene.contents(), anchors };
    inside(&mut out, &source, 0, 1);
    let anchors = &source.anchors;
    for &(from, to) in &scene.needs {
        put(&mut out, format_args!("  {};\n", edge(from, to, anchors, &[])));
    }
    for back in &scene.returns {
        let label = format!("label=\"{}\"", escaped(&back.label));
        let look = ["style=dashed", "constraint=false", "color=\"#b4540a\"", "fontcolor=\"#b4540a\"", &label];
        put(&mut out, format_args!("  {};\n", edge(back.closer, back.from, anchors, &look)));
    }
    out += "}\n";
    out
}

/// For every group a name inside it that edges to the frame can point at.
fn anchors(scene: &Scene<'_>) -> Vec<String> {
    let mut anchors: Vec<Option<String>> = vec![None; scene.picture.groups.len()];
    for (n, &home) in scene.node_home.iter().enumerate() {
        if home > 0 && scene.opened[n].is_none() && anchors[home - 1].is_none() {
            anchors[home - 1] = Some(format!("n{n}"));
        }
    }
    anchors.into_iter().enumerate().map(|(g, a)| a.unwrap_or_else(|| format!("e{g}"))).collect()
}

fn edge(from: End, to: End, anchors: &[String], look: &[&str]) -> String {
    let mut look: Vec<String> = look.iter().map(|&l| l.to_owned()).collect();
    let mut name = |end: End, clip: &str| match end {
        End::Node(n) => format!("n{n}"),
        End::Group(g) => {
            look.push(format!("{clip}=\"cluster_{g}\""));
            anchors[g].clone()
        }
    };
    let (a, b) = (name(from, "ltail"), name(to, "lhead"));
    let look = if look.is_empty() { String::new() } else { format!(" [{}]", look.join(", ")) };
    format!("\"{a}\" -> \"{b}\"{look}")
}

/// Inside double quotes, where DOT also knows backslash sequences and HTML entities.
fn escaped(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

/// What the nodes and clusters of a level are written from.
struct Source<'s> {
    scene: &'s Scene<'s>,
    contents: Vec<Vec<End>>,
    anchors: Vec<String>,
}

/// The nodes and clusters of one level. Recursion is bounded by the depth a scene allows.
fn inside(out: &mut String, source: &Source<'_>, level: usize, indent: usize) {
    let pad = "  ".repeat(indent);
    for &end in &source.contents[level] {
        match end {
            End::Node(n) => {
                put(out, format_args!("{pad}\"n{n}\" [{}];\n", attributes(&source.scene.picture.nodes[n])));
            }
            End::Group(g) => {
                put(out, format_args!("{pad}subgraph \"cluster_{g}\" {{\n"));
                put(out, format_args!("{pad}  {}\n", cluster_look(source.scene, g)));
                if source.anchors[g].starts_with('e') {
                    put(out, format_args!("{pad}  \"e{g}\" [shape=point, style=invis, label=\"\"];\n"));
                }
                inside(out, source, g + 1, indent + 1);
                put(out, format_args!("{pad}}}\n"));
            }
        }
    }
}

fn cluster_look(scene: &Scene<'_>, group: usize) -> String {
    let frame = &scene.picture.groups[group];
    let mut title = escaped(&name(&frame.title, &frame.id));
    let mut style = "rounded,filled";
    if let Some(head) = scene.head_node(group) {
        for line in lines(head).iter().skip(1) {
            title.push_str(" · ");
            title.push_str(&escaped(line));
        }
        if head.conditional {
            style = "rounded,filled,dashed";
        }
    }
    format!("label=\"{title}\"; style=\"{style}\"; color=\"#c3cbd5\"; fillcolor=\"#eceff4\"; fontsize=12;")
}

fn attributes(node: &PictureNode) -> String {
    let label = lines(node).iter().map(|l| escaped(l)).collect::<Vec<_>>().join("\\n");
    let mut style = String::from(if node.kind == NodeKind::Gate { "filled" } else { "rounded,filled" });
    if node.conditional {
        style += ",dashed";
    }
    let (fill, stroke) = colours(node.kind);
    let mut out = format!(
        "label=\"{label}\", style=\"{style}\", fillcolor=\"{fill}\", color=\"{stroke}\", tooltip=\"{}\"",
        escaped(&node.id)
    );
    match node.kind {
        NodeKind::Gate => out += ", shape=hexagon, peripheries=2",
        NodeKind::Blueprint => out += ", shape=component",
        _ if node.each => out += ", shape=box3d",
        _ => {}
    }
    out
}
