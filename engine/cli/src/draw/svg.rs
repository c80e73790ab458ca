//! The picture as SVG: one self-contained, accessible image that works in light and dark.
//! It never writes scripts, links to anything outside itself, or text that is not escaped.

use super::arrange::{self, Drawing};
use super::face::chip_width;
use super::geometry::{Direction, Path, Rect, Step};
use super::legend;
use super::paint;
use super::picture::{NodeKind, NodeState, Picture, Tier};
use super::scene::Scene;
use super::style;
use super::text::{Font, Num as N, Xml, clean, elide, put, width};
use std::fmt;

/// Up to this many nodes both directions are tried and the better one kept.
const TRY_BOTH: usize = 600;
/// Air around everything.
const PAGE: f64 = 26.0;

/// Which colours a picture uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// What the reader's system prefers.
    #[default]
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

/// Whether a picture explains its signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legend {
    /// Below the picture, with only the signs that occur.
    #[default]
    Below,
    /// Not at all.
    None,
}

/// How to draw.
#[derive(Clone, Debug, Default)]
pub struct SvgOptions {
    /// Reading direction; by default the one that fits a page better.
    pub direction: Option<Direction>,
    /// Colours.
    pub scheme: Scheme,
    /// Legend.
    pub legend: Legend,
    /// Prefix of every id and class, for pages that hold several pictures; `bp` by default.
    /// Characters other than ASCII letters and digits are left out.
    pub prefix: String,
}

/// Collects the document.
#[derive(Debug)]
pub(super) struct Page {
    out: String,
    pub(super) prefix: String,
}

impl Page {
    pub(super) fn put(&mut self, what: fmt::Arguments<'_>) {
        put(&mut self.out, what);
        self.out.push('\n');
    }

