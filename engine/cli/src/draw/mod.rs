//! Pictures of graphs: from a neutral description to SVG, Mermaid and DOT.
//! Pure: no clock, no files; the same picture gives the same text.

mod picture;
mod text;
mod scene;
mod geometry;
mod layers;
mod order;
mod place;
mod rows;
mod detour;
mod level;
mod region;
mod face;
mod course;
mod arrange;
mod style;
mod legend;
mod paint;
mod svg;
mod mermaid;
mod dot;
#[cfg(test)]
mod tests;

pub use dot::dot;
pub use geometry::Direction;
pub use mermaid::mermaid;
pub use picture::{
    EdgeKind, Group, Join, NodeKind, NodeState, Picture, PictureEdge, PictureNode, Region, Rounds, Tier,
};
pub use svg::{Legend, Scheme, SvgOptions, svg};
