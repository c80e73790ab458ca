//! The legend: an explanation of every sign that occurs in a picture, and of no other.

use super::face::chip_width;
use super::geometry::Rect;
use super::picture::{Join, NodeKind, NodeState, Tier};
use super::scene::Scene;
use super::svg::{Legend, Page, R};
use super::text::{Font, Num as N, width};

const ROW: f64 = 24.0;
const BETWEEN: f64 = 22.0;

/// One sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Kind(NodeKind),
    Tier(Tier),
    State(NodeState),
    Conditional,
    Each,
    Join(Join),
    Repair,
    Region,
}

impl Sign {
    fn words(self) -> &'static str {
        match self {
            Self::Kind(NodeKind::Blueprint) => "sub-blueprint",
            Self::Kind(kind) => kind.name(),
            Self::Tier(tier) => tier.meaning(),
            Self::State(state) => state.name(),
            Self::Conditional => "only if its condition holds",
            Self::Each => "once per item",
            Self::Join(Join::Any) => "after the first success",
            Self::Join(_) => "after all, however they end",
            Self::Repair => "goes back on failure",
            Self::Region => "runs again in a repair",
        }
    }

    /// Width of the sign itself.
    fn sign_width(self) -> f64 {
        match self {
            Self::Kind(_) => 16.0,
            Self::Tier(tier) => chip_width(tier.name()),
            Self::State(_) => 18.0,
            Self::Conditional | Self::Each | Self::Region => 24.0,
            Self::Join(join) => width(join.name(), Font::Sans, 10.0) + 12.0,
            Self::Repair => 28.0,
        }
    }

    fn width(self) -> f64 {
        self.sign_width() + 7.0 + width(self.words(), Font::Sans, 11.0)
    }
}

/// The signs that occur, in rows of a kind.
pub(super) fn used(scene: &Scene<'_>, legend: Legend) -> Vec<Sign> {
    if legend == Legend::None {
        return Vec::new();
    }
    let nodes = &scene.picture.nodes;
    let mut signs = Vec::new();
    let frames = !scene.picture.groups.is_empty();
    for kind in NodeKind::ALL {
        if nodes.iter().any(|n| n.kind == kind) || (frames && kind == NodeKind::Blueprint) {
            signs.push(Sign::Kind(kind));
        }
    }
    let tiers = Tier::ALL.into_iter().filter(|&t| nodes.iter().any(|n| n.tier == Some(t)));
    signs.extend(tiers.map(Sign::Tier));
    for (sign, occurs) in [
        (Sign::Conditional, nodes.iter().any(|n| n.conditional)),
        (Sign::Each, nodes.iter().any(|n| n.each)),
        (Sign::Join(Join::Any), nodes.iter().any(|n| n.join == Join::Any)),
        (Sign::Join(Join::Settled), nodes.iter().any(|n| n.join == Join::Settled)),
        (Sign::Repair, !scene.returns.is_empty()),
        (Sign::Region, scene.returns.iter().any(|r| r.is_region)),
    ] {
        if occurs {
            signs.push(sign);
        }
    }
    let states = NodeState::ALL.into_iter().filter(|&s| nodes.iter().any(|n| n.state == Some(s)));
    signs.extend(states.map(Sign::State));
    signs
}

/// A legend narrower than this would be a long list.
pub(super) fn least_width(signs: &[Sign]) -> f64 {
    let all: f64 = signs.iter().map(|s| s.width() + BETWEEN).sum();
    let widest = signs.iter().map(|s| s.width()).fold(0.0, f64::max);
    (all - BETWEEN).min(400.0).max(widest)
}

/// Rows of signs; kinds, tiers, properties and states each begin a new row if they do not all
/// fit into one.
fn rows(signs: &[Sign], room: f64) -> Vec<Vec<(f64, Sign)>> {
    let topic = |s: Sign| match s {
        Sign::Kind(_) => 0,
        Sign::Tier(_) => 1,
        Sign::State(_) => 3,
        _ => 2,
    };
    let mut rows: Vec<Vec<(f64, Sign)>> = Vec::new();
    let mut x = 0.0;
    let mut last = None;
    for &sign in signs {
        let fits = x + sign.width() <= room + 0.5;
        if rows.is_empty() || !fits || last != Some(topic(sign)) {
            rows.push(Vec::new());
            x = 0.0;
        }
        last = Some(topic(sign));
        if let Some(row) = rows.last_mut() {
            row.push((x, sign));
        }
        x += sign.width() + BETWEEN;
    }
    rows
}

/// Height of the legend in this width.
pub(super) fn height(signs: &[Sign], room: f64) -> f64 {
    12.0 + rows(signs, room).len() as f64 * ROW
}

/// Draws the legend below a thin rule.
pub(super) fn draw(page: &mut Page, signs: &[Sign], x: f64, y: f64, room: f64) {
    page.put(format_args!(r#"<path class="rule" d="M{} {}h{}"/>"#, N(x), N(y), N(room)));
    for (r, row) in rows(signs, room).into_iter().enumerate() {
        let middle = y + 12.0 + ROW * (r as f64 + 0.5);
        for (at, sign) in row {
            draw_sign(page, sign, x + at, middle);
            page.put(format_args!(
                r#"<text class="lt" x="{}" y="{}">{}</text>"#,
                N(x + at + sign.sign_width() + 7.0),
                N(middle + 4.0),
                sign.words()
            ));
        }
    }
}

fn draw_sign(page: &mut Page, sign: Sign, x: f64, y: f64) {
    let small = |dx: f64, dy: f64| Rect { x: x + dx, y: y - 6.0 + dy, w: 20.0, h: 12.0 };
    match sign {
        Sign::Kind(kind) => {
            page.put(format_args!(r#"<g class="k-{}">"#, kind.name()));
            page.icon(kind, x, y - 8.0);
            page.put(format_args!("</g>"));
        }
        Sign::Tier(tier) => page.chip(tier, x, y),
        Sign::State(state) => {
            page.put(format_args!(r#"<g class="s-{}">"#, state.name()));
            page.mark(state, x + 9.0, y);
            page.put(format_args!("</g>"));
        }
        Sign::Conditional => {
            page.put(format_args!(
                r#"<g class="when"><rect class="box" {} rx="3"/></g>"#,
                R(&small(1.0, 0.0))
            ));
        }
        Sign::Each => {
            for by in [3.0, 1.5, 0.0] {
                page.put(format_args!(r#"<rect class="card" {} rx="3"/>"#, R(&small(by, by - 1.5))));
            }
        }
        Sign::Join(join) => {
            let room = Rect { x, y: y - 7.5, w: sign.sign_width(), h: 15.0 };
            page.put(format_args!(
                r#"<rect class="tab" {} rx="5"/><text class="tt" x="{}" y="{}">{}</text>"#,
                R(&room),
                N(x + room.w / 2.0),
                N(y + 3.5),
                join.name()
            ));
        }
        Sign::Repair => {
            page.put(format_args!(
                r#"<path class="back" d="M{} {}h-20"/><path class="back-tip" d="M{} {}l7.5 4.2v-8.4z"/>"#,
                N(x + 27.0),
                N(y),
                N(x),
                N(y)
            ));
        }
        Sign::Region => {
            let room = small(1.0, 0.0);
            page.put(format_args!(
                r#"<g class="hull"><rect {} rx="4"/></g><rect class="rim" {} rx="4"/>"#,
                R(&room),
                R(&room)
            ));
        }
    }
}
