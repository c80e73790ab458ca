//! Inputs of a graph: their types, and whether a given value fits.

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::format::{InputType, Tier};

/// An input with its type and bounds.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: InputType,
    /// What it is for.
    pub help: Option<String>,
    /// The value if none is given.
    pub default: Option<Value>,
    /// The least number or length.
    pub min: Option<f64>,
    /// The greatest number or length.
    pub max: Option<f64>,
    /// The values of an enum.
    pub values: Vec<String>,
    /// What a text must match as a whole.
    pub pattern: Option<regex::Regex>,
    /// How much what is given can be trusted at least, whatever starts the run.
    pub tier: Tier,
}

/// Why a value does not fit its input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// It has another type.
    #[error("`{found}` is not {expected}")]
    Type {
        /// What was given.
        found: String,
        /// What is taken.
        expected: &'static str,
    },
    /// It is too small or too short.
    #[error("`{found}` is below the least value {min}")]
    TooSmall {
        /// What was given.
        found: String,
        /// The bound.
        min: String,
    },
    /// It is too great or too long.
    #[error("`{found}` is above the greatest value {max}")]
    TooGreat {
        /// What was given.
        found: String,
        /// The bound.
        max: String,
    },
    /// It is not one of the values.
    #[error("`{found}` is not one of {known}")]
    NotAValue {
        /// What was given.
        found: String,
        /// What is taken.
        known: String,
    },
    /// It does not match.
    #[error("`{found}` does not match `{pattern}`")]
    NoMatch {
        /// What was given.
        found: String,
        /// The pattern.
        pattern: String,
    },
    /// It would leave the project.
    #[error("`{found}` is not a path inside the project")]
    BadPath {
        /// What was given.
        found: String,
    },
}

impl InputSpec {
    /// The type in words.
    pub fn type_name(&self) -> &'static str {
        match self.ty {
            InputType::String => "a text",
            InputType::Integer => "a whole number",
            InputType::Number => "a number",
            InputType::Boolean => "true or false",
            InputType::Enum => "one of its values",
            InputType::List => "a list",
            InputType::Path => "a path inside the project",
            InputType::Secret => "a secret",
        }
    }

    /// Turns a text from the command line into a value of this type.
    pub fn parse(&self, text: &str) -> Result<Value, InputError> {
        let wrong = || InputError::Type { found: text.to_owned(), expected: self.type_name() };
        let value = match self.ty {
            InputType::Integer => {
                Value::from(text.trim().replace('_', "").parse::<i64>().map_err(|_| wrong())?)
            }
            InputType::Number => {
                let number: f64 = text.trim().parse().map_err(|_| wrong())?;
                serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(wrong)?
            }
            InputType::Boolean => match text.trim() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(wrong()),
            },
            InputType::List if text.trim_start().starts_with('[') => {
                serde_json::from_str(text).map_err(|_| wrong())?
            }
            InputType::List if text.is_empty() => Value::Array(Vec::new()),
            InputType::List => Value::Array(text.split(',').map(|item| Value::from(item.trim())).collect()),
            InputType::String | InputType::Enum | InputType::Path | InputType::Secret => Value::from(text),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Whether a value fits.
    pub fn check(&self, value: &Value) -> Result<(), InputError> {
        let found = || match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let wrong = || InputError::Type { found: found(), expected: self.type_name() };
        let size = match (self.ty, value) {
            (InputType::Integer, Value::Number(number)) if number.is_i64() => number.as_f64(),
            (InputType::Number, Value::Number(number)) => number.as_f64(),
            (InputType::Boolean, Value::Bool(_)) => None,
            (InputType::String | InputType::Secret, Value::String(text)) => Some(text.chars().count() as f64),
            (InputType::List, Value::Array(items)) => Some(items.len() as f64),
            (InputType::Enum, Value::String(text)) => {
                if !self.values.contains(text) {
                    return Err(InputError::NotAValue { found: found(), known: self.values.join(", ") });
                }
                None
            }
            (InputType::Path, Value::String(text)) => {
                if crate::source::resolve_path("", text).is_none() {
                    return Err(InputError::BadPath { found: found() });
                }
                None
            }
            _ => return Err(wrong()),
        };
        if let (Some(size), Some(min)) = (size, self.min)
            && size < min
        {
            return Err(InputError::TooSmall { found: found(), min: min.to_string() });
        }
        if let (Some(size), Some(max)) = (size, self.max)
            && size > max
        {
            return Err(InputError::TooGreat { found: found(), max: max.to_string() });
        }
        if let (Some(pattern), Value::String(text)) = (&self.pattern, value)
            && !pattern.find(text).is_some_and(|m| m.start() == 0 && m.end() == text.len())
        {
            return Err(InputError::NoMatch { found: found(), pattern: pattern.as_str().to_owned() });
        }
        Ok(())
    }
}
