//! A blueprint that has been checked and proven runnable: petgraph DAGs of nodes with everything resolved.
//! Only [`crate::check::compile`] makes one.

pub use claim::{Claim, KINDS, Kept, Passed, Target, What};
pub use image::{DockerfileRecipe, Image, Recipe};
pub use input::{InputError, InputSpec};
pub use node::{
    Action, Agent, Approved, Approvers, Credential, Declared, Each, Edit, EditKind, Forge, ForgeEffect, Gate,
    Http, HttpBody, McpServer, McpWay, Mind, Node, Output, Retry, Run, Side, Use, Value,
};
pub use program::{Budget, Edge, Graph, GraphIx, NodeIx, Program, Region, RegionIx, SubKind};
pub use reads::Read;

mod program;
mod node;
mod input;
mod claim;
pub(crate) mod order;
mod reads;
mod image;
