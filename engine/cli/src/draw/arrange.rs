//! Puts the levels of a scene together: frames become items of the level around them, edges
//! across frames are threaded through ports in their borders, and all of it lands on one page.

use super::course;
use super::face::{self, HEADER, HEIGHT, STACK};
use super::geometry::{Direction, Path, Point, Rect};
use super::level::{self, Arc, Back, Item, Level, Placed, Role};
use super::picture::{Join, PictureNode};
use super::region::{self, Hull, Span};
use super::scene::{End, Scene};
use super::text::{Font, width};
use std::collections::HashMap;

/// Length of an arrow's tip.
pub(super) const TIP: f64 = 7.0;
/// Size of the words on a way back.
pub(super) const BACK_LABEL: f64 = 11.0;
const INSET: f64 = 18.0;

/// Everything placed on the page, in pixels.
#[derive(Debug)]
pub(super) struct Drawing {
    pub(super) direction: Direction,
    pub(super) bounds: Rect,
    /// For every node its box, if it has one.
    pub(super) boxes: Vec<Option<Rect>>,
    pub(super) frames: Vec<Rect>,
    /// The course of every edge of the scene, short of its tip.
    pub(super) wires: Vec<Path>,
    /// Where arrows end, without repetition.
    pub(super) tips: Vec<Point>,
    pub(super) returns: Vec<WayBack>,
    pub(super) hulls: Vec<Hull>,
}

/// A way back on the page.
#[derive(Debug)]
pub(super) struct WayBack {
    pub(super) path: Path,
    pub(super) tip: Point,
    /// Room of its words.
    pub(super) label: Rect,
    /// Index into the scene's returns.
    pub(super) index: usize,
    /// Whether it runs inside a frame.
    pub(super) framed: bool,
}

/// An item of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Child {
    Here(End),
    /// Where edges to this end, further in, enter.
    Entry(End),
    /// Where edges from this end, further in, leave.
    Exit(End),
}

/// An edge of a level; ports name the hole in a frame's border it comes out of or goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub(super) from: usize,
    pub(super) from_port: Option<End>,
    pub(super) to: usize,
    pub(super) to_port: Option<End>,
}

/// One level: what it holds and, once laid out, where.
#[derive(Debug, Default)]
pub(super) struct Nest {
    pub(super) children: Vec<Child>,
    pub(super) index: HashMap<Child, usize>,
    pub(super) threads: Vec<Thread>,
    pub(super) thread_index: HashMap<Thread, usize>,
    /// Ways back: closer, from, index of the return.
    pub(super) backs: Vec<(usize, usize, usize)>,
    pub(super) spans: Vec<Span>,
    /// Room around the content for the hulls of its regions.
    pub(super) margin: f64,
    pub(super) placed: Placed,
    /// Corner of the content inside the frame, and size of the frame, as cross and along.
    pub(super) content_at: (f64, f64),
    pub(super) frame: (f64, f64),
    pub(super) origin: (f64, f64),
}

impl Nest {
    fn child(&mut self, child: Child) -> usize {
        *self.index.entry(child).or_insert_with(|| {
            self.children.push(child);
            self.children.len() - 1
        })
    }

    fn thread(&mut self, thread: Thread) -> usize {
        *self.thread_index.entry(thread).or_insert_with(|| {
            self.threads.push(thread);
            self.threads.len() - 1
        })
    }
}

/// Lays the scene out in the given direction.
pub(super) fn arrange(scene: &Scene<'_>, direction: Direction) -> Drawing {
    let box_width = face::box_width(scene.picture.nodes.iter());
    let mut nests: Vec<Nest> = (0..scene.levels()).map(|_| Nest::default()).collect();
    let courses = populate(scene, &mut nests);
    let mut inside_out: Vec<usize> = (0..scene.levels()).collect();
    inside_out.sort_by_key(|&l| std::cmp::Reverse(scene.depth[l]));
    for &l in &inside_out {
        let question = question(scene, &nests, l, direction, box_width);
        nests[l].placed = level::lay_out(question);
        enclose(scene, &mut nests, l, direction);
    }
    for &l in inside_out.iter().rev().filter(|&&l| l > 0) {
        let (group, home) = (l - 1, scene.group_home[l - 1]);
        let around = &nests[home];
        let corner = around.placed.corners[around.index[&Child::Here(End::Group(group))]];
        let origin = (around.origin.0 + corner.0, around.origin.1 + corner.1);
        let at = nests[l].content_at;
        nests[l].origin = (origin.0 + at.0, origin.1 + at.1);
    }
    course::collect(scene, &nests, &courses, direction, box_width)
}

