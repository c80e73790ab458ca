//! Text templates: titles, bodies, prompts. Rendering is a pure function of the source and the
//! scope, and its length is bounded.

use minijinja::machinery::parse;
use serde_json::Value as Json;

use super::environment;
use super::error::{EvalError, SyntaxError};
use super::json;
use super::program;
use super::references::{self, Reference};
use super::scan::{self, Grammar};

/// A checked text template, such as `Stabilise {{ inputs.test }}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    source: String,
    references: Vec<Reference>,
}

impl Text {
    /// Parses and checks a template of at most 256 KiB.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        if scan::contains_template(source).is_none() && source.len() <= super::limits::TEXT_BYTES {
            return Ok(Self { source: source.to_owned(), references: Vec::new() });
        }
        scan::check(source, Grammar::Template, environment::syntax())?;
        let tree =
            parse(source, "", environment::syntax()).map_err(|error| scan::from_engine(&error, source))?;
        let references = references::of_template(&tree, source)?;
        Ok(Self { source: source.to_owned(), references })
    }

    /// The source as it was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names the template takes from its scope, in the order of the source. Loop variables and
    /// names the template sets itself are not among them.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Whether the text has no template syntax and renders as itself.
    pub fn is_literal(&self) -> bool {
        scan::contains_template(&self.source).is_none()
    }

    /// Renders the template, to at most 1 MiB; `scope` must be an object.
    pub fn render(&self, scope: &Json) -> Result<String, EvalError> {
        if self.is_literal() {
            return Ok(self.source.clone());
        }
        let unparsable = |error: &minijinja::Error| EvalError::Type {
            message: scan::from_engine(error, &self.source).message,
            range: None,
        };
        let tree = parse(&self.source, "", environment::syntax()).map_err(|error| unparsable(&error))?;
        let program = program::of_template(&tree, &self.source);
        let visible = json::visible(scope, &self.references)?;
        environment::run(&program, visible, &self.references).map(|(_, text)| text)
    }
}
