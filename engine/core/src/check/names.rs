//! What an expression may name at one place of a blueprint, and of which type it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compiler::Unit;
use super::shape::Shape;
use super::values::type_name;
use crate::expr::{Reference, ValueType};
use crate::finding::{Code, Finding, nearest};
use crate::format::{InputType, OutputType};
use crate::graph::order::Standing;
use crate::graph::{InputSpec, NodeIx};
use crate::source::Span;

/// What is known of a node before its kind is compiled.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    pub(super) name: Arc<str>,
    pub(super) span: Span,
    /// Outputs and their types, where known.
    pub(super) outputs: Vec<(Arc<str>, Option<ValueType>)>,
    /// Whether there may be other outputs, which could not be read.
    pub(super) open: bool,
    /// Whether its outputs are what another blueprint returns.
    pub(super) used: bool,
}

/// All names of one blueprint.
pub(super) struct Names<'a> {
    pub(super) inputs: &'a [InputSpec],
    pub(super) outlines: &'a [Outline],
    pub(super) shape: &'a Shape,
    /// The places of the inputs by name.
    pub(super) by_input: BTreeMap<&'a str, usize>,
    /// What could not be read: nothing is said about it.
    pub(super) unit: &'a Unit,
}

/// Whether an expression may name a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// No: its value is written down.
    Never,
    /// As the whole expression: it is passed on by name.
    Whole,
    /// Anywhere: its value goes to a program or a server and nowhere else.
    Anywhere,
}

/// The place of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The node it belongs to; none for `returns`, which sees all nodes.
    pub(super) node: Option<NodeIx>,
    /// Whether `item` and `index` exist.
    pub(super) item: bool,
    /// Other names that exist here.
    pub(super) extra: &'a [&'a str],
    /// Whether secrets may be named.
    pub(super) secrets: Secrets,
}

