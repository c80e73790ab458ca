//! Sideways coordinates after Brandes and Köpf: four biased alignments, compacted and averaged.
//! Bends of a long edge stay in one line; the order of a layer and its distances are never broken.

use super::layers::{Grip, Layered, Slot, What};

/// One of the four alignments sees the layers in this order; a mirrored view negates sideways.
struct View<'l> {
    l: &'l Layered,
    layers: Vec<Vec<usize>>,
    pos: Vec<usize>,
    /// Neighbours in the layer before: slot, shift that makes the segment straight, segment.
    near: Vec<Vec<(usize, f64, usize)>>,
    mirrored: bool,
}

/// The anchor of every slot.
pub(super) fn place(l: &Layered, gap: f64) -> Vec<f64> {
    let broken = conflicts(l);
    let mut found: Vec<(bool, Vec<f64>)> = Vec::new();
    for upward in [false, true] {
        for mirrored in [false, true] {
            let view = View::new(l, upward, mirrored);
            let (root, shift) = view.align(&broken);
            if let Some(x) = view.compact(&root, &shift, gap) {
                found.push((mirrored, x));
            }
        }
    }
    if found.is_empty() {
        return packed(l, gap);
    }
    average(l, found)
}

/// Room two neighbours of a layer keep between their anchors.
pub(super) fn distance(left: &Slot, right: &Slot, gap: f64) -> f64 {
    let boxes = [left, right].iter().filter(|s| matches!(s.what, What::Item(_))).count();
    let air = match boxes {
        2 => gap,
        1 => gap * 0.7,
        _ => gap * 0.55,
    };
    left.after + air + right.before
}

/// Which segments must bend because they cross a long edge that must not.
fn conflicts(l: &Layered) -> Vec<bool> {
    let mut pos = vec![0; l.slots.len()];
    for layer in &l.layers {
        for (p, &s) in layer.iter().enumerate() {
            pos[s] = p;
        }
    }
    let mut up: Vec<Vec<usize>> = vec![Vec::new(); l.slots.len()];
    for (k, s) in l.segments.iter().enumerate() {
        up[s.lower].push(k);
    }
    let mut broken = vec![false; l.segments.len()];
    for k in 1..l.layers.len() {
        let (mut from, mut left) = (0, 0);
        let layer = &l.layers[k];
        for (p, &s) in layer.iter().enumerate() {
            let inner = up[s].iter().map(|&e| &l.segments[e]).find(|e| e.grip == Grip::Inner);
            if inner.is_none() && p + 1 < layer.len() {
                continue;
            }
            let right = inner.map_or(l.layers[k - 1].len(), |e| pos[e.upper]);
            for &t in &layer[from..=p] {
                for &e in &up[t] {
                    let at = pos[l.segments[e].upper];
                    if (at < left || at > right) && l.segments[e].grip != Grip::Inner {
                        broken[e] = true;
                    }
                }
            }
            from = p + 1;
            left = right;
        }
    }
    broken
}

impl<'l> View<'l> {
    fn new(l: &'l Layered, upward: bool, mirrored: bool) -> Self {
        let mut layers = l.layers.clone();
        if upward {
            layers.reverse();
        }
        if mirrored {
            for layer in &mut layers {
                layer.reverse();
            }
        }
        let mut pos = vec![0; l.slots.len()];
        for layer in &layers {
            for (p, &s) in layer.iter().enumerate() {
                pos[s] = p;
            }
        }
        let mut near = vec![Vec::new(); l.slots.len()];
        for (k, s) in l.segments.iter().enumerate() {
            if s.grip == Grip::Loose {
                continue;
            }
            let sign = if mirrored { -1.0 } else { 1.0 };
            let shift = sign * (s.upper_at - s.lower_at);
            if upward {
                near[s.upper].push((s.lower, -shift, k));
            } else {
                near[s.lower].push((s.upper, shift, k));
            }
        }
        for list in &mut near {
            list.sort_by(|a, b| pos[a.0].cmp(&pos[b.0]).then(a.1.total_cmp(&b.1)));
        }
        Self { l, layers, pos, near, mirrored }
    }

