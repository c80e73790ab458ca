//! Expressions and texts of a blueprint: parsed, with every name resolved and every place right.

use std::ops::Range;
use std::sync::Arc;

use super::compiler::Compiler;
use super::names::{Names, Place, Secrets};
use super::text_place::TextPlace;
use crate::expr::{
    Expr, FILTERS, FUNCTIONS, Reference, SyntaxError, SyntaxErrorKind, TESTS, Text, ValueType,
};
use crate::finding::{Code, Finding, nearest};
use crate::format::{Scalar, Sp};
use crate::graph::Value;
use crate::source::Span;

pub(super) fn bad_regex(span: Span, error: &regex::Error) -> Finding {
    if let regex::Error::CompiledTooBig(_) = error {
        return Finding::new(Code::TooLarge, span, "the regular expression is too large")
            .label("too large")
            .fix("repeat less often, or match a shorter part of the text");
    }
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Finding::new(Code::BadRegex, span, format!("the regular expression does not parse: {line}"))
        .label("not a regular expression")
        .fix("mend the expression; in TOML, single quotes spare you the double backslashes")
}

pub(super) fn bad_expression(error: &SyntaxError, place: &TextPlace<'_>, text: &str, whole: bool) -> Finding {
    let span = place.span(&error.range);
    let bad =
        |message: String, label: &str| Finding::new(Code::BadExpression, span.clone(), message).label(label);
    let named = |what: &str, name: &str, known: &[&'static str]| {
        let finding = bad(format!("there is no {what} `{name}` in expressions"), &format!("unknown {what}"));
        match nearest(name, known.iter().copied()) {
            Some(near) => finding.fix(format!("did you mean `{near}`?")),
            None => finding.fix(format!("the {what}s are {}", known.join(", "))),
        }
    };
    match &error.kind {
        SyntaxErrorKind::TooLarge => {
            return Finding::new(Code::TooLarge, span.clone(), error.message.clone())
                .label("too large")
                .fix("work the value out in a node of its own, and read its output here");
        }
        SyntaxErrorKind::UnknownFilter(name) => return named("filter", name, FILTERS),
        SyntaxErrorKind::UnknownTest(name) => return named("test", name, TESTS),
        SyntaxErrorKind::UnknownFunction(name) if !error.message.contains("filter") && !name.is_empty() => {
            if FILTERS.contains(&name.as_str()) {
                return bad(format!("`{name}` is a filter, not a function"), "not a function")
                    .fix(format!("write `value | {name}`"));
            }
            return named("function", name, FUNCTIONS);
        }
        SyntaxErrorKind::UnknownFunction(_) | SyntaxErrorKind::Unsupported(_) => {
            return bad(error.message.clone(), "not part of expressions")
                .fix("say it with filters, or work it out in a node of its own");
        }
        SyntaxErrorKind::Grammar => {}
    }
    if whole && (text.contains("{{") || text.contains("{%")) {
        return bad("an expression does not stand in braces".to_owned(), "not understood")
            .fix("leave the braces out; only texts such as `stdin` and `body` need them");
    }
    if whole && text.trim().is_empty() {
        return bad("the expression is empty".to_owned(), "nothing here")
            .fix("write an expression, or take the key out; an empty text is \"''\"");
    }
    let finding = bad(format!("the expression does not parse: {}", error.message), "not understood");
    if let Some(word) = error.message.strip_prefix("write ") {
        return finding.fix(format!("write {word}"));
    }
    finding.fix(if whole {
        "mend the expression; for a plain text, add quotes of its own: \"'text'\""
    } else {
        "mend what stands between the braces; for braces as they are, write `{{ '{{' }}`"
    })
}

