//! Value expressions: conditions, `with`, `env`, `each`. Parsing checks everything that can be
//! checked without a scope; evaluation is a pure function of the source and the scope.

use minijinja::machinery::{ast, parse_expr};
use minijinja::syntax::SyntaxConfig;
use serde_json::Value as Json;

use super::environment;
use super::error::{EvalError, SyntaxError};
use super::json;
use super::program;
use super::references::{self, Reference};
use super::scan::{self, Grammar};

/// A checked value expression, such as `nodes.fix.confidence > 0.8 and inputs.repeat < 10`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    source: String,
    references: Vec<Reference>,
    is_path: bool,
    literal: Option<Json>,
    known_type: Option<ValueType>,
}

/// The types a value can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `none`.
    None,
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// Any other number.
    Number,
    /// Text.
    String,
    /// A list.
    List,
    /// An object with named fields.
    Object,
}

impl ValueType {
    /// The type of a value.
    pub fn of(value: &Json) -> Self {
        match value {
            Json::Null => Self::None,
            Json::Bool(_) => Self::Boolean,
            Json::Number(number) if number.is_f64() => Self::Number,
            Json::Number(_) => Self::Integer,
            Json::String(_) => Self::String,
            Json::Array(_) => Self::List,
            Json::Object(_) => Self::Object,
        }
    }
}

impl Expr {
    /// Parses and checks an expression of at most 1 KiB.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        scan::check(source, Grammar::Expression, SyntaxConfig::default())?;
        let tree = parse_expr(source).map_err(|error| scan::from_engine(&error, source))?;
        let references = references::of_expression(&tree, source)?;
        let literal = tree.as_const().and_then(|value| json::to_json(&value, 0).ok());
        let known_type = literal.as_ref().map(ValueType::of).or_else(|| type_of(&tree));
        let is_path = references::as_path(&tree).is_some();
        Ok(Self { source: source.to_owned(), references, is_path, literal, known_type })
    }

    /// The source as it was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names the expression takes from its scope, in the order of the source.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The reference that is the whole expression, as in `inputs.test`.
    pub fn as_reference(&self) -> Option<&Reference> {
        self.references.first().filter(|_| self.is_path)
    }

    /// The value of an expression that needs no scope, such as `'main'` or `3 * 20`.
    pub fn literal(&self) -> Option<&Json> {
        self.literal.as_ref()
    }

    /// The type of the result, where the form of the expression already says it.
    pub fn known_type(&self) -> Option<ValueType> {
        self.known_type
    }

    /// Evaluates the expression; `scope` must be an object.
    pub fn eval(&self, scope: &Json) -> Result<Json, EvalError> {
        if let Some(literal) = &self.literal {
            return Ok(literal.clone());
        }
        let unparsable = |error: &minijinja::Error| EvalError::Type {
            message: scan::from_engine(error, &self.source).message,
            range: None,
        };
        let tree = parse_expr(&self.source).map_err(|error| unparsable(&error))?;
        let program = program::of_expression(&tree, &self.source);
        let visible = json::visible(scope, &self.references)?;
        let (value, _) = environment::run(&program, visible, &self.references)?;
        let value = value.unwrap_or_default();
        if value.is_undefined() {
            let missing = self.as_reference();
            return Err(EvalError::Undefined {
                path: missing.map_or_else(|| self.source.trim().to_owned(), Reference::dotted),
                range: missing.map(|reference| reference.range.clone()),
            });
        }
        json::to_json(&value, 0)
    }
}

fn type_of(tree: &ast::Expr<'_>) -> Option<ValueType> {
    use ast::{BinOpKind as Op, Expr as Tree};
    match tree {
        Tree::Compare(_) | Tree::Test(_) => Some(ValueType::Boolean),
        Tree::UnaryOp(op) if matches!(op.op, ast::UnaryOpKind::Not) => Some(ValueType::Boolean),
        Tree::BinOp(op) => match op.op {
            Op::Eq | Op::Ne | Op::Lt | Op::Lte | Op::Gt | Op::Gte | Op::In => Some(ValueType::Boolean),
            Op::Concat => Some(ValueType::String),
            // Both sides are possible results.
            Op::ScAnd | Op::ScOr => type_of(&op.left).filter(|left| type_of(&op.right) == Some(*left)),
            _ => None,
        },
        Tree::List(_) | Tree::Tuple(_) => Some(ValueType::List),
        Tree::Map(_) => Some(ValueType::Object),
        Tree::Const(constant) => json::to_json(&constant.value, 0).ok().as_ref().map(ValueType::of),
        _ => None,
    }
}
