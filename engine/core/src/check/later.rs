//! What this release reads and checks but does not act on: CI, forges and triggers. Nothing here is ever taken for done.

use super::compiler::{Compiler, NodeSource, Unit};
use super::names::{Names, Place};
use crate::expr::Expr;
use crate::finding::{Code, Finding};
use crate::format::{ForgeTable, Scalar, Sp, Trigger};
use crate::graph::{Action, Forge, ForgeEffect};
use crate::source::Span;

impl Compiler<'_> {
    pub(super) fn later(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        kind: &str,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Action> {
        let table = &source.table;
        self.findings.push(
            Finding::new(
                Code::LaterRelease,
                source.name_span(),
                format!("{kind} nodes come with release 0.5"),
            )
            .label("this release cannot run it")
            .fix("take the node out to run the rest; `check`, `plan` and `graph` work as it is"),
        );
        match &table.forge {
            Some(forge) if kind == "forge" => {
                self.forge(unit, source, forge, names, place).map(Box::new).map(Action::Forge)
            }
            _ => Some(Action::Ci),
        }
    }

    fn forge(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        forge: &Sp<ForgeTable>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Forge> {
        let effects: Vec<_> = forge.effects().collect();
        match effects.as_slice() {
            [] if !unit.is_broken(&source.name, "forge") => self.findings.push(
                Finding::new(
                    Code::MissingKey,
                    source.span(&forge.range),
                    format!("`{}` does not say what to do on the forge", source.name.value),
                )
                .label("no effect")
                .fix("add one of open_pull_request, comment, label, status, merge and release"),
            ),
            [(first, one), (second, other), ..] => self.findings.push(
                Finding::new(
                    Code::TwoKinds,
                    source.span(&other.range),
                    format!("`{}` does two things on the forge: {first} and {second}", source.name.value),
                )
                .label("the second effect")
                .note(source.span(&one.range), "the first effect")
                .fix("make two nodes of it, one of which needs the other"),
            ),
            _ => {}
        }
        let mut texts = Vec::new();
        for (_, value) in effects.iter().flat_map(|(_, effect)| effect.iter()) {
            if let Scalar::Expression(text) = &value.value {
                texts.extend(self.text_or_file(
                    source,
                    &Sp { value: text.clone(), range: value.range.clone() },
                    names,
                    place,
                ));
            }
        }
        let effect = match effects.first()?.0 {
            "open_pull_request" => ForgeEffect::OpenPullRequest,
            "comment" => ForgeEffect::Comment,
            "label" => ForgeEffect::Label,
            "status" => ForgeEffect::Status,
            "merge" => ForgeEffect::Merge,
            _ => ForgeEffect::Release,
        };
        Some(Forge { effect, texts })
    }

    pub(super) fn triggers(&mut self, unit: &Unit, names: &Names<'_>) {
        for trigger in &unit.document.on {
            let span = Span::new(&unit.file, trigger.range.clone());
            match (&trigger.event, &trigger.schedule) {
                _ if unit.broken.contains_key("on") => {}
                (Some(_), None) | (None, Some(_)) => self.findings.push(
                    Finding::new(Code::NotTriggered, span, "this trigger is not served by this release")
                        .label("starts nothing yet")
                        .fix("keep it for later; start the blueprint with `blueprint run`"),
                ),
                (given, _) => self.findings.push(
                    Finding::new(Code::BadTrigger, span, "a trigger has either `event` or `schedule`")
                        .label(if given.is_some() { "has both" } else { "never fires" })
                        .fix(if given.is_some() {
                            "make two triggers of it"
                        } else {
                            "add `event = \"…\"` or `schedule = \"0 3 * * *\"`"
                        }),
                ),
            }
            self.trigger(unit, trigger, names);
        }
    }

    fn trigger(&mut self, unit: &Unit, trigger: &Sp<Trigger>, names: &Names<'_>) {
        let at = |range: &std::ops::Range<usize>| Span::new(&unit.file, range.clone());
        let with_event = trigger.event.is_some();
        if let Some(schedule) = &trigger.schedule
            && schedule.split_whitespace().count() != 5
        {
            self.findings.push(
                Finding::new(
                    Code::BadTrigger,
                    at(&schedule.range),
                    format!("`{}` is not a schedule", schedule.value),
                )
                .label("a cron expression has five fields")
                .fix("write minute, hour, day, month and weekday, such as \"0 3 * * 1-5\""),
            );
        }
        let stray = [
            ("when", trigger.when.as_ref().map(|v| &v.range), with_event, "event"),
            ("timezone", trigger.timezone.as_ref().map(|v| &v.range), trigger.schedule.is_some(), "schedule"),
            ("overlap", trigger.overlap.as_ref().map(|v| &v.range), trigger.schedule.is_some(), "schedule"),
        ];
        for (key, range, fits, with) in stray {
            if let (Some(range), false) = (range, fits) {
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        at(range),
                        format!("`{key}` means nothing without `{with}`"),
                    )
                    .label("without effect")
                    .fix(format!("take it out, or add `{with}`")),
                );
            }
        }
        if let Some(when) = &trigger.when {
            self.event_expression(unit, when, with_event);
        }
        for (name, value) in &trigger.with {
            if names.input_named(name).is_none() && !unit.is_lost(name) {
                let near = names.input_near(name);
                self.findings.push(
                    Finding::new(
                        Code::UnknownInput,
                        at(&name.range),
                        format!("this blueprint has no input `{}`", name.value),
                    )
                    .label("unknown input")
                    .fix(near.map_or_else(
                        || format!("declare it under `[inputs]`: `{} = {{ type = \"string\" }}`", name.value),
                        |near| format!("did you mean `{near}`?"),
                    )),
                );
            }
            if let Scalar::Expression(text) = &value.value {
                self.event_expression(
                    unit,
                    &Sp { value: text.clone(), range: value.range.clone() },
                    with_event,
                );
            }
        }
        for input in names.inputs {
            if input.default.is_none()
                && trigger.with.get(&input.name).is_none()
                && !unit.broken.contains_key("on")
                && !unit.broken.contains_key(&*input.name)
            {
                self.findings.push(
                    Finding::new(
                        Code::MissingInput,
                        at(&trigger.range),
                        format!("this trigger does not give the input `{}`", input.name),
                    )
                    .label(format!("`{}` is not given", input.name))
                    .fix(format!(
                        "add `with = {{ {} = … }}`: {}; or give the input a default",
                        input.name,
                        input.type_name()
                    )),
                );
            }
        }
    }

    /// An expression that sees the event that fired, and nothing of the blueprint.
    fn event_expression(&mut self, unit: &Unit, source: &Sp<String>, with_event: bool) {
        let text = super::text_place::TextPlace::new(
            &unit.file,
            self.sources.get(&unit.file),
            source,
            &source.range,
        );
        match Expr::parse(source) {
            Ok(expr) => {
                for reference in expr.references() {
                    let name = reference.path.first().map(String::as_str).unwrap_or_default();
                    if name == "event" && with_event {
                        continue;
                    }
                    let finding = Finding::new(
                        Code::UnknownReference,
                        text.span(&reference.range),
                        format!("there is no `{name}` here"),
                    )
                    .label("unknown name");
                    self.findings.push(if with_event {
                        finding.reason("a trigger sees the event that fired, and nothing else").fix(format!(
                            "name a part of `event`; for the plain text, add quotes: \"'{}'\"",
                            reference.dotted()
                        ))
                    } else {
                        finding
                            .reason("a schedule has no event to take values from")
                            .fix(format!("for the plain text, add quotes: \"'{}'\"", reference.dotted()))
                    });
                }
            }
            Err(error) => self.findings.push(super::values::bad_expression(&error, &text, source, true)),
        }
    }
}
