//! `edit` nodes: each change does one thing, to a file of the workspace.

use super::compiler::{Compiler, NodeSource, Unit};
use super::names::{Names, Place};
use crate::expr::Text;
use crate::finding::{Code, Finding};
use crate::format::{EditOp, Sp, Workspace};
use crate::graph::{Edit, EditKind, Side};

impl Compiler<'_> {
    pub(super) fn edits(
        &mut self,
        unit: &Unit,
        node: &NodeSource,
        edit: &Sp<crate::format::OneOrMany<EditOp>>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Vec<Edit>> {
        if edit.0.is_empty() {
            if unit.is_broken(&node.name, "edit") {
                return None;
            }
            self.bad_edit(
                node,
                &edit.range,
                "there is nothing to edit",
                "add a change, or take the node out",
            );
            return None;
        }
        // Part of it could not be read: that it is incomplete would only follow from that.
        let known = self.findings.len();
        let edits: Vec<Option<Edit>> =
            edit.0.iter().map(|op| self.edit(node, edit, op, names, place)).collect();
        if unit.is_broken(&node.name, "edit") {
            self.findings.forget(known, Code::BadEdit);
        }
        edits.into_iter().collect()
    }

    /// An edit writes: it needs a workspace that can be written.
    pub(super) fn edit_workspace(&mut self, node: &NodeSource) {
        let Some(workspace) = &node.table.workspace else { return };
        if matches!(workspace.value, Workspace::Write | Workspace::Scratch) {
            return;
        }
        self.findings.push(
            Finding::new(
                Code::BadEdit,
                node.span(&workspace.range),
                format!("an edit cannot be made in a workspace that is \"{}\"", workspace.value.as_str()),
            )
            .label("\"write\" or \"scratch\"")
            .reason("an edit node writes files of its workspace")
            .fix("take it out: an edit node has \"write\"; \"scratch\" throws the edits away again"),
        );
    }

    fn bad_edit(&mut self, node: &NodeSource, range: &std::ops::Range<usize>, message: &str, fix: &str) {
        self.findings
            .push(Finding::new(Code::BadEdit, node.span(range), message).label("this edit").fix(fix));
    }

    fn edit(
        &mut self,
        node: &NodeSource,
        edit: &Sp<crate::format::OneOrMany<EditOp>>,
        op: &EditOp,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Edit> {
        let kinds = [&op.replace, &op.regex, &op.insert, &op.template, &op.patch, &op.set];
        let given: Vec<&Sp<String>> = kinds.into_iter().flatten().collect();
        let Some(first) = given.first() else {
            self.bad_edit(
                node,
                &edit.range,
                "this edit does not say what to do",
                "give one of replace, regex, insert, template, patch and set",
            );
            return None;
        };
        if let Some(second) = given.get(1) {
            self.bad_edit(
                node,
                &second.range,
                "this edit does two things",
                "make two edits of it: `edit = [{ … }, { … }]`",
            );
            return None;
        }
        if op.patch.is_none() && op.file.is_none() {
            self.bad_edit(node, &first.range, "this edit does not say which file", "add `file = \"path\"`");
            return None;
        }
        self.stray_edit_keys(node, op);
        let file = match &op.file {
            Some(file) => self.file_inside_workspace(node, file)?,
            None => String::new(),
        };
        let kind = if let Some(patch) = &op.patch {
            EditKind::Patch(self.text_file(node, patch)?.to_owned())
        } else if let Some(template) = &op.template {
            let text = self.text_file(node, template)?;
            let path: std::sync::Arc<str> = crate::source::resolve_path(&node.file, template)?.into();
            EditKind::Template(self.template_file(&path, text, names, place)?)
        } else if let Some(insert) = &op.insert {
            self.insert(node, op, insert, names, place)?
        } else if let Some(set) = &op.set {
            self.set(node, op, set, names, place)?
        } else {
            self.replace(node, op, names, place)?
        };
        Some(Edit { file, kind })
    }

    fn stray_edit_keys(&mut self, node: &NodeSource, op: &EditOp) {
        let replaces = op.replace.is_some() || op.regex.is_some();
        let stray = [
            ("with", op.with.as_ref().map(|v| &v.range), replaces),
            ("count", op.count.as_ref().map(|v| &v.range), replaces),
            ("after", op.after.as_ref().map(|v| &v.range), op.insert.is_some()),
            ("before", op.before.as_ref().map(|v| &v.range), op.insert.is_some()),
            ("at", op.at.as_ref().map(|v| &v.range), op.insert.is_some()),
            ("value", op.value.as_ref().map(|v| &v.range), op.set.is_some()),
            ("file", op.file.as_ref().map(|v| &v.range), op.patch.is_none()),
        ];
        for (key, range, fits) in stray {
            if let Some(range) = range
                && !fits
            {
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        node.span(range),
                        format!("`{key}` means nothing for this edit"),
                    )
                    .label("without effect")
                    .fix("take it out"),
                );
            }
        }
    }

    fn replace(
        &mut self,
        node: &NodeSource,
        op: &EditOp,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<EditKind> {
        let find = op.replace.as_ref().or(op.regex.as_ref())?;
        let Some(with) = &op.with else {
            self.bad_edit(
                node,
                &find.range,
                "this edit does not say what to put there",
                "add `with = \"…\"`; an empty text removes what is found",
            );
            return None;
        };
        if find.is_empty() {
            self.bad_edit(node, &find.range, "an empty text is everywhere", "write the text to find");
            return None;
        }
        let with: Text = self.text(&node.file, with, names, place)?;
        let count = op.count.as_ref().map_or(1, |count| count.value);
        if op.replace.is_some() {
            return Some(EditKind::Replace { find: find.value.clone(), with, count });
        }
        // A line ends with CRLF as well: `$` stands before its CR, and `.` takes none of it.
        match regex::RegexBuilder::new(find).multi_line(true).crlf(true).size_limit(1 << 20).build() {
            Ok(find) => Some(EditKind::Regex { find, with, count }),
            Err(error) => {
                self.findings.push(super::values::bad_regex(node.span(&find.range), &error));
                None
            }
        }
    }

    fn insert(
        &mut self,
        node: &NodeSource,
        op: &EditOp,
        insert: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<EditKind> {
        let text = self.text(&node.file, insert, names, place);
        match (&op.before, &op.after, &op.at) {
            (Some(anchor), None, None) => {
                Some(EditKind::InsertAtLine { text: text?, anchor: anchor.value.clone(), side: Side::Before })
            }
            (None, Some(anchor), None) => {
                Some(EditKind::InsertAtLine { text: text?, anchor: anchor.value.clone(), side: Side::After })
            }
            (None, None, Some(at)) => Some(EditKind::InsertAtEnd { text: text?, place: at.value }),
            _ => {
                self.bad_edit(
                    node,
                    &insert.range,
                    "an insert has one place",
                    "give exactly one of `after`, `before` and `at`",
                );
                None
            }
        }
    }

    fn set(
        &mut self,
        node: &NodeSource,
        op: &EditOp,
        set: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<EditKind> {
        let file = op.file.as_ref()?;
        let ending = file.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        if !["toml", "json", "yaml", "yml"].contains(&ending.as_str()) {
            self.findings.push(
                Finding::new(
                    Code::UnknownFormat,
                    node.span(&file.range),
                    format!("`set` does not know the format of `{}`", file.value),
                )
                .label("not .toml, .json, .yaml or .yml")
                .fix("use `replace` or `regex` for other files"),
            );
            return None;
        }
        let Some(value) = &op.value else {
            self.bad_edit(
                node,
                &set.range,
                "this edit does not say what to set",
                "add `value = \"…\"`, an expression, a number or a boolean",
            );
            return None;
        };
        let Some(key) = key_path(set) else {
            self.findings.push(
                Finding::new(Code::BadKeyPath, node.span(&set.range), format!("`{}` is not a key", set.value))
                    .label("does not parse")
                    .fix("write it with dots, such as `package.version`, and quote a part that has dots of its own"),
            );
            return None;
        };
        let (value, _) = self.value(&node.file, value, names, place)?;
        Some(EditKind::Set { key, value })
    }
}

/// `a."b.c".d` as its parts.
fn key_path(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            (quoted.get(..end)?, quoted.get(end + 1..)?)
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest.get(..end)?, rest.get(end..)?)
        };
        if part.is_empty() || part.chars().any(char::is_control) {
            return None;
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}