/// Fills the levels with children, edges and ways back; returns for every edge of the scene the
/// pieces it consists of, as level and thread.
fn populate(scene: &Scene<'_>, nests: &mut [Nest]) -> Vec<Vec<(usize, usize)>> {
    for (nest, content) in nests.iter_mut().zip(scene.contents()) {
        for end in content {
            nest.child(Child::Here(end));
        }
    }
    let mut courses = Vec::with_capacity(scene.needs.len());
    for &(from, to) in &scene.needs {
        let mut course = Vec::new();
        if let Some((ups, downs)) = scene.split(from, to) {
            let port = |k: usize, end: End| (k > 0).then_some(end);
            for (k, &end) in ups[..ups.len() - 1].iter().enumerate() {
                let l = scene.home(end);
                let nest = &mut nests[l];
                let (a, b) = (nest.child(Child::Here(end)), nest.child(Child::Exit(from)));
                course.push((
                    l,
                    nest.thread(Thread { from: a, from_port: port(k, from), to: b, to_port: None }),
                ));
            }
            let (last_up, last_down) = (ups.len() - 1, downs.len() - 1);
            let l = scene.home(ups[last_up]);
            let nest = &mut nests[l];
            let (a, b) = (nest.child(Child::Here(ups[last_up])), nest.child(Child::Here(downs[last_down])));
            let thread =
                Thread { from: a, from_port: port(last_up, from), to: b, to_port: port(last_down, to) };
            course.push((l, nest.thread(thread)));
            for (k, &end) in downs[..last_down].iter().enumerate().rev() {
                let l = scene.home(end);
                let nest = &mut nests[l];
                let (a, b) = (nest.child(Child::Entry(to)), nest.child(Child::Here(end)));
                course
                    .push((l, nest.thread(Thread { from: a, from_port: None, to: b, to_port: port(k, to) })));
            }
        }
        courses.push(course);
    }
    for (r, back) in scene.returns.iter().enumerate() {
        let (closer, from) = match scene.split(back.closer, back.from) {
            Some((ups, downs)) => (ups[ups.len() - 1], downs[downs.len() - 1]),
            None if back.closer == back.from => (back.closer, back.from),
            None => continue,
        };
        let nest = &mut nests[scene.home(closer)];
        let (a, b) = (nest.child(Child::Here(closer)), nest.child(Child::Here(from)));
        nest.backs.push((a, b, r));
    }
    for nest in nests.iter_mut() {
        let arcs: Vec<(usize, usize)> = nest.threads.iter().map(|t| (t.from, t.to)).collect();
        let wanted = nest.backs.iter().filter(|b| scene.returns[b.2].is_region).map(|b| (b.0, b.1));
        nest.spans = region::spans(nest.children.len(), &arcs, wanted);
        nest.margin = nest.spans.iter().map(|s| s.pad).fold(0.0, f64::max);
    }
    courses
}

/// The node whose tab and cards an end shows.
fn look<'s>(scene: &Scene<'s>, end: End) -> Option<&'s PictureNode> {
    match end {
        End::Node(n) => Some(&scene.picture.nodes[n]),
        End::Group(g) => scene.head_node(g),
    }
}

/// Width and height of the tab that names a join, by direction.
pub(super) fn tab(join: Join, direction: Direction) -> Option<(f64, f64)> {
    (join != Join::All).then(|| {
        let w = width(join.name(), Font::Sans, face::CHIP) + 14.0;
        match direction {
            Direction::Down => (w, 15.0),
            Direction::Right => (w, 18.0),
        }
    })
}

fn question(scene: &Scene<'_>, nests: &[Nest], l: usize, direction: Direction, box_width: f64) -> Level {
    let nest = &nests[l];
    let (gap, flow_gap, spread) = match direction {
        Direction::Down => (30.0, 46.0, 1.5),
        Direction::Right => (24.0, 60.0, 0.6),
    };
    let mut level = Level { gap, flow_gap, spread, reach: 14.0 + nest.margin, ..Level::default() };
    for &child in &nest.children {
        let mut item =
            Item { cross: 0.0, along: 0.0, lead: 0.0, tail: 0.0, spill: 0.0, lanes: 0.0, role: Role::Box };
        match child {
            Child::Entry(_) => item.role = Role::Entry,
            Child::Exit(_) => item.role = Role::Exit,
            Child::Here(end) => {
                (item.cross, item.along) = match end {
                    End::Node(_) => direction.turn(box_width, HEIGHT),
                    End::Group(g) => nests[g + 1].frame,
                };
                if let Some(node) = look(scene, end) {
                    item.lead = tab(node.join, direction).map_or(0.0, |(w, h)| direction.turn(w, h).1);
                    if node.each {
                        (item.tail, item.spill) = (STACK, STACK);
                    }
                }
            }
        }
        level.items.push(item);
    }
    let hole = |item: usize, port: Option<Child>| match (nest.children[item], port) {
        (Child::Here(End::Group(g)), Some(port)) => {
            let inner = &nests[g + 1];
            inner.content_at.0 + inner.placed.corners[inner.index[&port]].0 - inner.frame.0 / 2.0
        }
        _ => 0.0,
    };
    level.arcs = nest
        .threads
        .iter()
        .map(|t| Arc {
            from: t.from,
            to: t.to,
            from_at: hole(t.from, t.from_port.map(Child::Exit)),
            to_at: hole(t.to, t.to_port.map(Child::Entry)),
        })
        .collect();
    level.backs = nest
        .backs
        .iter()
        .map(|&(closer, from, r)| Back { closer, from, label: direction.turn(back_label(scene, r), 16.0) })
        .collect();
    level
}

/// Width of the words on a way back.
pub(super) fn back_label(scene: &Scene<'_>, index: usize) -> f64 {
    width(&scene.returns[index].label, Font::Sans, BACK_LABEL)
}

/// Sizes the frame around a level.
fn enclose(scene: &Scene<'_>, nests: &mut [Nest], l: usize, direction: Direction) {
    let nest = &mut nests[l];
    if l == 0 {
        return;
    }
    let header = face::header(&scene.picture.groups[l - 1], scene.head_node(l - 1));
    let (w, h) = direction.turn(nest.placed.cross, nest.placed.along);
    let edge = INSET + nest.margin;
    let (full_w, full_h) = ((w + 2.0 * edge).max(header.width), h + 2.0 * edge + HEADER);
    nest.frame = direction.turn(full_w, full_h);
    nest.content_at = direction.turn((full_w - w) / 2.0, HEADER + edge);
}
