//! First half of the layered layout: which layer each item is in, and the bends long edges get
//! in the layers they pass. It decides order along the flow only, never sideways.

use super::level::{Arc, Back, Item, Level, Role};

/// The layer of each item.
#[derive(Debug)]
pub(super) struct Ranks {
    pub(super) layer: Vec<usize>,
    pub(super) count: usize,
    /// Items without edges that are to stand in line although nothing joins them.
    lined_up: Vec<(usize, usize)>,
}

/// What a place in a layer is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Item(usize),
    /// A long edge passing.
    Bend,
    /// A way back passing.
    Lane,
}

/// A place in a layer: an anchor with room on both sides of it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) what: What,
    pub(super) layer: usize,
    pub(super) before: f64,
    pub(super) after: f64,
}

/// How strongly a segment pulls its ends into line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grip {
    Flow,
    /// Between two bends: kept straight.
    Inner,
    /// From an item to its way back: does not pull.
    Loose,
}

/// A piece of an edge between neighbouring layers; `*_at` is the distance from the anchor.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) upper: usize,
    pub(super) lower: usize,
    pub(super) upper_at: f64,
    pub(super) lower_at: f64,
    pub(super) grip: Grip,
}

/// The level with a slot for everything that needs room in a layer.
#[derive(Debug, Default)]
pub(super) struct Layered {
    pub(super) slots: Vec<Slot>,
    pub(super) layers: Vec<Vec<usize>>,
    pub(super) segments: Vec<Segment>,
    /// For each arc its slots in the direction of the arc, ends included.
    pub(super) arc_slots: Vec<Vec<usize>>,
    /// For each way back the slots it passes from `from` to `closer`, ends excluded.
    pub(super) back_slots: Vec<Vec<usize>>,
}

/// Puts every item into a layer so that edges point forward, each as early as it can be.
pub(super) fn rank(level: &Level) -> Ranks {
    let count = level.items.len();
    let forward: Vec<(usize, usize)> = without_cycles(count, &ends(&level.arcs));
    let mut all = forward.clone();
    all.extend(level.backs.iter().filter(|b| b.from != b.closer).map(|b| (b.from, b.closer)));
    // Ways back are drawn better when they span layers, but never at the price of a real edge.
    let widened = without_cycles(count, &all);
    let edges = if widened[..forward.len()] == forward[..] { widened } else { forward };

    let has_entry = level.items.iter().any(|i| i.role == Role::Entry);
    let mut layer: Vec<usize> =
        level.items.iter().map(|i| usize::from(has_entry && i.role != Role::Entry)).collect();
    let mut out = vec![Vec::new(); count];
    let mut open = vec![0_usize; count];
    for &(from, to) in &edges {
        out[from].push(to);
        open[to] += 1;
    }
    let mut ready: Vec<usize> = (0..count).filter(|&i| open[i] == 0).collect();
    while let Some(i) = ready.pop() {
        for &to in &out[i] {
            layer[to] = layer[to].max(layer[i] + 1);
            open[to] -= 1;
            if open[to] == 0 {
                ready.push(to);
            }
        }
    }
    let lined_up = spread_lonely(level, &edges, &mut layer);
    let deepest = (0..count).filter(|&i| level.items[i].role != Role::Exit).map(|i| layer[i]).max();
    for (i, item) in level.items.iter().enumerate() {
        if item.role == Role::Exit {
            layer[i] = deepest.map_or(0, |d| d + 1);
        }
    }
    let count = layer.iter().max().map_or(0, |m| m + 1);
    Ranks { layer, count, lined_up }
}

fn ends(arcs: &[Arc]) -> Vec<(usize, usize)> {
    arcs.iter().map(|a| (a.from, a.to)).collect()
}

/// The same edges with those turned round that would close a cycle.
fn without_cycles(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut out = vec![Vec::new(); count];
    for (e, &(from, _)) in edges.iter().enumerate() {
        out[from].push(e);
    }
    let mut result = edges.to_vec();
    // 0 new, 1 on the path, 2 done.
    let mut mark = vec![0_u8; count];
    for start in 0..count {
        if mark[start] != 0 {
            continue;
        }
        mark[start] = 1;
        let mut path = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            let Some(&e) = out[*at].get(*next) else {
                mark[*at] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            let (from, to) = edges[e];
            match mark[to] {
                0 => {
                    mark[to] = 1;
                    path.push((to, 0));
                }
                1 => result[e] = (to, from),
                _ => {}
            }
        }
    }
    result
}

