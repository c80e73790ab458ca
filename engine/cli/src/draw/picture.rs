//! The neutral picture of a graph: what is to be seen, and nothing about where or how.
//! It knows neither the compiled graph nor the journal; callers translate into it. All its
//! strings count as untrusted: only the writers decide how they are escaped.

/// A graph as a reader should see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Heading, usually the name of the blueprint.
    pub title: String,
    /// One line below the heading, usually its summary.
    pub subtitle: Option<String>,
    /// Every node, in the order of the file; ties in the layout are settled by this order.
    pub nodes: Vec<PictureNode>,
    /// What orders the nodes. Edges that name unknown ids are left out.
    pub edges: Vec<PictureEdge>,
    /// Sub-blueprints that are drawn opened up.
    pub groups: Vec<Group>,
    /// Parts of the graph that may run again. Each also draws its arrow back.
    pub regions: Vec<Region>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureNode {
    /// Unique path such as `verify` or `deploy/canary`.
    pub id: String,
    /// What is written on the node.
    pub label: String,
    /// What the node does.
    pub kind: NodeKind,
    /// How much what it runs and reads is trusted.
    pub tier: Option<Tier>,
    /// A second line, for example the command; shortened to fit.
    pub detail: Option<String>,
    /// Whether it is mapped over a list.
    pub each: bool,
    /// Whether a condition may skip it.
    pub conditional: bool,
    /// What it waits for when it needs several nodes.
    pub join: Join,
    /// How far it got, in a picture of a run.
    pub state: Option<NodeState>,
    /// Index into [`Picture::groups`] of the sub-blueprint it belongs to.
    pub group: Option<usize>,
    /// A few characters such as `412 ms` or `2 rounds`.
    pub badge: Option<String>,
}

impl PictureNode {
    /// A plain node of the top level, to be refined by the caller.
    pub fn new(id: impl Into<String>, label: impl Into<String>, kind: NodeKind) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            kind,
            tier: None,
            detail: None,
            each: false,
            conditional: false,
            join: Join::All,
            state: None,
            group: None,
            badge: None,
        }
    }
}

/// The kinds of node a blueprint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// A command.
    Run,
    /// A deterministic change of files.
    Edit,
    /// An API call.
    Http,
    /// A model with tools.
    Agent,
    /// An approval.
    Gate,
    /// Waiting for checks of a forge.
    Ci,
    /// An operation on a forge, such as opening a pull request.
    Forge,
    /// A timer or an event.
    Wait,
    /// A sub-blueprint.
    Blueprint,
}

impl NodeKind {
    /// Every kind, in the order legends list them.
    pub const ALL: [Self; 9] = [
        Self::Run,
        Self::Edit,
        Self::Http,
        Self::Agent,
        Self::Gate,
        Self::Ci,
        Self::Forge,
        Self::Wait,
        Self::Blueprint,
    ];

    /// The word the format uses for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Edit => "edit",
            Self::Http => "http",
            Self::Agent => "agent",
            Self::Gate => "gate",
            Self::Ci => "ci",
            Self::Forge => "forge",
            Self::Wait => "wait",
            Self::Blueprint => "blueprint",
        }
    }
}

/// How much what a node runs and reads is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Code of the default branch.
    Trusted,
    /// Code of people with write access.
    Internal,
    /// What a model wrote or chose.
    Generated,
    /// What strangers wrote.
    Untrusted,
}

impl Tier {
    /// Every tier, most trusted first.
    pub const ALL: [Self; 4] = [Self::Trusted, Self::Internal, Self::Generated, Self::Untrusted];

    /// The word the format uses for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Internal => "internal",
            Self::Generated => "generated",
            Self::Untrusted => "untrusted",
        }
    }

    /// Whose content it is, for the legend.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Trusted => "the default branch",
            Self::Internal => "people with write access",
            Self::Generated => "written by a model",
            Self::Untrusted => "written by strangers",
        }
    }
}

/// What a node with several needs waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Join {
    /// All of them have succeeded.
    #[default]
    All,
    /// The first of them has succeeded.
    Any,
    /// All of them have ended, however they did.
    Settled,
}

impl Join {
    /// The word the format uses for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Settled => "settled",
        }
    }
}

/// How far a node got in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Not started.
    Pending,
    /// At work.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Its condition did not hold.
    Skipped,
    /// Waits for a person, for CI or for a timer.
    Waiting,
    /// Stopped before it ended.
    Cancelled,
}

impl NodeState {
    /// Every state, in the order legends list them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The word reports use for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Waiting => "waiting",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One edge, by the ids of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureEdge {
    /// Where it starts: a node, or a group by its own id.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it means.
    pub kind: EdgeKind,
}

impl PictureEdge {
    /// `to` needs `from`.
    pub fn needs(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), kind: EdgeKind::Needs }
    }
}

/// What an edge means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// `to` starts after `from`.
    Needs,
    /// When `from` is red, the graph runs again starting with `to`.
    Repair,
}

/// A sub-blueprint drawn as a titled frame around its nodes.
///
/// If a node has the same id as a group, the group *is* that node opened up: the frame shows the
/// node's tier, state, badge and join, edges to the node end at the frame, and no box is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique path, usually the id of the node that is opened up.
    pub id: String,
    /// What is written on the frame.
    pub title: String,
    /// Index into [`Picture::groups`] of the frame around this one.
    pub parent: Option<usize>,
}

/// A repair region: everything from `from` to `closer` runs again while `closer` is red.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first node that runs again.
    pub from: String,
    /// The node whose failure sends the region round again.
    pub closer: String,
    /// How often at most.
    pub rounds: Rounds,
}

/// What bounds a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// Its own number of rounds.
    Local(u32),
    /// The CI rounds of the budget.
    Ci(u32),
    /// Not known to the caller; the label leaves it out.
    Unknown,
}
