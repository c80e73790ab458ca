//! Trust flow: what reaches which node, worked out before anything runs. A gate that a person must approve is the only
//! thing that makes anything better again, and only what its subject covers.
//!
//! What flows is found by reachability in a graph of [`Port`]s: where something can be, and where it can go from there.
//! Nothing here looks at values, and nothing here is ever decided in favour of a node.

use crate::format::Tier;
use crate::graph::{GraphIx, NodeIx, Program};

pub use port::Port;
pub use reason::{Because, Reason};
pub use source::Source;
pub(crate) use source::{of_response, of_work};

mod cover;
mod flow;
mod judge;
mod port;
mod reason;
mod source;

pub(crate) use judge::judge;

/// What reaches which node of a program.
#[derive(Debug, Clone)]
pub struct Trust {
    ports: port::Ports,
    spread: flow::Spread,
}

impl Trust {
    /// Works it out, in time linear in nodes, edges and names.
    pub fn of(program: &Program) -> Self {
        let ports = port::Ports::of(program);
        let spread = flow::spread(program, &ports);
        Self { ports, spread }
    }

    /// The least trusted tier among everything that can be at a place.
    pub fn at(&self, port: Port) -> Tier {
        self.spread.tier(self.ports.number(port))
    }

    /// The tier that the commands of a node need: that of the least trusted thing among what they are and what reaches them.
    pub fn tier(&self, graph: GraphIx, node: NodeIx) -> Tier {
        self.at(Port::Work(graph, node))
    }

    /// The least trusted tier among the data that flow into a node.
    pub fn taint(&self, graph: GraphIx, node: NodeIx) -> Tier {
        self.at(Port::Reads(graph, node))
    }

    /// Why a place has its tier: from where it came, and by which steps. Empty if everything there is trusted.
    pub fn because(&self, program: &Program, port: Port) -> Reason {
        reason::of(self, program, port)
    }
}
