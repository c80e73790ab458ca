//! The soft backgrounds of repair regions: which items belong to one, and the shape behind them.
//! A shape never covers an item that is not in the region.

use super::geometry::{Path, Rect};

/// Work spent on finding regions is bounded; those beyond it have an arrow but no background.
const PATIENCE: usize = 3_000_000;

/// How many pieces the backgrounds of one level may consist of.
const PIECES: usize = 12_000;

/// The items of one region within a level.
#[derive(Debug)]
pub(super) struct Span {
    /// Sorted.
    pub(super) members: Vec<usize>,
    /// How far its background reaches beyond its items.
    pub(super) pad: f64,
}

/// A background: boxes, and curves that join them where one box would cover others.
#[derive(Debug)]
pub(super) struct Hull {
    pub(super) parts: Vec<Rect>,
    pub(super) threads: Vec<Path>,
}

/// For every `(closer, from)` what lies on a way from `from` to `closer`.
pub(super) fn spans(
    items: usize,
    arcs: &[(usize, usize)],
    wanted: impl Iterator<Item = (usize, usize)>,
) -> Vec<Span> {
    let mut out = vec![Vec::new(); items];
    let mut back = vec![Vec::new(); items];
    for &(from, to) in arcs {
        out[from].push(to);
        back[to].push(from);
    }
    let mut spent = 0;
    let mut spans: Vec<Span> = Vec::new();
    for (closer, from) in wanted {
        if spent > PATIENCE {
            break;
        }
        let forward = reach(&out, from, &mut spent);
        let backward = reach(&back, closer, &mut spent);
        let members: Vec<usize> = (0..items).filter(|&i| forward[i] && backward[i]).collect();
        if !members.is_empty() {
            spans.push(Span { members, pad: 9.0 });
        }
    }
    spans.sort_by_key(|s| s.members.len());
    if spans.len() <= 60 {
        for k in 1..spans.len() {
            let inner = spans[..k].iter().filter(|s| within(s, &spans[k])).map(|s| s.pad).fold(2.0, f64::max);
            spans[k].pad = (inner + 7.0).min(30.0);
        }
    }
    // The outermost is painted first.
    spans.reverse();
    spans
}

fn within(inner: &Span, outer: &Span) -> bool {
    inner.members.iter().all(|m| outer.members.binary_search(m).is_ok())
}

fn reach(next: &[Vec<usize>], start: usize, spent: &mut usize) -> Vec<bool> {
    let mut seen = vec![false; next.len()];
    seen[start] = true;
    let mut stack = vec![start];
    *spent += next.len();
    while let Some(i) = stack.pop() {
        *spent += 1 + next[i].len();
        for &n in &next[i] {
            if !seen[n] {
                seen[n] = true;
                stack.push(n);
            }
        }
    }
    seen
}

/// The background of every region, given where the items are and how edges run.
pub(super) fn hulls(
    spans: &[Span],
    rects: &[Option<Rect>],
    arcs: &[(usize, usize)],
    course: impl Fn(usize) -> Path,
) -> Vec<Hull> {
    let (mut spent, mut pieces) = (0, 0);
    let mut hulls: Vec<Hull> = Vec::new();
    for span in spans {
        spent += rects.len() + arcs.len();
        if spent > PATIENCE {
            break;
        }
        let grown: Vec<Rect> =
            span.members.iter().filter_map(|&m| rects[m]).map(|r| r.grown(span.pad)).collect();
        let Some(whole) = grown.iter().copied().reduce(|a, b| a.around(&b)) else { continue };
        let member = |i: usize| span.members.binary_search(&i).is_ok();
        let stranger =
            rects.iter().enumerate().any(|(i, r)| !member(i) && r.is_some_and(|r| r.overlaps(&whole)));
        if stranger {
            pieces += grown.len() * 2;
            if pieces > PIECES {
                break;
            }
            let threads: Vec<Path> = arcs
                .iter()
                .enumerate()
                .filter(|(_, (from, to))| member(*from) && member(*to))
                .map(|(a, _)| course(a))
                .collect();
            pieces += threads.len();
            // Several loose parts with wide rims would run into each other.
            let tight = 7.0 + (span.pad - 9.0) * 0.35 - span.pad;
            let parts = grown.iter().map(|r| r.grown(tight)).collect();
            hulls.push(Hull { parts, threads });
        } else {
            hulls.push(Hull { parts: vec![whole], threads: Vec::new() });
        }
    }
    hulls
}