impl<'a> Names<'a> {
    /// The input called `name`.
    pub(super) fn input_named(&self, name: &str) -> Option<&'a InputSpec> {
        self.by_input.get(name).map(|at| &self.inputs[*at])
    }

    /// The input that was probably meant.
    pub(super) fn input_near(&self, name: &str) -> Option<&'a str> {
        nearest(name, self.by_input.keys().copied())
    }

    /// The type of what is named, or what is wrong with it.
    pub(super) fn resolve(
        &self,
        reference: &Reference,
        place: Place<'_>,
        span: Span,
    ) -> Result<Option<ValueType>, Box<Finding>> {
        let parts: Vec<&str> = reference.path.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["inputs", name, rest @ ..] => self.input(name, rest, place, span),
            ["nodes", name, rest @ ..] => self.node(name, rest, reference.guarded, place, span),
            ["item", ..] if place.item => Ok(None),
            ["index"] if place.item => Ok(Some(ValueType::Integer)),
            [name, ..] if place.extra.contains(name) => Ok(None),
            ["inputs"] => {
                Err(unknown(span, "`inputs` alone is not a value").fix("name one: `inputs.NAME`").into())
            }
            ["nodes"] => Err(unknown(span, "`nodes` alone is not a value")
                .fix("name an output: `nodes.NODE.OUTPUT`")
                .into()),
            ["item" | "index", ..] => Err(unknown(span, format!("there is no `{}` here", parts[0]))
                .reason("`item` and `index` exist in nodes with `each` only")
                .fix("add `each`, or name something else")
                .into()),
            [name, ..] => Err(self.stranger(name, &reference.dotted(), place, span).into()),
            [] => Ok(None),
        }
    }

    fn stranger(&self, name: &str, dotted: &str, place: Place<'_>, span: Span) -> Finding {
        let finding = unknown(span, format!("there is no `{name}` here"));
        if self.input_named(name).is_some() {
            return finding.fix(format!("write `inputs.{dotted}`"));
        }
        if self.shape.by_name.contains_key(name) {
            return finding.fix(format!("write `nodes.{dotted}`"));
        }
        let here = ["inputs", "nodes"]
            .into_iter()
            .chain(place.item.then_some(["item", "index"]).into_iter().flatten());
        if let Some(near) = nearest(name, here.chain(place.extra.iter().copied())) {
            return finding.fix(format!("did you mean `{near}`?"));
        }
        finding.fix(format!(
            "name something with `inputs.` or `nodes.`; for the plain text, add quotes: \"'{dotted}'\""
        ))
    }

    fn input(
        &self,
        name: &str,
        rest: &[&str],
        place: Place<'_>,
        span: Span,
    ) -> Result<Option<ValueType>, Box<Finding>> {
        if let Some(input) = self.input_named(name) {
            if input.ty == InputType::Secret && place.secrets == Secrets::Never {
                return Err(Finding::new(Code::UnknownReference, span, format!("the secret `{name}` cannot be used here"))
                    .label("a secret")
                    .reason("a secret may only stand in `env` or a header, or be the whole value of a `with`: anywhere else it would be written down")
                    .fix(format!("pass it on: `env = {{ {} = \"inputs.{name}\" }}`", name.to_uppercase()))
                    .into());
            }
            let ty = match input.ty {
                InputType::String | InputType::Enum | InputType::Path | InputType::Secret => {
                    ValueType::String
                }
                InputType::Integer => ValueType::Integer,
                InputType::Number => ValueType::Number,
                InputType::Boolean => ValueType::Boolean,
                InputType::List => ValueType::List,
            };
            return match rest.first() {
                None => Ok(Some(ty)),
                Some(part) => Err(no_parts(span, &format!("inputs.{name}"), part, ty).into()),
            };
        }
        if self.unit.is_lost(name) {
            return Ok(None);
        }
        let finding = unknown(span, format!("there is no input `{name}`"));
        Err(match self.input_near(name) {
            Some(near) => finding.fix(format!("did you mean `inputs.{near}`?")),
            None => finding.fix(format!("declare it under `[inputs]`: `{name} = {{ type = \"string\" }}`")),
        }
        .into())
    }

    fn node(
        &self,
        name: &str,
        rest: &[&str],
        guarded: bool,
        place: Place<'_>,
        span: Span,
    ) -> Result<Option<ValueType>, Box<Finding>> {
        let Some(ix) = self.shape.by_name.get(name).copied() else {
            if self.unit.is_lost(name) {
                return Ok(None);
            }
            let finding = unknown(span, format!("there is no node `{name}`"));
            return Err(match self.shape.node_near(name) {
                Some(near) => finding.fix(format!("did you mean `nodes.{near}`?")),
                None => finding.fix("name a node of this blueprint"),
            }
            .into());
        };
        let outline = &self.outlines[ix.at()];
        let standing = place.node.map(|reader| self.shape.order.standing(reader, ix));
        if let (Some(reader), Some(Standing::Apart)) = (place.node, standing) {
            let reader = &self.outlines[reader.at()];
            if reader.name == outline.name {
                return Err(Finding::new(Code::NotUpstream, span, format!("`{name}` reads itself"))
                    .label("not there before it has run")
                    .fix("read the outputs of another node")
                    .into());
            }
            let finding = Finding::new(
                Code::NotUpstream,
                span,
                format!("`{}` reads `{name}`, which it does not need", reader.name),
            )
            .label("may not have run")
            .note(outline.span.clone(), format!("`{name}` is here"));
            let later = self
                .shape
                .by_name
                .get(&reader.name)
                .is_some_and(|reader| self.shape.order.standing(ix, *reader) != Standing::Apart);
            return Err(if later {
                finding
                    .reason(format!("`{name}` runs after `{}`", reader.name))
                    .fix("read a node that runs before, or turn the order of the two round")
            } else {
                finding.fix(format!("add \"{name}\" to the needs of `{}`", reader.name))
            }
            .into());
        }
        let output = match rest {
            ["status"] => return Ok(Some(ValueType::String)),
            ["status", part, ..] => {
                return Err(no_parts(span, &format!("nodes.{name}.status"), part, ValueType::String).into());
            }
            [output, ..] => *output,
            [] => {
                return Err(unknown(span, format!("`nodes.{name}` alone is not a value"))
                    .fix(format!("name an output: {}", choices(outline)))
                    .into());
            }
        };
        let known = outline.outputs.iter().find(|(known, _)| &**known == output);
        if known.is_none() && outline.open {
            return Ok(None);
        }
        let Some((_, ty)) = known else {
            let finding =
                Finding::new(Code::UnknownOutput, span, format!("`{name}` has no output `{output}`"))
                    .label("unknown output")
                    .note(outline.span.clone(), format!("`{name}` is here"));
            let outputs = outline.outputs.iter().map(|(name, _)| &**name);
            return Err(match nearest(output, outputs.chain(["status"])) {
                Some(near) => finding.fix(format!("did you mean `nodes.{name}.{near}`?")),
                None if outline.used => finding
                    .fix(format!("add `{output}` to the `[returns]` of the blueprint that `{name}` uses")),
                None => {
                    finding.fix(format!("declare it at `{name}`: `output = {{ {output} = \"string\" }}`"))
                }
            }
            .into());
        };
        if let (Some(part), Some(ty)) = (rest.get(1), ty)
            && !matches!(ty, ValueType::Object | ValueType::List)
        {
            return Err(no_parts(span, &format!("nodes.{name}.{output}"), part, *ty).into());
        }
        let sure = standing.is_none_or(|standing| standing == Standing::Sure);
        if !sure && !guarded {
            let reader = place.node.map_or("this", |reader| &*self.outlines[reader.at()].name);
            return Err(Finding::new(
                Code::MaybeSkipped,
                span,
                format!("`{name}` may have been skipped or have failed when `{reader}` reads it"),
            )
            .label("may be missing")
            .note(outline.span.clone(), format!("`{name}` is here"))
            .fix(format!("write `nodes.{name}.{output} | default('…')`, or let `{reader}` need `{name}` and join with \"all\""))
            .into());
        }
        Ok(if rest.len() > 1 { None } else { *ty })
    }
}

fn unknown(span: Span, message: impl Into<String>) -> Finding {
    Finding::new(Code::UnknownReference, span, message).label("unknown name")
}

/// A part is asked of a value that has none.
fn no_parts(span: Span, whole: &str, part: &str, ty: ValueType) -> Finding {
    Finding::new(Code::TypeMismatch, span, format!("`{whole}` is {}, it has no `{part}`", type_name(ty)))
        .label(format!("not a part of {}", type_name(ty)))
        .fix(format!("write `{whole}`"))
}

fn choices(outline: &Outline) -> String {
    let mut names: Vec<String> =
        outline.outputs.iter().map(|(name, _)| format!("`nodes.{}.{name}`", outline.name)).collect();
    names.push(format!("`nodes.{}.status`", outline.name));
    names.join(", ")
}

/// The type of the values an output has.
pub(super) fn value_type(ty: OutputType) -> ValueType {
    match ty {
        OutputType::String => ValueType::String,
        OutputType::Integer => ValueType::Integer,
        OutputType::Number => ValueType::Number,
        OutputType::Boolean => ValueType::Boolean,
        OutputType::List => ValueType::List,
        OutputType::Object => ValueType::Object,
    }
}
