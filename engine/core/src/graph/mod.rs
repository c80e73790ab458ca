//! A blueprint that has been checked and proven runnable: petgraph DAGs of nodes with everything resolved.
//! Only [`crate::check::compile`] makes one.

pub use image::{DockerfileRecipe, Image, Recipe};
pub use input::{InputError, InputSpec};
pub use node::{
    Action, Agent, Approvers, Credential, Each, Edit, EditKind, Gate, Http, HttpBody, McpServer, McpWay,
    Mind, Node, Output, Retry, Run, Side, Use, Value,
};
pub use program::{Budget, Edge, Graph, GraphIx, NodeIx, Program, Region, RegionIx, SubKind};

mod program;
mod node;
mod input;
mod image;
