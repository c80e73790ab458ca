//! Ways back within a level: their lanes beside the items, and the course they take.
//! They keep beside boxes and between layers, and never move an item once it is placed.

use super::layers::{Layered, Ranks};
use super::level::{Detour, Ground, Level, Stop};
use super::place;

/// Where a way back touches one of its ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Berth {
    /// Distance of the lane from the item's side.
    pub(super) lane: f64,
    /// Where on the side, from its middle along.
    pub(super) at: f64,
}

/// Gives every way back its own lane and its own place on the sides of its two ends, and the
/// items the room for it. Returns for each the berth at `closer` and at `from`.
pub(super) fn moor(level: &mut Level, ranks: &Ranks) -> Vec<(Berth, Berth)> {
    let mut at_item: Vec<Vec<(usize, bool, usize)>> = vec![Vec::new(); level.items.len()];
    for (b, back) in level.backs.iter().enumerate() {
        let span = ranks.layer[back.closer].abs_diff(ranks.layer[back.from]);
        at_item[back.closer].push((span, false, b));
        at_item[back.from].push((span, true, b));
    }
    let mut berths = vec![(Berth::default(), Berth::default()); level.backs.len()];
    for (i, touching) in at_item.iter_mut().enumerate().filter(|(_, t)| !t.is_empty()) {
        touching.sort_unstable();
        let item = &mut level.items[i];
        let mut lane = item.spill + level.reach;
        for &(span, is_from, b) in touching.iter() {
            let berth = if is_from { &mut berths[b].1 } else { &mut berths[b].0 };
            berth.lane = lane;
            // A label of a short way back lies between its two ends, so both keep it free.
            lane += if span < 2 { 18.0 + level.backs[b].label.0 } else { 16.0 };
        }
        item.lanes = lane - item.spill;
        // From the top: those that go up, nearest first; then those that come down, nearest last.
        let closers = touching.iter().filter(|t| !t.1);
        let froms = touching.iter().rev().filter(|t| t.1);
        let step = (item.along * 0.7 / touching.len() as f64).min(22.0);
        for (k, &(_, is_from, b)) in closers.chain(froms).enumerate() {
            let at = step * (k as f64 - (touching.len() - 1) as f64 / 2.0);
            if is_from {
                berths[b].1.at = at;
            } else {
                berths[b].0.at = at;
            }
        }
    }
    berths
}

/// Moves the bends of ways back beside the nodes they belong to, as far as there is room.
pub(super) fn tuck_lanes(level: &Level, l: &Layered, berths: &[(Berth, Berth)], x: &mut [f64]) {
    let mut neighbour: Vec<(Option<usize>, Option<usize>)> = vec![(None, None); l.slots.len()];
    for layer in &l.layers {
        for pair in layer.windows(2) {
            neighbour[pair[0]].1 = Some(pair[1]);
            neighbour[pair[1]].0 = Some(pair[0]);
        }
    }
    let mut backs: Vec<usize> = (0..level.backs.len()).filter(|&b| !l.back_slots[b].is_empty()).collect();
    backs.sort_by(|&a, &b| x[l.back_slots[a][0]].total_cmp(&x[l.back_slots[b][0]]));
    for b in backs {
        let chain = &l.back_slots[b];
        if chain.iter().any(|&s| (x[s] - x[chain[0]]).abs() > 0.1) {
            continue;
        }
        let wanted = lane_of(level, x, berths[b].0, level.backs[b].closer).max(lane_of(
            level,
            x,
            berths[b].1,
            level.backs[b].from,
        ));
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for &s in chain {
            if let Some(n) = neighbour[s].0 {
                low = low.max(x[n] + place::distance(&l.slots[n], &l.slots[s], level.gap));
            }
            if let Some(n) = neighbour[s].1 {
                high = high.min(x[n] - place::distance(&l.slots[s], &l.slots[n], level.gap));
            }
        }
        let to = wanted.min(high).max(low);
        for &s in chain {
            x[s] = to;
        }
    }
}

fn lane_of(level: &Level, x: &[f64], berth: Berth, item: usize) -> f64 {
    x[item] + level.items[item].cross / 2.0 + berth.lane
}

/// The course of way back `b`.
pub(super) fn detour(ground: &Ground<'_>, b: usize, berths: (Berth, Berth)) -> Detour {
    let (level, l, ranks) = (ground.level, ground.layered, ground.ranks);
    let back = &level.backs[b];
    let side = |i: usize, berth: Berth| {
        let item = &level.items[i];
        (ground.corners[i].0 + item.cross + item.spill, ground.corners[i].1 + item.along / 2.0 + berth.at)
    };
    let (start, end) = (side(back.closer, berths.0), side(back.from, berths.1));
    let own = [
        lane_of(level, ground.anchors, berths.0, back.closer),
        lane_of(level, ground.anchors, berths.1, back.from),
    ];
    if back.closer == back.from {
        let (a, z) = (start.1.max(end.1), start.1.min(end.1));
        let (a, z) = if a - z < 12.0 { (a + 12.0, z - 12.0) } else { (a, z) };
        let stop = Stop { cross: own[0], enter: a, leave: z };
        let label = (own[0] + 8.0, f64::midpoint(a, z));
        return Detour { start: (start.0, a), stops: vec![stop], end: (end.0, z), label };
    }
    let common = l.back_slots[b].first().map_or(own[0].max(own[1]), |&s| ground.anchors[s]);
    let lane = |i: usize, least: f64| {
        let layer = &l.layers[ranks.layer[i]];
        let next = layer.iter().position(|&s| s == i).and_then(|p| layer.get(p + 1));
        let free = next.map_or(f64::INFINITY, |&s| ground.anchors[s] - l.slots[s].before - 10.0);
        if common >= least && common <= free { common } else { least }
    };
    let (first, last) = (lane(back.closer, own[0]), lane(back.from, own[1]));
    let up = ranks.layer[back.closer] >= ranks.layer[back.from];
    let turn = |band: (f64, f64)| if up { (band.1, band.0) } else { band };
    let mut stops = Vec::with_capacity(l.back_slots[b].len() + 2);
    stops.push(Stop { cross: first, enter: start.1, leave: turn(ground.bands[ranks.layer[back.closer]]).1 });
    for &s in l.back_slots[b].iter().rev() {
        let (enter, leave) = turn(ground.bands[l.slots[s].layer]);
        stops.push(Stop { cross: ground.anchors[s], enter, leave });
    }
    let entry = if ranks.layer[back.closer] == ranks.layer[back.from] {
        ground.bands[ranks.layer[back.from]].0
    } else {
        turn(ground.bands[ranks.layer[back.from]]).0
    };
    stops.push(Stop { cross: last, enter: entry, leave: end.1 });
    let middle = l.back_slots[b].iter().find(|&&s| l.slots[s].after > 2.0);
    let label = match middle {
        Some(&s) => {
            let band = ground.bands[l.slots[s].layer];
            (ground.anchors[s] + 8.0, f64::midpoint(band.0, band.1))
        }
        None => (first.max(last) + 8.0, f64::midpoint(stops[0].leave, entry)),
    };
    Detour { start, stops, end, label }
}