/// Items without any edge would all share the first layer; a block of them reads better.
fn spread_lonely(level: &Level, edges: &[(usize, usize)], layer: &mut [usize]) -> Vec<(usize, usize)> {
    let mut lonely: Vec<bool> = level.items.iter().map(|i| i.role == Role::Box).collect();
    for &(from, to) in edges {
        lonely[from] = false;
        lonely[to] = false;
    }
    let lonely: Vec<usize> = (0..lonely.len()).filter(|&i| lonely[i]).collect();
    if lonely.len() < 4 {
        return Vec::new();
    }
    let (mut cross, mut along) = (0.0, 0.0);
    for &i in &lonely {
        cross += level.items[i].cross + level.gap;
        along += level.items[i].along + level.gap;
    }
    // As many in a layer as make the block about a half wider than tall on the page.
    let per_layer = (lonely.len() as f64 * along / cross * level.spread).sqrt().ceil().max(1.0) as usize;
    for (k, &i) in lonely.iter().enumerate() {
        layer[i] += k / per_layer;
    }
    (per_layer..lonely.len()).map(|k| (lonely[k - per_layer], lonely[k])).collect()
}

/// How many bends the long edges of a ranking would need.
pub(super) fn bends(level: &Level, ranks: &Ranks) -> usize {
    let span = |a: usize, b: usize| ranks.layer[a].abs_diff(ranks.layer[b]).saturating_sub(1);
    level.arcs.iter().map(|a| span(a.from, a.to)).sum::<usize>()
        + level.backs.iter().map(|b| span(b.from, b.closer)).sum::<usize>()
}

/// Gives every item, and every long edge in every layer it passes, a slot.
pub(super) fn slots(level: &Level, ranks: &Ranks) -> Layered {
    let mut l = Layered { layers: vec![Vec::new(); ranks.count], ..Layered::default() };
    for (i, item) in level.items.iter().enumerate() {
        l.slots.push(item_slot(i, item, ranks.layer[i]));
    }
    for arc in &level.arcs {
        let chain = arc_chain(&mut l, ranks, arc);
        l.arc_slots.push(chain);
    }
    for back in &level.backs {
        let chain = back_chain(&mut l, ranks, back);
        l.back_slots.push(chain);
    }
    for &(upper, lower) in &ranks.lined_up {
        l.segments.push(Segment { upper, lower, upper_at: 0.0, lower_at: 0.0, grip: Grip::Flow });
    }
    l
}

fn item_slot(i: usize, item: &Item, layer: usize) -> Slot {
    let half = item.cross / 2.0;
    Slot { what: What::Item(i), layer, before: half, after: half + item.spill + item.lanes }
}

fn arc_chain(l: &mut Layered, ranks: &Ranks, arc: &Arc) -> Vec<usize> {
    let backward = ranks.layer[arc.from] > ranks.layer[arc.to];
    let (top, top_at, bottom, bottom_at) = if backward {
        (arc.to, arc.to_at, arc.from, arc.from_at)
    } else {
        (arc.from, arc.from_at, arc.to, arc.to_at)
    };
    let mut chain = vec![top];
    for layer in ranks.layer[top] + 1..ranks.layer[bottom] {
        l.slots.push(Slot { what: What::Bend, layer, before: 1.0, after: 1.0 });
        chain.push(l.slots.len() - 1);
    }
    chain.push(bottom);
    let last = chain.len() - 2;
    for (k, pair) in chain.windows(2).enumerate() {
        l.segments.push(Segment {
            upper: pair[0],
            lower: pair[1],
            upper_at: if k == 0 { top_at } else { 0.0 },
            lower_at: if k == last { bottom_at } else { 0.0 },
            grip: if k > 0 && k < last { Grip::Inner } else { Grip::Flow },
        });
    }
    if backward {
        chain.reverse();
    }
    chain
}

fn back_chain(l: &mut Layered, ranks: &Ranks, back: &Back) -> Vec<usize> {
    let (a, b) = (ranks.layer[back.from], ranks.layer[back.closer]);
    let (top, bottom) = if a < b { (back.from, back.closer) } else { (back.closer, back.from) };
    let (first, last) = (a.min(b) + 1, a.max(b));
    let mut chain = Vec::new();
    for layer in first..last {
        let label = if layer == first + (last - first) / 2 { back.label.0 + 10.0 } else { 1.0 };
        l.slots.push(Slot { what: What::Lane, layer, before: 1.0, after: label });
        chain.push(l.slots.len() - 1);
    }
    if let (Some(&upper), Some(&lower)) = (chain.first(), chain.last()) {
        let edge = |l: &Layered, slot: usize| l.slots[slot].after;
        let (top_at, bottom_at) = (edge(l, top), edge(l, bottom));
        let loose = |upper, lower, upper_at, lower_at| Segment {
            upper,
            lower,
            upper_at,
            lower_at,
            grip: Grip::Loose,
        };
        l.segments.push(loose(top, upper, top_at, 0.0));
        for pair in chain.windows(2) {
            l.segments.push(Segment { grip: Grip::Inner, ..loose(pair[0], pair[1], 0.0, 0.0) });
        }
        l.segments.push(loose(lower, bottom, 0.0, bottom_at));
    }
    if a > b {
        chain.reverse();
    }
    chain
}
