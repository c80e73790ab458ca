//! Inputs: types, bounds and defaults.

use std::sync::Arc;

use serde_json::Value;

use super::compiler::{Compiler, Unit};
use crate::finding::{Code, Finding};
use crate::format::{Input, InputType, Sp, Tier};
use crate::graph::{InputError, InputSpec};
use crate::source::Span;

impl Compiler<'_> {
    pub(super) fn inputs(&mut self, unit: &Unit) -> Vec<InputSpec> {
        let mut specs = Vec::new();
        for (file, name, input) in &unit.inputs {
            let name_span = Span::new(file, name.range.clone());
            self.good_name("an input", name, name_span);
            specs.push(self.input(unit, file, name, input));
        }
        specs
    }

    fn input(&mut self, unit: &Unit, file: &Arc<str>, name: &Sp<String>, input: &Sp<Input>) -> InputSpec {
        let at = |range: &std::ops::Range<usize>| Span::new(file, range.clone());
        let ty = input.ty.value;
        let mut spec = InputSpec {
            name: name.as_str().into(),
            ty,
            help: input.help.as_ref().map(|help| help.value.clone()),
            default: None,
            min: input.min.as_ref().map(|min| min.value),
            max: input.max.as_ref().map(|max| max.value),
            values: input
                .values
                .iter()
                .flat_map(|values| &values.value)
                .map(|value| value.value.clone())
                .collect(),
            pattern: None,
            tier: input.tier.as_ref().map_or(Tier::Trusted, |tier| tier.value),
        };
        for (key, bound) in [("min", &input.min), ("max", &input.max)] {
            if let Some(bound) = bound
                && !bound.value.is_finite()
            {
                self.findings.push(
                    Finding::new(
                        Code::BadBounds,
                        at(&bound.range),
                        format!("`{key}` of the input `{}` is not a bound", name.value),
                    )
                    .label("not a finite number")
                    .fix("write a number, or take it out: without it there is no bound"),
                );
            }
        }
        if let (Some(min), Some(max)) = (&input.min, &input.max)
            && min.value > max.value
        {
            self.findings.push(
                Finding::new(
                    Code::BadBounds,
                    at(&min.range),
                    format!("no value of `{}` can satisfy its bounds", name.value),
                )
                .label(format!("above the greatest value {}", max.value))
                .note(at(&max.range), "the greatest value")
                .fix("swap `min` and `max`"),
            );
        }
        let bounded = !matches!(ty, InputType::Boolean | InputType::Enum | InputType::Path);
        let textual = matches!(ty, InputType::String | InputType::Secret | InputType::Path);
        for (key, range, fits) in [
            ("min", input.min.as_ref().map(|v| &v.range), bounded),
            ("max", input.max.as_ref().map(|v| &v.range), bounded),
            ("values", input.values.as_ref().map(|v| &v.range), ty == InputType::Enum),
            ("pattern", input.pattern.as_ref().map(|v| &v.range), textual),
        ] {
            if let Some(range) = range
                && !fits
            {
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        at(range),
                        format!("`{key}` means nothing for an input that is {}", spec.type_name()),
                    )
                    .label("without effect")
                    .fix("take it out, or change the type"),
                );
            }
        }
        if ty == InputType::Enum && spec.values.is_empty() {
            if unit.is_broken(name, "values") {
                return spec;
            }
            self.findings.push(
                Finding::new(
                    Code::BadBounds,
                    at(&input.ty.range),
                    format!("the enum `{}` has no values", name.value),
                )
                .label("nothing to choose from")
                .fix("add `values = [\"one\", \"two\"]`"),
            );
            return spec;
        }
        if let Some(pattern) = &input.pattern {
            match regex::Regex::new(&format!("^(?:{})$", pattern.value)) {
                Ok(compiled) => spec.pattern = Some(compiled),
                Err(error) => self.findings.push(super::values::bad_regex(at(&pattern.range), &error)),
            }
        }
        if let Some(default) = &input.default {
            if ty == InputType::Secret {
                self.findings.push(
                    Finding::new(
                        Code::SecretDefault,
                        at(&default.range),
                        format!("the secret `{}` has a default", name.value),
                    )
                    .label("stands here for everybody to read")
                    .fix(format!(
                        "take it out; give it when the run starts: `--secret {}=env:VARIABLE`",
                        name.value
                    )),
                );
                return spec;
            }
            let value = to_json(&default.value, ty);
            let texts = value.as_array().is_none_or(|items| items.iter().all(Value::is_string));
            let problem = if texts { spec.check(&value).err() } else { None };
            if texts && problem.is_none() {
                spec.default = Some(value);
            } else if !unit.is_broken(name, "values") {
                let (message, label, fix) = match problem {
                    None => (
                        "a list holds texts".to_owned(),
                        "an entry is not a text".to_owned(),
                        "put the entries in quotes".to_owned(),
                    ),
                    Some(InputError::Type { .. }) => (
                        format!("it is not {}", spec.type_name()),
                        format!("not {}", spec.type_name()),
                        format!("write {}, or change the type", spec.type_name()),
                    ),
                    Some(InputError::TooSmall { min, .. }) if is_length(ty) => (
                        format!("it is shorter than {}", length(ty, &min)),
                        "too short".to_owned(),
                        "mend the default, or the bounds".to_owned(),
                    ),
                    Some(InputError::TooGreat { max, .. }) if is_length(ty) => (
                        format!("it is longer than {}", length(ty, &max)),
                        "too long".to_owned(),
                        "mend the default, or the bounds".to_owned(),
                    ),
                    Some(InputError::NotAValue { found, known }) => {
                        let near = crate::finding::nearest(&found, spec.values.iter().map(String::as_str));
                        let fix = near.map_or_else(
                            || format!("write one of {known}"),
                            |near| format!("did you mean \"{near}\"?"),
                        );
                        (
                            format!("`{found}` is not one of its values"),
                            "not one of the values".to_owned(),
                            fix,
                        )
                    }
                    Some(InputError::NoMatch { found, .. }) => {
                        let pattern = input.pattern.as_ref().map_or("", |pattern| pattern.value.as_str());
                        (
                            format!("`{found}` does not match `{pattern}`"),
                            "does not match".to_owned(),
                            "mend the default, or the pattern".to_owned(),
                        )
                    }
                    Some(error @ InputError::BadPath { .. }) => (
                        error.to_string(),
                        "leaves the project".to_owned(),
                        "write a path relative to the project, with `/` and without `..`".to_owned(),
                    ),
                    Some(error) => (
                        error.to_string(),
                        "does not fit".to_owned(),
                        "mend the default, or the bounds".to_owned(),
                    ),
                };
                self.findings.push(
                    Finding::new(
                        Code::BadDefault,
                        at(&default.range),
                        format!("the default of the input `{}` does not fit: {message}", name.value),
                    )
                    .label(label)
                    .fix(fix),
                );
            }
        }
        spec
    }
}

/// Whether the bounds of an input are those of its length.
fn is_length(ty: InputType) -> bool {
    matches!(ty, InputType::String | InputType::Secret | InputType::List)
}

/// A length with what is counted.
fn length(ty: InputType, number: &str) -> String {
    let what = match (ty == InputType::List, number == "1") {
        (true, true) => "entry",
        (true, false) => "entries",
        (false, true) => "character",
        (false, false) => "characters",
    };
    format!("{number} {what}")
}

/// TOML to JSON. A whole number is also a number.
fn to_json(value: &toml::Value, ty: InputType) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) if ty == InputType::Number => Value::from(*number as f64),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(value) => Value::from(*value),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(|item| to_json(item, ty)).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, item)| (key.clone(), to_json(item, ty))).collect())
        }
    }
}