impl Compiler<'_> {
    fn place<'f>(&self, file: &'f Arc<str>, text: &str, range: &Range<usize>) -> TextPlace<'f> {
        TextPlace::new(file, self.sources.get(file), text, range)
    }

    fn resolve_all(
        &mut self,
        references: &[Reference],
        names: &Names<'_>,
        place: Place<'_>,
        text: &TextPlace<'_>,
    ) -> Vec<Option<ValueType>> {
        let mut types = Vec::new();
        for reference in references {
            match names.resolve(reference, place, text.span(&reference.range)) {
                Ok(ty) => types.push(ty),
                Err(finding) => {
                    self.findings.push(*finding);
                    types.push(None);
                }
            }
        }
        types
    }

    /// An expression with its type, if that can be seen.
    pub(super) fn expression(
        &mut self,
        file: &Arc<str>,
        source: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<(Expr, Option<ValueType>)> {
        let text = self.place(file, source, &source.range);
        match Expr::parse(source) {
            Ok(expr) => {
                let whole = expr.as_reference().is_some();
                let passed_on = place.secrets != Secrets::Whole || whole;
                let place =
                    Place { secrets: if passed_on { place.secrets } else { Secrets::Never }, ..place };
                let types = self.resolve_all(expr.references(), names, place, &text);
                let ty = if whole { types.first().copied().flatten() } else { expr.known_type() };
                Some((expr, ty))
            }
            Err(error) => {
                self.findings.push(bad_expression(&error, &text, source, true));
                None
            }
        }
    }

    /// A condition.
    pub(super) fn condition(
        &mut self,
        file: &Arc<str>,
        source: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Expr> {
        let (expr, ty) = self.expression(file, source, names, place)?;
        if let Some(ty) = ty
            && ty != ValueType::Boolean
        {
            self.findings.push(
                Finding::new(
                    Code::TypeMismatch,
                    Span::new(file, source.range.clone()),
                    format!("a condition is true or false, not {}", type_name(ty)),
                )
                .label(format!("this is {}", type_name(ty)))
                .fix("compare it with something, such as `… == 'text'` or `… > 0`"),
            );
        }
        Some(expr)
    }

    /// A template text.
    pub(super) fn text(
        &mut self,
        file: &Arc<str>,
        source: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Text> {
        let text = self.place(file, source, &source.range);
        self.text_at(source, &text, names, place)
    }

    /// A template that is a file of its own.
    pub(super) fn template_file(
        &mut self,
        file: &Arc<str>,
        source: &str,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Text> {
        let text = TextPlace::whole(file, source);
        self.text_at(source, &text, names, place)
    }

    fn text_at(
        &mut self,
        source: &str,
        text: &TextPlace<'_>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Text> {
        match Text::parse(source) {
            Ok(parsed) => {
                self.resolve_all(
                    parsed.references(),
                    names,
                    Place { secrets: Secrets::Never, ..place },
                    text,
                );
                Some(parsed)
            }
            Err(error) => {
                self.findings.push(bad_expression(&error, text, source, false));
                None
            }
        }
    }

    /// A value with its type, if that can be seen.
    pub(super) fn value(
        &mut self,
        file: &Arc<str>,
        source: &Sp<Scalar>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<(Value, Option<ValueType>)> {
        let literal = |value: serde_json::Value| {
            let ty = ValueType::of(&value);
            Some((Value::Literal(value), Some(ty)))
        };
        match &source.value {
            Scalar::Integer(number) => literal((*number).into()),
            Scalar::Number(number) => literal((*number).into()),
            Scalar::Boolean(value) => literal((*value).into()),
            Scalar::Expression(text) => {
                let spelled = Sp { value: text.clone(), range: source.range.clone() };
                let (expr, ty) = self.expression(file, &spelled, names, place)?;
                match expr.literal() {
                    Some(value) => literal(value.clone()),
                    None => Some((Value::Expr(expr), ty)),
                }
            }
        }
    }
}

pub(super) fn type_name(ty: ValueType) -> &'static str {
    match ty {
        ValueType::None => "nothing",
        ValueType::Boolean => "true or false",
        ValueType::Integer => "a whole number",
        ValueType::Number => "a number",
        ValueType::String => "a text",
        ValueType::List => "a list",
        ValueType::Object => "an object",
    }
}