    /// Chains slots into blocks that will share a line: for each slot its block and its shift.
    fn align(&self, broken: &[bool]) -> (Vec<usize>, Vec<f64>) {
        let count = self.l.slots.len();
        let mut root: Vec<usize> = (0..count).collect();
        let mut shift = vec![0.0; count];
        for layer in &self.layers {
            let mut taken = None;
            for &v in layer {
                let near = &self.near[v];
                if near.is_empty() {
                    continue;
                }
                for m in [(near.len() - 1) / 2, near.len() / 2] {
                    let (u, straight, segment) = near[m];
                    let free = taken.is_none_or(|t| t < self.pos[u]);
                    if root[v] == v && free && !broken[segment] {
                        root[v] = root[u];
                        shift[v] = shift[u] + straight;
                        taken = Some(self.pos[u]);
                    }
                }
            }
        }
        (root, shift)
    }

    /// Places the blocks as close as their distances allow; `None` if they contradict each other.
    fn compact(&self, root: &[usize], shift: &[f64], gap: f64) -> Option<Vec<f64>> {
        let count = self.l.slots.len();
        let mut out: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        let mut open = vec![0_usize; count];
        for layer in &self.layers {
            for pair in layer.windows(2) {
                let (u, v) = (pair[0], pair[1]);
                let (left, right) = if self.mirrored { (v, u) } else { (u, v) };
                let apart = distance(&self.l.slots[left], &self.l.slots[right], gap);
                out[root[u]].push((root[v], apart + shift[u] - shift[v]));
                open[root[v]] += 1;
            }
        }
        let mut sorted: Vec<usize> = (0..count).filter(|&s| root[s] == s && open[s] == 0).collect();
        let mut x = vec![0.0_f64; count];
        let mut next = 0;
        while next < sorted.len() {
            let b = sorted[next];
            next += 1;
            for &(to, apart) in &out[b] {
                x[to] = x[to].max(x[b] + apart);
                open[to] -= 1;
                if open[to] == 0 {
                    sorted.push(to);
                }
            }
        }
        if (0..count).any(|s| open[root[s]] > 0) {
            return None;
        }
        // A second pass pulls blocks towards what is on their right.
        for &b in sorted.iter().rev() {
            let room = out[b].iter().map(|&(to, apart)| x[to] - apart).fold(f64::INFINITY, f64::min);
            if room.is_finite() {
                x[b] = x[b].max(room);
            }
        }
        let sign = if self.mirrored { -1.0 } else { 1.0 };
        Some((0..count).map(|s| sign * (x[root[s]] + shift[s])).collect())
    }
}

/// Lines the alignments up with the narrowest of them and takes the mean of the middle two.
fn average(l: &Layered, mut found: Vec<(bool, Vec<f64>)>) -> Vec<f64> {
    let bounds = |x: &[f64]| {
        let low = x.iter().zip(&l.slots).map(|(x, s)| x - s.before).fold(f64::INFINITY, f64::min);
        let high = x.iter().zip(&l.slots).map(|(x, s)| x + s.after).fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let extents: Vec<(f64, f64)> = found.iter().map(|(_, x)| bounds(x)).collect();
    let narrowest =
        extents.iter().copied().min_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap_or_default();
    for ((mirrored, x), extent) in found.iter_mut().zip(&extents) {
        let by = if *mirrored { narrowest.1 - extent.1 } else { narrowest.0 - extent.0 };
        for x in x.iter_mut() {
            *x += by;
        }
    }
    (0..l.slots.len())
        .map(|s| {
            let mut four: Vec<f64> = found.iter().map(|(_, x)| x[s]).collect();
            four.sort_by(f64::total_cmp);
            f64::midpoint(four[(four.len() - 1) / 2], four[four.len() / 2])
        })
        .collect()
}

/// Every layer from the left: always possible.
fn packed(l: &Layered, gap: f64) -> Vec<f64> {
    let mut x = vec![0.0; l.slots.len()];
    for layer in &l.layers {
        for pair in layer.windows(2) {
            x[pair[1]] = x[pair[0]] + distance(&l.slots[pair[0]], &l.slots[pair[1]], gap);
        }
    }
    x
}
