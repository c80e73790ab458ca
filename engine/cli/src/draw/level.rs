//! Layout of one level of nesting: items, edges and ways back between them, to coordinates.
//! It works in `cross` and `along` the flow and knows nothing of pages, nodes or frames.

use super::layers::{self, Grip, Layered, Ranks, What};
use super::{detour, order, place, rows};

/// Above this many items and bends a level is set in plain rows.
const LAYERED_AT_MOST: usize = 8_000;

/// What an item is to its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A box or a frame.
    Box,
    /// Where edges from outside the frame come in.
    Entry,
    /// Where edges leave the frame.
    Exit,
}

/// Something that takes room.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) cross: f64,
    pub(super) along: f64,
    /// Room before it, for its join tab.
    pub(super) lead: f64,
    /// Room behind it, for stacked cards.
    pub(super) tail: f64,
    /// Room beside it, for stacked cards.
    pub(super) spill: f64,
    /// Room beside that for ways back; set by the layout.
    pub(super) lanes: f64,
    pub(super) role: Role,
}

/// An edge; `*_at` is where it touches, from the middle of the item.
#[derive(Clone, Debug)]
pub(super) struct Arc {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) from_at: f64,
    pub(super) to_at: f64,
}

/// A way back from `closer` to `from`, with the `(cross, along)` extent of its label.
#[derive(Clone, Debug)]
pub(super) struct Back {
    pub(super) closer: usize,
    pub(super) from: usize,
    pub(super) label: (f64, f64),
}

/// The question.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) items: Vec<Item>,
    pub(super) arcs: Vec<Arc>,
    pub(super) backs: Vec<Back>,
    /// Air between neighbours of a layer.
    pub(super) gap: f64,
    /// Air between layers.
    pub(super) flow_gap: f64,
    /// How far from an item the first way back runs.
    pub(super) reach: f64,
    /// How many times longer across than along a block of unconnected items should be.
    pub(super) spread: f64,
}

/// A place an edge passes: it runs straight from `enter` to `leave`, and sways to the next stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) cross: f64,
    pub(super) enter: f64,
    pub(super) leave: f64,
}

/// The course of a way back: sideways out of `start`, along the stops, sideways into `end`.
#[derive(Clone, Debug, Default)]
pub(super) struct Detour {
    pub(super) start: (f64, f64),
    pub(super) stops: Vec<Stop>,
    pub(super) end: (f64, f64),
    /// Near edge across and middle along of the label.
    pub(super) label: (f64, f64),
}

/// The answer.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) cross: f64,
    pub(super) along: f64,
    /// Corner of each item, without its lead.
    pub(super) corners: Vec<(f64, f64)>,
    pub(super) arcs: Vec<Vec<Stop>>,
    pub(super) backs: Vec<Detour>,
}

/// A level with everything but its edges in place.
#[derive(Debug)]
pub(super) struct Ground<'g> {
    pub(super) level: &'g Level,
    pub(super) layered: &'g Layered,
    pub(super) ranks: &'g Ranks,
    /// Start and end along of every layer.
    pub(super) bands: &'g [(f64, f64)],
    /// Where across every slot is.
    pub(super) anchors: &'g [f64],
    pub(super) corners: &'g [(f64, f64)],
}

/// Lays a level out.
pub(super) fn lay_out(mut level: Level) -> Placed {
    if level.items.is_empty() {
        return Placed::default();
    }
    let ranks = layers::rank(&level);
    let berths = detour::moor(&mut level, &ranks);
    if layers::bends(&level, &ranks) + level.items.len() > LAYERED_AT_MOST {
        return rows::lay_out(&level, &ranks, &berths);
    }
    let mut l = layers::slots(&level, &ranks);
    order::order(&mut l);
    let mut x = place::place(&l, level.gap);
    detour::tuck_lanes(&level, &l, &berths, &mut x);
    let low = x.iter().zip(&l.slots).map(|(x, s)| x - s.before).fold(f64::INFINITY, f64::min);
    for x in &mut x {
        *x -= low;
    }
    let bands = bands(&level, &l, &x);
    let corners = corners(&level, &ranks, &bands, &x);
    let cross = x.iter().zip(&l.slots).map(|(x, s)| x + s.after).fold(0.0, f64::max);
    let along = bands.last().map_or(0.0, |b| b.1);
    let ground =
        Ground { level: &level, layered: &l, ranks: &ranks, bands: &bands, anchors: &x, corners: &corners };
    let arcs = (0..level.arcs.len()).map(|a| arc_stops(&ground, a)).collect();
    let backs = (0..level.backs.len()).map(|b| detour::detour(&ground, b, berths[b])).collect();
    Placed { cross, along, corners, arcs, backs }
}

