//! Brings placed levels onto the page: boxes, the curves of edges across frames, ways back, and
//! the box around all of it.

use super::arrange::{Child, Drawing, Nest, TIP, WayBack, back_label, tab};
use super::face::{self, HEIGHT, STACK};
use super::geometry::{Direction, Path, Pen, Rect, Step};
use super::level::{Detour, Stop};
use super::picture::{NodeKind, PictureNode};
use super::region;
use super::scene::{End, Scene};

/// Brings everything onto the page.
pub(super) fn collect(
    scene: &Scene<'_>,
    nests: &[Nest],
    courses: &[Vec<(usize, usize)>],
    direction: Direction,
    box_width: f64,
) -> Drawing {
    let mut drawing = Drawing {
        direction,
        bounds: Rect::default(),
        boxes: vec![None; scene.picture.nodes.len()],
        frames: vec![Rect::default(); scene.picture.groups.len()],
        wires: Vec::with_capacity(courses.len()),
        tips: Vec::new(),
        returns: Vec::new(),
        hulls: Vec::new(),
    };
    let node_size = direction.turn(box_width, HEIGHT);
    for (l, nest) in nests.iter().enumerate() {
        let mut rects = Vec::with_capacity(nest.children.len());
        for (i, child) in nest.children.iter().enumerate() {
            let at = nest.placed.corners[i];
            let corner = (nest.origin.0 + at.0, nest.origin.1 + at.1);
            rects.push(match child {
                Child::Here(End::Node(n)) => {
                    let rect = direction.rect(corner, node_size);
                    drawing.boxes[*n] = Some(rect);
                    Some(rect)
                }
                Child::Here(End::Group(g)) => {
                    let rect = direction.rect(corner, nests[g + 1].frame);
                    drawing.frames[*g] = rect;
                    Some(rect)
                }
                _ => None,
            });
        }
        let arcs: Vec<(usize, usize)> = nest.threads.iter().map(|t| (t.from, t.to)).collect();
        let course = |arc: usize| wire(direction, &shifted(nest, &nest.placed.arcs[arc]), 0.0);
        drawing.hulls.extend(region::hulls(&nest.spans, &rects, &arcs, course));
        for (detour, &(.., index)) in nest.placed.backs.iter().zip(&nest.backs) {
            let framed = l > 0;
            drawing.returns.push(WayBack { framed, ..way_back(scene, nest, detour, index, direction) });
        }
    }
    let mut tips = std::collections::BTreeSet::new();
    for course in courses {
        let stops: Vec<Stop> =
            course.iter().flat_map(|&(l, t)| shifted(&nests[l], &nests[l].placed.arcs[t])).collect();
        drawing.wires.push(wire(direction, &stops, TIP));
        if let Some(last) = stops.last() {
            let tip = direction.point(last.cross, last.leave);
            if tips.insert(((tip.x * 10.0) as i64, (tip.y * 10.0) as i64)) {
                drawing.tips.push(tip);
            }
        }
    }
    drawing.bounds = bounds(&drawing, scene);
    drawing
}

fn shifted(nest: &Nest, stops: &[Stop]) -> Vec<Stop> {
    let (dc, da) = nest.origin;
    stops.iter().map(|s| Stop { cross: s.cross + dc, enter: s.enter + da, leave: s.leave + da }).collect()
}

/// A curve through the stops that ends `short` of the last one.
fn wire(direction: Direction, stops: &[Stop], short: f64) -> Path {
    let first = stops.first().copied().unwrap_or(Stop { cross: 0.0, enter: 0.0, leave: 0.0 });
    let mut pen = Pen::new(direction, first.cross, first.enter);
    for (k, stop) in stops.iter().enumerate() {
        let (mut enter, mut leave) = (stop.enter, stop.leave);
        if k + 1 == stops.len() {
            let back = if first.enter <= stop.leave { -short } else { short };
            leave += back;
            enter = if back <= 0.0 { enter.min(leave) } else { enter.max(leave) };
        }
        if k > 0 {
            pen.sway(stop.cross, enter);
        }
        pen.line(stop.cross, leave);
    }
    pen.finish()
}

