//! Crossing reduction: the order of the slots within each layer, by barycenter sweeps and
//! neighbour swaps. Deterministic: ties keep the order in which things were found.

use super::layers::{Layered, Segment};

/// Above this many segments a sweep more costs more than it improves.
const PATIENT: usize = 4_000;

/// Segments of every slot towards one neighbouring layer: the other slot, and both offsets.
type Links = Vec<Vec<(usize, f64, f64)>>;

/// Fills `layers` in an order with few crossings.
pub(super) fn order(l: &mut Layered) {
    let (up, down) = links(l);
    start(l, &down);
    let patient = l.segments.len() <= PATIENT;
    let sweeps = if patient { 24 } else { 6 };
    let gaps = by_gap(l);
    let mut pos = positions(l);
    let mut best = l.layers.clone();
    let mut fewest = crossings(&gaps, &pos, l);
    for sweep in 0..sweeps {
        if fewest == 0 {
            break;
        }
        let (links, downward) = if sweep % 2 == 0 { (&up, true) } else { (&down, false) };
        // Every other pair of sweeps breaks ties the other way round, to leave local minima.
        let flip = sweep % 4 >= 2;
        let count = l.layers.len();
        for k in 1..count {
            let layer = if downward { k } else { count - 1 - k };
            sort_layer(&mut l.layers[layer], links, &mut pos, l.slots.as_slice(), flip);
        }
        if patient {
            swap_neighbours(l, &up, &down, &mut pos);
        }
        let now = crossings(&gaps, &pos, l);
        if now < fewest {
            fewest = now;
            best.clone_from(&l.layers);
        }
    }
    l.layers = best;
}

fn links(l: &Layered) -> (Links, Links) {
    let mut up: Links = vec![Vec::new(); l.slots.len()];
    let mut down: Links = vec![Vec::new(); l.slots.len()];
    for s in &l.segments {
        up[s.lower].push((s.upper, s.lower_at, s.upper_at));
        down[s.upper].push((s.lower, s.upper_at, s.lower_at));
    }
    (up, down)
}

/// Depth first along the edges, so that what belongs together starts together.
fn start(l: &mut Layered, down: &Links) {
    let mut roots: Vec<usize> = (0..l.slots.len()).collect();
    roots.sort_by_key(|&s| l.slots[s].layer);
    let mut seen = vec![false; l.slots.len()];
    for root in roots {
        let mut stack = vec![root];
        while let Some(s) = stack.pop() {
            if std::mem::replace(&mut seen[s], true) {
                continue;
            }
            l.layers[l.slots[s].layer].push(s);
            stack.extend(down[s].iter().rev().map(|&(t, ..)| t));
        }
    }
}

fn positions(l: &Layered) -> Vec<usize> {
    let mut pos = vec![0; l.slots.len()];
    for layer in &l.layers {
        for (p, &s) in layer.iter().enumerate() {
            pos[s] = p;
        }
    }
    pos
}

/// Where on its slot a segment touches, as a part of the slot's width between -0.4 and 0.4.
fn lean(slot: &super::layers::Slot, at: f64) -> f64 {
    let side = if at < 0.0 { slot.before } else { slot.after };
    if side > 0.0 { (at / side).clamp(-1.0, 1.0) * 0.4 } else { 0.0 }
}

fn sort_layer(
    layer: &mut [usize],
    links: &Links,
    pos: &mut [usize],
    slots: &[super::layers::Slot],
    flip: bool,
) {
    let mut keyed: Vec<(f64, usize)> = layer
        .iter()
        .enumerate()
        .map(|(p, &s)| {
            let near = &links[s];
            if near.is_empty() {
                return (p as f64, s);
            }
            let sum: f64 = near
                .iter()
                .map(|&(t, own, other)| pos[t] as f64 + lean(&slots[t], other) - lean(&slots[s], own) * 0.5)
                .sum();
            (sum / near.len() as f64, s)
        })
        .collect();
    if flip {
        keyed.reverse();
    }
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (p, (_, s)) in keyed.into_iter().enumerate() {
        layer[p] = s;
        pos[s] = p;
    }
}

/// Swaps neighbours as long as that removes crossings.
fn swap_neighbours(l: &mut Layered, up: &Links, down: &Links, pos: &mut [usize]) {
    for _ in 0..4 {
        let mut better = false;
        for k in 0..l.layers.len() {
            for p in 1..l.layers[k].len() {
                let (a, b) = (l.layers[k][p - 1], l.layers[k][p]);
                let mut gain = 0;
                for links in [up, down] {
                    gain += between(&links[a], &links[b], pos, l) - between(&links[b], &links[a], pos, l);
                }
                if gain > 0 {
                    l.layers[k].swap(p - 1, p);
                    pos.swap(a, b);
                    better = true;
                }
            }
        }
        if !better {
            return;
        }
    }
}

/// Crossings between the segments of two slots when the first is on the left.
fn between(left: &[(usize, f64, f64)], right: &[(usize, f64, f64)], pos: &[usize], l: &Layered) -> i64 {
    if left.len() * right.len() > 4_096 {
        return 0;
    }
    let place = |&(t, _, at): &(usize, f64, f64)| pos[t] as f64 + lean(&l.slots[t], at);
    let mut count = 0;
    for a in left {
        count += right.iter().filter(|b| place(b) < place(a) - 1e-6).count() as i64;
    }
    count
}

fn by_gap(l: &Layered) -> Vec<Vec<Segment>> {
    let mut gaps = vec![Vec::new(); l.layers.len()];
    for s in &l.segments {
        gaps[l.slots[s.upper].layer].push(s.clone());
    }
    gaps
}

/// Number of crossings, in time linear in the segments but for a logarithm.
fn crossings(gaps: &[Vec<Segment>], pos: &[usize], l: &Layered) -> u64 {
    let place = |s: usize, at: f64| ((pos[s] as f64 + 0.5 + lean(&l.slots[s], at)) * 1_000.0) as u64;
    let mut total = 0;
    for gap in gaps {
        let mut ends: Vec<(u64, u64)> =
            gap.iter().map(|s| (place(s.upper, s.upper_at), place(s.lower, s.lower_at))).collect();
        ends.sort_unstable();
        let mut lows: Vec<u64> = ends.iter().map(|e| e.1).collect();
        lows.sort_unstable();
        lows.dedup();
        // A Fenwick tree counts how many earlier segments end further to the right.
        let mut tree = vec![0_u64; lows.len() + 1];
        for (seen, (_, low)) in ends.iter().enumerate() {
            let rank = lows.partition_point(|v| v < low) + 1;
            let mut not_right = 0;
            let mut k = rank;
            while k > 0 {
                not_right += tree[k];
                k &= k - 1;
            }
            total += seen as u64 - not_right;
            k = rank;
            while k < tree.len() {
                tree[k] += 1;
                k += k & k.wrapping_neg();
            }
        }
    }
    total
}
