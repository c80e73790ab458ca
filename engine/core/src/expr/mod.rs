//! The one expression language of the product: conditions, values and text templates.
//! It is pure and bounded: it never does I/O, never sees a name its source does not mention,
//! and never lets what it evaluates choose how much memory, stack or time that takes.

mod budget;
mod environment;
mod error;
mod filters;
mod json;
mod limits;
mod names;
mod program;
mod references;
mod scan;
mod text;
mod value;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod properties_tests;
#[cfg(test)]
mod tests;

pub use error::{EvalError, SyntaxError, SyntaxErrorKind};
pub use names::{FILTERS, FUNCTIONS, TESTS};
pub use references::Reference;
pub use scan::contains_template;
pub use text::Text;
pub use value::{Expr, ValueType};