    /// An icon with its upper left corner at the given place, in the colour of its kind.
    pub(super) fn icon(&mut self, kind: NodeKind, x: f64, y: f64) {
        let (prefix, kind) = (self.prefix.clone(), kind.name());
        self.put(format_args!(r##"<use class="i" href="#{prefix}-{kind}" x="{}" y="{}"/>"##, N(x), N(y)));
    }

    /// A tier's chip with its left edge at `x` and its middle at `y`.
    pub(super) fn chip(&mut self, tier: Tier, x: f64, y: f64) {
        let (name, w) = (tier.name(), chip_width(tier.name()));
        self.put(format_args!(
            r#"<g class="t-{name}"><rect class="chip" x="{}" y="{}" width="{}" height="16" rx="8"/><text class="ct" x="{}" y="{}">{name}</text></g>"#,
            N(x),
            N(y - 8.0),
            N(w),
            N(x + w / 2.0),
            N(y + 3.5)
        ));
    }

    /// The round marker of a state.
    pub(super) fn mark(&mut self, state: NodeState, x: f64, y: f64) {
        let glyph = match state {
            NodeState::Succeeded => "M-3.2 .2l2.2 2.3 4.2-4.7",
            NodeState::Failed => "M-2.6-2.6l5.2 5.2M2.6-2.6l-5.2 5.2",
            NodeState::Running => "M-1.8-3l4.6 3-4.6 3z",
            NodeState::Waiting => "M-1.7-2.8v5.6M1.7-2.8v5.6",
            NodeState::Skipped => "M-3.4-2.6l2.6 2.6-2.6 2.6M.6-2.6l2.6 2.6-2.6 2.6",
            NodeState::Cancelled => "M-3 0h6",
            NodeState::Pending => "M-2.6 0h.1M0 0h.1M2.6 0h.1",
        };
        self.put(format_args!(
            r#"<g transform="translate({} {})"><circle class="mark" r="8"/><path class="glyph" d="{glyph}"/></g>"#,
            N(x),
            N(y)
        ));
    }
}

/// Draws the picture. Any strings give a well-formed document; any graph gives one in time
/// linear in its size but for sorting.
pub fn svg(picture: &Picture, options: &SvgOptions) -> String {
    let scene = Scene::new(picture);
    let drawing = drawing(&scene, options.direction);
    let prefix: String = options.prefix.chars().filter(char::is_ascii_alphanumeric).collect();
    let prefix = match prefix.chars().next() {
        None => "bp".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("bp{prefix}"),
        Some(_) => prefix,
    };
    let mut page = Page { out: String::new(), prefix };
    document(&mut page, &scene, &drawing, options);
    page.out
}

/// Lays the scene out, in the direction that fits a page better unless one is given.
pub(super) fn drawing(scene: &Scene<'_>, direction: Option<Direction>) -> Drawing {
    if let Some(direction) = direction {
        return arrange::arrange(scene, direction);
    }
    let down = arrange::arrange(scene, Direction::Down);
    if scene.picture.nodes.len() > TRY_BOTH {
        return down;
    }
    let right = arrange::arrange(scene, Direction::Right);
    // How much a usual column of text would have to shrink it. Sideways reads better if it fits.
    let shrink = |d: &Drawing| (d.bounds.w / 980.0).max(d.bounds.h / 1000.0).max(1.0);
    if shrink(&right) <= shrink(&down) * 1.02 { right } else { down }
}

fn document(page: &mut Page, scene: &Scene<'_>, drawing: &Drawing, options: &SvgOptions) {
    let picture = scene.picture;
    let used = legend::used(scene, options.legend);
    let inner = drawing.bounds.w.max(legend::least_width(&used)).max(if picture.nodes.is_empty() {
        260.0
    } else {
        0.0
    });
    let title = elide(&picture.title, Font::Bold, 19.0, inner.max(420.0));
    let inner = inner.max(width(&title, Font::Bold, 19.0));
    let subtitle = picture.subtitle.as_deref().map_or_else(Vec::new, |s| wrap(s, inner));
    let inner = subtitle.iter().map(|l| width(l, Font::Sans, 13.0)).fold(inner, f64::max);
    let mut top = PAGE;
    if !title.is_empty() {
        top += 26.0;
    }
    top += subtitle.len() as f64 * 19.0;
    if top > PAGE {
        top += 16.0;
    }
    let empty = picture.nodes.is_empty() && picture.groups.is_empty();
    let body = if empty { 30.0 } else { drawing.bounds.h };
    let legend_top = top + body + 24.0;
    let legend_height = legend::height(&used, inner);
    let full_w = (inner + 2.0 * PAGE).ceil();
    let full_h =
        if used.is_empty() { top + body + PAGE } else { legend_top + legend_height + PAGE - 8.0 }.ceil();

    let prefix = page.prefix.clone();
    page.put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="{prefix}" role="img" aria-labelledby="{prefix}-title {prefix}-desc" viewBox="0 0 {full_w} {full_h}" width="{full_w}" height="{full_h}">"#
    ));
    let name = if title.is_empty() { "blueprint" } else { picture.title.as_str() };
    page.put(format_args!(r#"<title id="{prefix}-title">{}</title>"#, Xml(name)));
    page.put(format_args!(r#"<desc id="{prefix}-desc">{}</desc>"#, Xml(&description(scene))));
    page.put(format_args!("<style>\n{}</style>", style::sheet(&prefix, options.scheme)));
    icons(page, picture);
    page.put(format_args!(
        r#"<rect class="page" x=".5" y=".5" width="{}" height="{}" rx="12"/>"#,
        full_w - 1.0,
        full_h - 1.0
    ));
    let mut y = PAGE;
    if !title.is_empty() {
        page.put(format_args!(
            r#"<text class="heading" x="{PAGE}" y="{}">{}</text>"#,
            N(y + 15.0),
            Xml(&title)
        ));
        y += 26.0;
    }
    for line in &subtitle {
        page.put(format_args!(r#"<text class="sub" x="{PAGE}" y="{}">{}</text>"#, N(y + 12.0), Xml(line)));
        y += 19.0;
    }
    if empty {
        page.put(format_args!(r#"<text class="sub" x="{PAGE}" y="{}">No nodes yet.</text>"#, N(top + 18.0)));
    }
    let dx = PAGE + (inner - drawing.bounds.w) / 2.0 - drawing.bounds.x;
    page.put(format_args!(r#"<g transform="translate({} {})">"#, N(dx), N(top - drawing.bounds.y)));
    paint::content(page, scene, drawing);
    page.put(format_args!("</g>"));
    if !used.is_empty() {
        legend::draw(page, &used, PAGE, legend_top, inner);
    }
    page.put(format_args!("</svg>"));
}

/// At most three lines that fit `room`, which is taken for at least a readable width.
fn wrap(text: &str, room: f64) -> Vec<String> {
    let room = room.max(430.0);
    let mut lines: Vec<String> = Vec::new();
    let text = clean(text);
    let mut words = text.split(' ').peekable();
    while words.peek().is_some() && lines.len() < 3 {
        let mut line = String::new();
        while let Some(word) = words.peek() {
            let longer = if line.is_empty() { (*word).to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && width(&longer, Font::Sans, 13.0) > room {
                break;
            }
            line = longer;
            words.next();
        }
        if lines.len() == 2 && words.peek().is_some() {
            line.push_str(" …");
        }
        lines.push(elide(&line, Font::Sans, 13.0, room));
    }
    lines.retain(|l| !l.is_empty());
    lines
}

/// What the picture shows, for those who cannot see it.
fn description(scene: &Scene<'_>) -> String {
    let picture = scene.picture;
    let (nodes, needs) = (picture.nodes.len(), scene.needs.len());
    let mut out = format!(
        "A graph of {nodes} node{} with {needs} {}",
        if nodes == 1 { "" } else { "s" },
        if needs == 1 { "dependency" } else { "dependencies" },
    );
    match scene.returns.len() {
        0 => out.push('.'),
        1 => out.push_str(" and 1 way back."),
        more => put(&mut out, format_args!(" and {more} ways back.")),
    }
    for node in picture.nodes.iter().take(40) {
        let before: Vec<&str> = picture
            .edges
            .iter()
            .filter(|e| e.kind == super::picture::EdgeKind::Needs && e.to == node.id)
            .map(|e| e.from.as_str())
            .take(6)
            .collect();
        put(&mut out, format_args!(" {} ({})", node.id, node.kind.name()));
        if !before.is_empty() {
            put(&mut out, format_args!(" needs {}", before.join(", ")));
        }
        out.push('.');
    }
    out
}

fn icons(page: &mut Page, picture: &Picture) {
    let prefix = page.prefix.clone();
    let frames = !picture.groups.is_empty();
    page.put(format_args!("<defs>"));
    for kind in NodeKind::ALL {
        let used = picture.nodes.iter().any(|n| n.kind == kind) || (frames && kind == NodeKind::Blueprint);
        if used {
            let (name, d) = (kind.name(), icon(kind));
            page.put(format_args!(r#"<path id="{prefix}-{name}" d="{d}"/>"#));
        }
    }
    page.put(format_args!("</defs>"));
}

/// A line drawing of 16 by 16 pixels.
fn icon(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Run => "M2.5 4l4.2 4-4.2 4M8.5 12.2h5",
        NodeKind::Edit => "M10.9 2.6l2.5 2.5-7.9 7.9-3.1.6.6-3.1zM9.3 4.2l2.5 2.5",
        NodeKind::Http => {
            "M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 1 1 12.4 0zM1.8 8h12.4M8 1.8c1.9 1.9 2.6 4 2.6 6.2S9.9 12.3 8 14.2C6.1 12.3 5.4 10.2 5.4 8S6.1 3.7 8 1.8"
        }
        NodeKind::Agent => {
            "M6.8 2.2l1.5 4.3 4.3 1.5-4.3 1.5-1.5 4.3-1.5-4.3L1 8l4.3-1.5zM12.8 1.5v3M11.3 3h3M13 12v2.4M11.8 13.2h2.4"
        }
        NodeKind::Gate => {
            "M8 1.6l5.2 2v4.2c0 3.3-2.2 5.6-5.2 6.7-3-1.1-5.2-3.4-5.2-6.7V3.6zM5.7 8l1.7 1.7 3-3.4"
        }
        NodeKind::Ci => "M2 4.3l1.4 1.4 2.3-2.7M2 11l1.4 1.4 2.3-2.7M8.5 4.5H14M8.5 11.2H14",
        NodeKind::Forge => {
            "M4.5 5.4v5.2M4.5 10.6a1.9 1.9 0 1 0 .01 0M4.5 5.4a1.9 1.9 0 1 1 .01 0M11.5 5.9a1.9 1.9 0 1 1 .01 0M11.5 5.9c0 2.9-7 1.7-7 4.7"
        }
        NodeKind::Wait => "M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 1 1 12.4 0zM8 4.6V8l2.4 1.6",
        NodeKind::Blueprint => "M2 2.5h4.6v4.2H2zM9.4 9.3H14v4.2H9.4zM6.6 4.6h5.1v4.7",
    }
}

/// Writes a curve as path data.
pub(super) struct D<'p>(pub(super) &'p Path);

impl fmt::Display for D<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{} {}", N(self.0.start.x), N(self.0.start.y))?;
        for step in &self.0.steps {
            match *step {
                Step::Line(p) => write!(f, "L{} {}", N(p.x), N(p.y))?,
                Step::Quad(c, p) => write!(f, "Q{} {} {} {}", N(c.x), N(c.y), N(p.x), N(p.y))?,
                Step::Cubic(a, b, p) => {
                    write!(f, "C{} {} {} {} {} {}", N(a.x), N(a.y), N(b.x), N(b.y), N(p.x), N(p.y))?;
                }
            }
        }
        Ok(())
    }
}

/// Writes a box as attributes.
pub(super) struct R<'r>(pub(super) &'r Rect);

impl fmt::Display for R<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        write!(f, r#"x="{}" y="{}" width="{}" height="{}""#, N(r.x), N(r.y), N(r.w), N(r.h))
    }
}