fn way_back(scene: &Scene<'_>, nest: &Nest, detour: &Detour, index: usize, direction: Direction) -> WayBack {
    let (dc, da) = nest.origin;
    let stops = shifted(nest, &detour.stops);
    let mut start = (detour.start.0 + dc, detour.start.1 + da);
    let mut end = (detour.end.0 + dc, detour.end.1 + da);
    let back = &scene.returns[index];
    start.0 -= slope(scene, back.closer, detour.start.1 - detour_middle(nest, back.closer), direction);
    end.0 -= slope(scene, back.from, detour.end.1 - detour_middle(nest, back.from), direction);
    let mut pen = Pen::new(direction, start.0, start.1);
    // Round corners, as far as there is room for them.
    let round = |from: f64, to: f64| (to - from).signum() * (to - from).abs().min(14.0);
    for (k, stop) in stops.iter().enumerate() {
        let (first, last) = (k == 0, k + 1 == stops.len());
        let room = if first && last { (stop.leave - stop.enter) / 2.0 } else { stop.leave - stop.enter };
        if first {
            let (aside, ahead) = (round(start.0, stop.cross), round(0.0, room));
            pen.line(stop.cross - aside, stop.enter);
            pen.bend((stop.cross, stop.enter), stop.cross, stop.enter + ahead);
        } else {
            pen.sway(stop.cross, stop.enter);
        }
        if last {
            let (aside, ahead) = (round(end.0, stop.cross), round(0.0, room));
            pen.line(stop.cross, stop.leave - ahead);
            pen.bend((stop.cross, stop.leave), stop.cross - aside, stop.leave);
            pen.line(end.0 + TIP, end.1);
        } else {
            pen.line(stop.cross, stop.leave);
        }
    }
    let (cross, along) = direction.turn(back_label(scene, index), 16.0);
    let corner = (detour.label.0 + dc, detour.label.1 + da - along / 2.0);
    WayBack {
        path: pen.finish(),
        tip: direction.point(end.0, end.1),
        label: direction.rect(corner, (cross, along)),
        index,
        framed: false,
    }
}

/// Middle along of an item of the level, within the level.
fn detour_middle(nest: &Nest, end: End) -> f64 {
    nest.index.get(&Child::Here(end)).map_or(0.0, |&i| nest.placed.corners[i].1 + HEIGHT / 2.0)
}

/// How far inside its box the slanted side of a gate is, this far from its middle.
fn slope(scene: &Scene<'_>, end: End, off_middle: f64, direction: Direction) -> f64 {
    match (end, direction) {
        (End::Node(n), Direction::Down) if scene.picture.nodes[n].kind == NodeKind::Gate => {
            face::POINT * (off_middle.abs() / (HEIGHT / 2.0)).min(1.0)
        }
        _ => 0.0,
    }
}

/// The smallest box around all that will be drawn.
fn bounds(drawing: &Drawing, scene: &Scene<'_>) -> Rect {
    let mut all: Option<Rect> = None;
    let mut add = |rect: Rect| all = Some(all.map_or(rect, |a| a.around(&rect)));
    for (rect, node) in drawing.boxes.iter().zip(&scene.picture.nodes) {
        if let Some(rect) = rect {
            add(stacked(*rect, Some(node), drawing.direction));
        }
    }
    for (g, rect) in drawing.frames.iter().enumerate() {
        add(stacked(*rect, scene.head_node(g), drawing.direction));
    }
    for hull in &drawing.hulls {
        hull.parts.iter().for_each(|p| add(*p));
    }
    for back in &drawing.returns {
        add(back.label);
    }
    for path in drawing.wires.iter().chain(drawing.returns.iter().map(|b| &b.path)) {
        for at in path.steps.iter().map(Step::end) {
            add(Rect { x: at.x, y: at.y, w: 0.0, h: 0.0 });
        }
    }
    all.unwrap_or_default()
}

/// A box with its join tab, its cards and its state marker.
fn stacked(rect: Rect, node: Option<&PictureNode>, direction: Direction) -> Rect {
    let mut full = rect;
    let Some(node) = node else { return full };
    if node.each {
        full.w += STACK;
        full.h += STACK;
    }
    if let Some((w, h)) = tab(node.join, direction) {
        match direction {
            Direction::Down => (full.y, full.h) = (full.y - h, full.h + h),
            Direction::Right => (full.x, full.w) = (full.x - w, full.w + w),
        }
    }
    if node.state.is_some() {
        full = full.around(&Rect { x: rect.x, y: rect.y - 9.0, w: rect.w + 5.0, h: 9.0 });
    }
    full
}
