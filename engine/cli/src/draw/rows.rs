//! The placement for levels too large to lay out well: layers cut into rows, edges drawn direct.
//! Linear but for a sort; it promises only that nothing overlaps and that edges point forward.

use super::detour::Berth;
use super::layers::Ranks;
use super::level::{Detour, Level, Placed, Stop};

/// Lays a level out in rows.
pub(super) fn lay_out(level: &Level, ranks: &Ranks, berths: &[(Berth, Berth)]) -> Placed {
    let rows = rows(level, ranks);
    let widths: Vec<f64> = rows
        .iter()
        .map(|row| row.iter().map(|&i| room(level, i) + level.gap).sum::<f64>() - level.gap)
        .collect();
    let cross = widths.iter().copied().fold(0.0, f64::max);
    let mut placed = Placed { cross, corners: vec![(0.0, 0.0); level.items.len()], ..Placed::default() };
    let mut at = 0.0;
    for (row, width) in rows.iter().zip(&widths) {
        let lead = row.iter().map(|&i| level.items[i].lead).fold(0.0, f64::max);
        let zone = row.iter().map(|&i| level.items[i].along + level.items[i].tail).fold(0.0, f64::max);
        let mut x = (cross - width) / 2.0;
        for &i in row {
            placed.corners[i] = (x, at + lead);
            x += room(level, i) + level.gap;
        }
        placed.along = at + lead + zone;
        at = placed.along + level.flow_gap;
    }
    let edge = |i: usize, aside: f64, foot: bool| {
        let (item, corner) = (&level.items[i], placed.corners[i]);
        let along = if foot { corner.1 + item.along + item.tail } else { corner.1 - item.lead };
        Stop { cross: corner.0 + item.cross / 2.0 + aside, enter: along, leave: along }
    };
    placed.arcs = level
        .arcs
        .iter()
        .map(|arc| {
            let forward = ranks.layer[arc.from] < ranks.layer[arc.to];
            vec![edge(arc.from, arc.from_at, forward), edge(arc.to, arc.to_at, !forward)]
        })
        .collect();
    placed.backs =
        level.backs.iter().zip(berths).map(|(b, at)| detour(level, &placed, b.closer, b.from, *at)).collect();
    placed
}

fn room(level: &Level, i: usize) -> f64 {
    level.items[i].cross + level.items[i].spill + level.items[i].lanes
}

/// The items of every row, near those they need.
fn rows(level: &Level, ranks: &Ranks) -> Vec<Vec<usize>> {
    let mut layers = vec![Vec::new(); ranks.count];
    for i in 0..level.items.len() {
        layers[ranks.layer[i]].push(i);
    }
    let mut before = vec![Vec::new(); level.items.len()];
    for arc in &level.arcs {
        before[arc.to].push(arc.from);
    }
    let (mut cross, mut along) = (0.0, 0.0);
    for (i, item) in level.items.iter().enumerate() {
        cross += room(level, i) + level.gap;
        along += item.along + level.flow_gap;
    }
    let count = level.items.len() as f64;
    let per_row = (count * along / cross * level.spread).sqrt().ceil().max(8.0) as usize;
    let mut place = vec![0.0_f64; level.items.len()];
    let mut rows = Vec::new();
    for mut layer in layers {
        layer.sort_by(|&a, &b| {
            let mean = |i: usize| {
                let near = &before[i];
                near.iter().map(|&n| place[n]).sum::<f64>() / near.len().max(1) as f64
            };
            mean(a).total_cmp(&mean(b)).then(a.cmp(&b))
        });
        for row in layer.chunks(per_row) {
            for (p, &i) in row.iter().enumerate() {
                place[i] = p as f64 - row.len() as f64 / 2.0;
            }
            rows.push(row.to_vec());
        }
    }
    rows
}

fn detour(level: &Level, placed: &Placed, closer: usize, from: usize, at: (Berth, Berth)) -> Detour {
    let side = |i: usize, berth: Berth| {
        let (item, corner) = (&level.items[i], placed.corners[i]);
        (corner.0 + item.cross + item.spill, corner.1 + item.along / 2.0 + berth.at)
    };
    let lane = |i: usize, berth: Berth| placed.corners[i].0 + level.items[i].cross + berth.lane;
    let (mut start, mut end) = (side(closer, at.0), side(from, at.1));
    if closer == from {
        start.1 += 12.0;
        end.1 -= 12.0;
    }
    let stop = |cross: f64, along: f64| Stop { cross, enter: along, leave: along };
    let (first, last) = (lane(closer, at.0), lane(from, at.1));
    let label = (first.max(last) + 8.0, f64::midpoint(start.1, end.1));
    Detour { start, stops: vec![stop(first, start.1), stop(last, end.1)], end, label }
}
