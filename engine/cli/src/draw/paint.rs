//! Draws what has been arranged: frames, backgrounds, edges and nodes, back to front.
//! It decides looks only; where things are is settled, and text is escaped by the page.

use super::arrange::{Drawing, TIP, tab};
use super::face::{self, HEADER, HEIGHT, POINT, STACK, WORDS_AT, chip_width};
use super::geometry::{Direction, Point, Rect};
use super::picture::{NodeKind, PictureNode};
use super::scene::Scene;
use super::svg::{D, Page, R};
use super::text::{Font, Num as N, Xml, clean, put, width};

/// Draws frames, backgrounds, edges, nodes and ways back, in this order.
pub(super) fn content(page: &mut Page, scene: &Scene<'_>, drawing: &Drawing) {
    let mut frames: Vec<usize> = (0..drawing.frames.len()).collect();
    frames.sort_by_key(|&g| scene.depth[g + 1]);
    for &g in &frames {
        frame(page, scene, g, drawing.frames[g], drawing.direction);
    }
    for hull in &drawing.hulls {
        page.put(format_args!(r#"<g class="hull">"#));
        for thread in &hull.threads {
            page.put(format_args!(r#"<path d="{}"/>"#, D(thread)));
        }
        for part in &hull.parts {
            page.put(format_args!(r#"<rect {} rx="14"/>"#, R(part)));
        }
        page.put(format_args!("</g>"));
        if let ([part], true) = (hull.parts.as_slice(), hull.threads.is_empty()) {
            page.put(format_args!(r#"<rect class="rim" {} rx="14"/>"#, R(part)));
        }
    }
    for wire in &drawing.wires {
        page.put(format_args!(r#"<path class="wire" d="{}"/>"#, D(wire)));
    }
    for &tip in &drawing.tips {
        let (aside, ahead) = (4.2, TIP + 0.5);
        arrow(
            page,
            "tip",
            tip,
            drawing.direction.point(aside, -ahead),
            drawing.direction.point(-aside, -ahead),
        );
    }
    for &g in &frames {
        header(page, scene, g, drawing.frames[g]);
    }
    for (n, node) in scene.picture.nodes.iter().enumerate() {
        if let Some(rect) = drawing.boxes[n] {
            node_box(page, node, rect, drawing.direction);
        }
    }
    for back in &drawing.returns {
        page.put(format_args!(r#"<path class="back" d="{}"/>"#, D(&back.path)));
        let (aside, ahead) = (4.2, TIP + 0.5);
        arrow(
            page,
            "back-tip",
            back.tip,
            drawing.direction.point(ahead, aside),
            drawing.direction.point(ahead, -aside),
        );
    }
    for back in &drawing.returns {
        let words = &scene.returns[back.index].label;
        let plate = Rect { x: back.label.x - 3.0, w: back.label.w + 6.0, ..back.label };
        let class = if back.framed { "plate" } else { "back-plate" };
        page.put(format_args!(r#"<rect class="{class}" {} rx="4"/>"#, R(&plate)));
        page.put(format_args!(
            r#"<text class="back-label" x="{}" y="{}">{}</text>"#,
            N(back.label.x),
            N(back.label.y + 12.0),
            Xml(words)
        ));
    }
}

fn arrow(page: &mut Page, class: &str, tip: Point, a: Point, b: Point) {
    page.put(format_args!(
        r#"<path class="{class}" d="M{} {}l{} {}L{} {}z"/>"#,
        N(tip.x),
        N(tip.y),
        N(a.x),
        N(a.y),
        N(tip.x + b.x),
        N(tip.y + b.y)
    ));
}

/// Opens the group of a node with the classes its looks depend on, and its tooltip.
fn open(page: &mut Page, node: &PictureNode) {
    let mut class = format!("n k-{}", node.kind.name());
    if let Some(state) = node.state {
        put(&mut class, format_args!(" s-{}", state.name()));
    }
    if node.conditional {
        class += " when";
    }
    page.put(format_args!(r#"<g class="{class}" data-node="{}">"#, Xml(&node.id)));
    let mut words = format!("{} · {}", clean(&node.id), node.kind.name());
    for part in [
        node.tier.map(|t| format!("tier {}", t.name())),
        (node.join.name() != "all").then(|| format!("join {}", node.join.name())),
        node.each.then(|| "once per item".to_owned()),
        node.conditional.then(|| "conditional".to_owned()),
        node.state.map(|s| s.name().to_owned()),
        node.badge.clone(),
        node.detail.clone(),
    ]
    .into_iter()
    .flatten()
    {
        put(&mut words, format_args!(" · {}", clean(&part)));
    }
    if clean(&node.label) != clean(&node.id) {
        words = format!("{}: {words}", clean(&node.label));
    }
    page.put(format_args!("<title>{}</title>", Xml(&words)));
}

fn join_tab(page: &mut Page, node: &PictureNode, rect: Rect, direction: Direction) {
    let Some((w, h)) = tab(node.join, direction) else { return };
    // The side that touches the box is square.
    let (at, d) = match direction {
        Direction::Down => {
            let at = Point { x: rect.x + (rect.w - w) / 2.0, y: rect.y - h };
            let (rise, top) = (N(h - 6.0), N(w - 12.0));
            let d = format!("M{} {}v-{rise}a6 6 0 0 1 6 -6h{top}a6 6 0 0 1 6 6v{rise}z", N(at.x), N(rect.y));
            (at, d)
        }
        Direction::Right => {
            let at = Point { x: rect.x - w, y: rect.y + (rect.h - h) / 2.0 };
            let (run, side) = (N(w - 6.0), N(h - 12.0));
            let d = format!("M{} {}h-{run}a6 6 0 0 0 -6 6v{side}a6 6 0 0 0 6 6h{run}z", N(rect.x), N(at.y));
            (at, d)
        }
    };
    page.put(format_args!(
        r#"<path class="tab" d="{d}"/><text class="tt" x="{}" y="{}">{}</text>"#,
        N(at.x + w / 2.0),
        N(at.y + h / 2.0 + 3.5),
        node.join.name()
    ));
}

fn node_box(page: &mut Page, node: &PictureNode, rect: Rect, direction: Direction) {
    open(page, node);
    let face = face::face(node, rect.w);
    page.put(format_args!(r#"<g class="body">"#));
    let gate = node.kind == NodeKind::Gate;
    if node.each {
        for by in [STACK, STACK / 2.0] {
            let card = Rect { x: rect.x + by, y: rect.y + by, ..rect };
            outline(page, "card", card, gate, 0.0);
        }
    }
    outline(page, "box", rect, gate, 0.0);
    if gate {
        outline(page, "inner", rect, true, 3.5);
        page.icon(node.kind, rect.x + 21.0, rect.y + 20.0);
    } else {
        page.put(format_args!(
            r#"<path class="tile" d="M{} {}h-28a8 8 0 0 0-8 8v{}a8 8 0 0 0 8 8h28z"/>"#,
            N(rect.x + 36.0),
            N(rect.y),
            N(HEIGHT - 16.0)
        ));
        page.icon(node.kind, rect.x + 10.0, rect.y + 20.0);
    }
    let end = rect.right() - face::margin(node.kind);
    page.put(format_args!(
        r#"<text class="l" x="{}" y="{}">{}</text>"#,
        N(rect.x + WORDS_AT),
        N(rect.y + 25.0),
        Xml(&face.label)
    ));
    let font = if face.second_font == Font::Mono { "d m" } else { "d" };
    page.put(format_args!(
        r#"<text class="{font}" x="{}" y="{}">{}</text>"#,
        N(rect.x + WORDS_AT),
        N(rect.y + 43.0),
        Xml(&face.second)
    ));
    if let Some(badge) = &face.badge {
        page.put(format_args!(
            r#"<text class="b" x="{}" y="{}">{}</text>"#,
            N(end),
            N(rect.y + 43.0),
            Xml(badge)
        ));
    }
    if let Some(tier) = face.tier {
        page.chip(tier, end - chip_width(tier.name()), rect.y + 20.0);
    }
    join_tab(page, node, rect, direction);
    page.put(format_args!("</g>"));
    if let Some(state) = node.state {
        page.mark(state, rect.right() - if gate { POINT } else { 5.0 }, rect.y + 1.0);
    }
    page.put(format_args!("</g>"));
}

/// A rounded box, or the six-sided one of a gate, this far inside the room.
fn outline(page: &mut Page, class: &str, rect: Rect, gate: bool, inside: f64) {
    let r = rect.grown(-inside);
    if gate {
        let point = POINT - inside * 0.4;
        page.put(format_args!(
            r#"<path class="{class}" stroke-linejoin="round" d="M{} {}h{}l{} {}l-{} {}h-{}l-{} -{}z"/>"#,
            N(r.x + point),
            N(r.y),
            N(r.w - 2.0 * point),
            N(point),
            N(r.h / 2.0),
            N(point),
            N(r.h / 2.0),
            N(r.w - 2.0 * point),
            N(point),
            N(r.h / 2.0)
        ));
    } else {
        page.put(format_args!(r#"<rect class="{class}" {} rx="8"/>"#, R(&r)));
    }
}

fn frame(page: &mut Page, scene: &Scene<'_>, group: usize, rect: Rect, direction: Direction) {
    let head = scene.head_node(group);
    let when = if head.is_some_and(|h| h.conditional) { " class=\"when\"" } else { "" };
    page.put(format_args!("<g{when}>"));
    if head.is_some_and(|h| h.each) {
        for by in [STACK, STACK / 2.0] {
            let card = Rect { x: rect.x + by, y: rect.y + by, ..rect };
            page.put(format_args!(r#"<rect class="frame" {} rx="12"/>"#, R(&card)));
        }
    }
    page.put(format_args!(r#"<rect class="frame" {} rx="12"/>"#, R(&rect)));
    if let Some(head) = head {
        join_tab(page, head, rect, direction);
    }
    page.put(format_args!("</g>"));
}

fn header(page: &mut Page, scene: &Scene<'_>, group: usize, rect: Rect) {
    let named = &scene.picture.groups[group];
    let plain = PictureNode::new(named.id.clone(), named.title.clone(), NodeKind::Blueprint);
    let head = scene.head_node(group).unwrap_or(&plain);
    let words = face::header(named, Some(head));
    open(page, head);
    let y = rect.y + HEADER / 2.0 + 3.0;
    // Edges that come in from above pass behind the words.
    page.put(format_args!(
        r#"<rect class="plate" x="{}" y="{}" width="{}" height="22" rx="6"/>"#,
        N(rect.x + 8.0),
        N(y - 11.0),
        N(words.width - 16.0)
    ));
    page.icon(head.kind, rect.x + 15.0, y - 8.0);
    page.put(format_args!(
        r#"<text class="ft" x="{}" y="{}">{}</text>"#,
        N(rect.x + 38.0),
        N(y + 4.5),
        Xml(&words.title)
    ));
    let mut x = rect.x + 38.0 + width(&words.title, Font::Bold, 13.0) + 10.0;
    if let Some(tier) = words.tier {
        page.chip(tier, x, y);
        x += chip_width(tier.name()) + 10.0;
    }
    if let Some(badge) = &words.badge {
        page.put(format_args!(r#"<text class="d" x="{}" y="{}">{}</text>"#, N(x), N(y + 4.0), Xml(badge)));
    }
    if let Some(state) = head.state {
        page.mark(state, rect.right() - 7.0, rect.y + 2.0);
    }
    page.put(format_args!("</g>"));
}
