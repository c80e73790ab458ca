//! A picture with its names resolved to indices and its nesting made sound.
//! It drops what cannot be drawn (unknown ends, edges between a frame and its own content) and
//! never fails: cyclic or absent parents become the top level.

use super::picture::{EdgeKind, Picture, PictureNode, Rounds};
use std::collections::{HashMap, HashSet};

/// Frames nested deeper than this are drawn beside each other, so that no input makes the
/// number of frame crossings an edge has grow without bound.
const DEEPEST: usize = 12;

/// One end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum End {
    /// Index of a node that has a box.
    Node(usize),
    /// Index of a group.
    Group(usize),
}

/// A way back from the node that was red to the node that runs again.
#[derive(Clone, Debug)]
pub(super) struct Return {
    pub(super) closer: End,
    pub(super) from: End,
    pub(super) label: String,
    pub(super) is_region: bool,
}

/// The picture, resolved.
#[derive(Debug)]
pub(super) struct Scene<'p> {
    pub(super) picture: &'p Picture,
    /// Level of each node: 0 is the top, `g + 1` the inside of group `g`.
    pub(super) node_home: Vec<usize>,
    /// Level of each group.
    pub(super) group_home: Vec<usize>,
    /// How many frames are around the content of each level.
    pub(super) depth: Vec<usize>,
    /// For each group the node it opens up.
    pub(super) head: Vec<Option<usize>>,
    /// For each node the group that replaces its box.
    pub(super) opened: Vec<Option<usize>>,
    pub(super) needs: Vec<(End, End)>,
    pub(super) returns: Vec<Return>,
}

impl<'p> Scene<'p> {
    pub(super) fn new(picture: &'p Picture) -> Self {
        let (group_home, depth) = nesting(picture);
        let mut ids: HashMap<&str, End> = HashMap::new();
        for (g, group) in picture.groups.iter().enumerate() {
            ids.entry(group.id.as_str()).or_insert(End::Group(g));
        }
        let mut head = vec![None; picture.groups.len()];
        let mut opened = vec![None; picture.nodes.len()];
        for (n, node) in picture.nodes.iter().enumerate() {
            match ids.get(node.id.as_str()) {
                Some(&End::Group(g)) if head[g].is_none() => {
                    head[g] = Some(n);
                    opened[n] = Some(g);
                }
                Some(_) => {}
                None => {
                    ids.insert(node.id.as_str(), End::Node(n));
                }
            }
        }
        let groups = picture.groups.len();
        let node_home =
            picture.nodes.iter().map(|n| n.group.filter(|&g| g < groups).map_or(0, |g| g + 1)).collect();
        let mut scene =
            Self { picture, node_home, group_home, depth, head, opened, needs: vec![], returns: vec![] };
        scene.connect(&ids);
        scene
    }

    fn connect(&mut self, ids: &HashMap<&str, End>) {
        let end = |id: &str| ids.get(id).copied();
        let mut seen = HashSet::new();
        for region in &self.picture.regions {
            if let (Some(closer), Some(from)) = (end(&region.closer), end(&region.from))
                && seen.insert((closer, from))
            {
                let label = repair_label(region.rounds);
                self.returns.push(Return { closer, from, label, is_region: true });
            }
        }
        let mut known = HashSet::new();
        for edge in &self.picture.edges {
            let (Some(from), Some(to)) = (end(&edge.from), end(&edge.to)) else { continue };
            match edge.kind {
                EdgeKind::Needs => {
                    if known.insert((from, to)) && self.split(from, to).is_some() {
                        self.needs.push((from, to));
                    }
                }
                EdgeKind::Repair => {
                    if seen.insert((from, to)) {
                        let label = repair_label(Rounds::Unknown);
                        self.returns.push(Return { closer: from, from: to, label, is_region: false });
                    }
                }
            }
        }
    }

    /// Number of levels: the top and the inside of every group.
    pub(super) fn levels(&self) -> usize {
        self.depth.len()
    }

    /// What is drawn in each level, nodes before groups.
    pub(super) fn contents(&self) -> Vec<Vec<End>> {
        let mut contents = vec![Vec::new(); self.levels()];
        for (n, &home) in self.node_home.iter().enumerate() {
            if self.opened[n].is_none() {
                contents[home].push(End::Node(n));
            }
        }
        for (g, &home) in self.group_home.iter().enumerate() {
            contents[home].push(End::Group(g));
        }
        contents
    }

    /// The level an end is drawn in.
    pub(super) fn home(&self, end: End) -> usize {
        match end {
            End::Node(n) => self.node_home[n],
            End::Group(g) => self.group_home[g],
        }
    }

    /// The node that says how a group's frame looks, if it opens one up.
    pub(super) fn head_node(&self, group: usize) -> Option<&'p PictureNode> {
        self.head[group].map(|n| &self.picture.nodes[n])
    }

    /// For two ends the things to pass on the way to the innermost level that holds both: each
    /// list starts with the end itself, and both last entries are in that level. `None` if they
    /// are the same or one is inside the other.
    pub(super) fn split(&self, from: End, to: End) -> Option<(Vec<End>, Vec<End>)> {
        let (mut ups, mut downs) = (vec![from], vec![to]);
        let (mut a, mut b) = (from, to);
        while self.home(a) != self.home(b) {
            let (x, y) = (self.home(a), self.home(b));
            if self.depth[x] >= self.depth[y] {
                a = End::Group(x - 1);
                ups.push(a);
            } else {
                b = End::Group(y - 1);
                downs.push(b);
            }
        }
        (a != b).then_some((ups, downs))
    }
}

/// What a way back says.
fn repair_label(rounds: Rounds) -> String {
    let plural = |n: u32| if n == 1 { "" } else { "s" };
    match rounds {
        Rounds::Local(n) => format!("repair ≤ {n} round{}", plural(n)),
        Rounds::Ci(n) => format!("repair ≤ {n} CI round{}", plural(n)),
        Rounds::Unknown => "repair".to_owned(),
    }
}

/// The level of every group and the depth of every level.
fn nesting(picture: &Picture) -> (Vec<usize>, Vec<usize>) {
    let count = picture.groups.len();
    let parent = |g: usize| picture.groups[g].parent.filter(|&p| p < count);
    let mut home: Vec<Option<usize>> = vec![None; count];
    let mut depth = vec![0; count + 1];
    for start in 0..count {
        let mut path = Vec::new();
        let mut on_path = HashSet::new();
        let mut at = Some(start);
        // Climb until something is known; meeting the path again is a cycle and ends at the top.
        while let Some(g) = at.filter(|&g| home[g].is_none()) {
            if !on_path.insert(g) {
                at = None;
                break;
            }
            path.push(g);
            at = parent(g);
        }
        let mut level = at.map_or(0, |g| g + 1);
        while let Some(g) = path.pop() {
            if depth[level] >= DEEPEST {
                level = level.checked_sub(1).and_then(|around| home[around]).unwrap_or(0);
            }
            home[g] = Some(level);
            depth[g + 1] = depth[level] + 1;
            level = g + 1;
        }
    }
    (home.into_iter().map(|level| level.unwrap_or(0)).collect(), depth)
}
