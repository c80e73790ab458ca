//! Whether the invariants of a blueprint hold, on all paths: through conditions, joins, rounds of repair and the graphs
//! that nodes use. What cannot be shown to hold is broken; nothing is taken on trust.

use crate::finding::Findings;
use crate::graph::{GraphIx, Program};
use crate::trust::Trust;

pub use path::Path;

mod afterwards;
mod facts;
mod judge;
mod path;
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
