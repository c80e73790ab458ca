//! What is written on a node and how much room that takes; the only place with box sizes.
//! Nothing it returns is wider than the box it was made for.

use super::picture::{Group, NodeKind, PictureNode, Tier};
use super::text::{Font, clean, elide, name, width};

/// Height of every box, in pixels.
pub(super) const HEIGHT: f64 = 56.0;
/// Where the words begin, right of the icon.
pub(super) const WORDS_AT: f64 = 47.0;
/// How far the stacked cards of a mapped node stick out.
pub(super) const STACK: f64 = 8.0;
/// How far a gate's points reach into its box.
pub(super) const POINT: f64 = 15.0;
/// Height of the header of a frame.
pub(super) const HEADER: f64 = 38.0;
/// Font sizes of labels, second lines and chips.
pub(super) const LABEL: f64 = 14.0;
pub(super) const SECOND: f64 = 11.0;
pub(super) const CHIP: f64 = 10.0;

const NARROWEST: f64 = 164.0;
const WIDEST: f64 = 272.0;
/// Second lines do not widen a box beyond this; they are often long commands.
const SECOND_AT_MOST: f64 = 190.0;

/// The words of one node, shortened to fit.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) label: String,
    pub(super) second: String,
    pub(super) second_font: Font,
    pub(super) tier: Option<Tier>,
    pub(super) badge: Option<String>,
}

/// Width of a chip with these words.
pub(super) fn chip_width(words: &str) -> f64 {
    width(words, Font::Sans, CHIP) + 13.0
}

/// Free room right of the words.
pub(super) fn margin(kind: NodeKind) -> f64 {
    if kind == NodeKind::Gate { POINT + 8.0 } else { 12.0 }
}

/// One width for all boxes, so that the picture is calm.
pub(super) fn box_width<'n>(nodes: impl Iterator<Item = &'n PictureNode>) -> f64 {
    nodes.map(natural).fold(NARROWEST, f64::max).min(WIDEST).ceil()
}

fn natural(node: &PictureNode) -> f64 {
    let chip = node.tier.map_or(0.0, |t| 10.0 + chip_width(t.name()));
    let first = width(&name(&node.label, &node.id), Font::Bold, LABEL) + chip;
    let badge = node.badge.as_ref().map_or(0.0, |b| 10.0 + width(&clean(b), Font::Sans, SECOND));
    let (second, font) = second(node);
    let second = width(&clean(second), font, SECOND).min(SECOND_AT_MOST) + badge;
    WORDS_AT + first.max(second) + margin(node.kind)
}

fn second(node: &PictureNode) -> (&str, Font) {
    match node.detail.as_deref().filter(|d| !clean(d).is_empty()) {
        Some(detail) => (detail, Font::Mono),
        None => (node.kind.name(), Font::Sans),
    }
}

/// The words of a node in a box of this width.
pub(super) fn face(node: &PictureNode, box_width: f64) -> Face {
    let room = box_width - WORDS_AT - margin(node.kind);
    let chip = node.tier.map_or(0.0, |t| 10.0 + chip_width(t.name()));
    let badge =
        node.badge.as_ref().map(|b| elide(b, Font::Sans, SECOND, room * 0.45)).filter(|b| !b.is_empty());
    let taken = badge.as_ref().map_or(0.0, |b| 10.0 + width(b, Font::Sans, SECOND));
    let (words, second_font) = second(node);
    Face {
        label: elide(&name(&node.label, &node.id), Font::Bold, LABEL, room - chip),
        second: elide(words, second_font, SECOND, room - taken),
        second_font,
        tier: node.tier,
        badge,
    }
}

/// The words on a frame's header: title, tier and badge, and the width they need.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) title: String,
    pub(super) tier: Option<Tier>,
    pub(super) badge: Option<String>,
    pub(super) width: f64,
}

/// The header of the frame of a group that opens up `head`.
pub(super) fn header(group: &Group, head: Option<&PictureNode>) -> Header {
    let title = elide(&name(&group.title, &group.id), Font::Bold, 13.0, 260.0);
    let tier = head.and_then(|h| h.tier);
    let badge = head.and_then(|h| h.badge.as_ref()).map(|b| elide(b, Font::Sans, SECOND, 90.0));
    let mut needed = 40.0 + width(&title, Font::Bold, 13.0) + 16.0;
    needed += tier.map_or(0.0, |t| 10.0 + chip_width(t.name()));
    needed += badge.as_ref().map_or(0.0, |b| 10.0 + width(b, Font::Sans, SECOND));
    Header { title, tier, badge, width: needed.ceil() }
}
