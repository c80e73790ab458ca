//! Whether the invariants of a blueprint hold, on all paths: through conditions, joins, rounds of repair and the graphs
//! that nodes use. What cannot be shown to hold is broken; nothing is taken on trust.

use crate::finding::Findings;
use crate::graph::{GraphIx, Program};
use crate::trust::Trust;

pub(crate) use facts::Facts;
pub use path::Path;
pub use policy::Policy;
pub(crate) use policy::judge as judge_policies;

mod afterwards;
mod facts;
mod judge;
mod path;
mod policy;
mod reach;

/// Says which invariants of all graphs do not hold.
pub(crate) fn judge(program: &Program, trust: &Trust, findings: &mut Findings) {
    for number in 0..program.graphs.len() as u32 {
        let graph = GraphIx(number);
        for claim in &program.graph(graph).claims {
            judge::claim(program, trust, graph, claim, findings);
        }
    }
}