/// Start and end along the flow of every layer.
fn bands(level: &Level, l: &Layered, x: &[f64]) -> Vec<(f64, f64)> {
    let mut sway = vec![0.0_f64; l.layers.len()];
    for s in l.segments.iter().filter(|s| s.grip != Grip::Loose) {
        let aside = (x[s.upper] + s.upper_at - x[s.lower] - s.lower_at).abs();
        let gap = &mut sway[l.slots[s.upper].layer];
        *gap = gap.max(aside);
    }
    let mut bands = Vec::with_capacity(l.layers.len());
    let mut at = 0.0;
    for (k, layer) in l.layers.iter().enumerate() {
        let (lead, zone) = thickness(level, l, layer);
        bands.push((at, at + lead + zone));
        let port = |k: usize| {
            l.layers.get(k).is_some_and(|layer| {
                layer.iter().all(|&s| match l.slots[s].what {
                    What::Item(i) => level.items[i].role != Role::Box,
                    _ => false,
                })
            })
        };
        let base = if port(k) || port(k + 1) { level.flow_gap * 0.45 } else { level.flow_gap };
        at += lead + zone + base + (sway[k] * 0.05).min(56.0);
    }
    bands
}

/// Room a layer needs before its items, and from there to its end. Items are centred on each
/// other, and what sticks out behind them must not move them.
fn thickness(level: &Level, l: &Layered, layer: &[usize]) -> (f64, f64) {
    let items = || {
        layer.iter().filter_map(|&s| match l.slots[s].what {
            What::Item(i) => Some(&level.items[i]),
            _ => None,
        })
    };
    let core = items().map(|i| i.along).fold(0.0, f64::max);
    let lead = items().map(|i| i.lead).fold(0.0, f64::max);
    (lead, items().map(|i| f64::midpoint(core, i.along) + i.tail).fold(core, f64::max))
}

fn corners(level: &Level, ranks: &Ranks, bands: &[(f64, f64)], x: &[f64]) -> Vec<(f64, f64)> {
    let mut lead = vec![0.0_f64; bands.len()];
    let mut core = vec![0.0_f64; bands.len()];
    for (item, &k) in level.items.iter().zip(&ranks.layer) {
        lead[k] = lead[k].max(item.lead);
        core[k] = core[k].max(item.along);
    }
    let place = |(i, item): (usize, &Item)| {
        let k = ranks.layer[i];
        (x[i] - item.cross / 2.0, bands[k].0 + lead[k] + (core[k] - item.along) / 2.0)
    };
    level.items.iter().enumerate().map(place).collect()
}

/// The places arc `a` passes.
fn arc_stops(ground: &Ground<'_>, a: usize) -> Vec<Stop> {
    let (level, l) = (ground.level, ground.layered);
    let (arc, chain) = (&level.arcs[a], &l.arc_slots[a]);
    let forward = l.slots[arc.from].layer < l.slots[arc.to].layer;
    let mut stops = Vec::with_capacity(chain.len());
    for (k, &s) in chain.iter().enumerate() {
        let band = ground.bands[l.slots[s].layer];
        let (mut enter, mut leave) = if forward { band } else { (band.1, band.0) };
        let mut cross = ground.anchors[s];
        if let What::Item(i) = l.slots[s].what {
            let item = &level.items[i];
            let (head, foot) =
                (ground.corners[i].1 - item.lead, ground.corners[i].1 + item.along + item.tail);
            let start = k == 0;
            cross += if start { arc.from_at } else { arc.to_at };
            let edge = if start == forward { foot } else { head };
            if start {
                enter = edge;
            } else {
                leave = edge;
            }
        }
        stops.push(Stop { cross, enter, leave });
    }
    stops
}
