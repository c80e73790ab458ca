//! `run` lines: split into words without a shell, never templated, and looked at for signs of a shell.

use std::ops::Range;
use std::sync::Arc;

use super::compiler::{Compiler, NodeSource, Unit};
use super::names::{Names, Place, Secrets};
use super::text_place::TextPlace;
use crate::expr::contains_template;
use crate::finding::{Code, Finding};
use crate::format::{Expect, RunLine, Shell, Sp, run_texts};
use crate::graph::{Run, Value};
use crate::source::{Span, resolve_path};

/// The longest path, in bytes.
const LONGEST_PATH: usize = 4096;

impl Compiler<'_> {
    pub(super) fn run(
        &mut self,
        unit: &Unit,
        node: &NodeSource,
        run: &Sp<RunLine>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Run> {
        let defaults = &unit.document.defaults;
        let own = node.table.shell.as_ref().map(|shell| shell.value);
        let shell = match &run.value {
            RunLine::Line(_) => own.or(defaults.shell.as_ref().map(|shell| shell.value)),
            RunLine::Words(_) => None,
        };
        let shell_unknown = unit.is_broken(&node.name, "shell") || unit.is_broken("defaults", "shell");
        let mut sound = self.no_templates(node, run, shell.is_some());
        let argv = match &run.value {
            RunLine::Line(line) if shell.is_none() && shell_unknown => Some(vec![line.clone()]),
            RunLine::Line(line) if shell.is_none() && sound => self.words(node, run, line),
            RunLine::Line(line) => Some(vec![line.clone()]),
            RunLine::Words(words) => Some(words.iter().map(|word| word.value.clone()).collect()),
        };
        if let (RunLine::Words(_), Some(written)) = (&run.value, &node.table.shell) {
            self.findings.push(
                Finding::new(
                    Code::KeyWithoutEffect,
                    node.span(&written.range),
                    "`shell` reads a line, but `run` is a list of words",
                )
                .label("without effect")
                .fix("write `run` as one text, or take `shell` out"),
            );
            sound = false;
        }
        let argv = argv.unwrap_or_else(|| {
            sound = false;
            Vec::new()
        });
        if sound && argv.first().is_none_or(|program| program.trim().is_empty()) {
            self.findings.push(
                Finding::new(
                    Code::EmptyCommand,
                    node.span(&run.range),
                    format!("the node `{}` has an empty command", node.name.value),
                )
                .label("no program")
                .fix("write the program and its arguments"),
            );
            sound = false;
        }
        self.masked_exit(node, run, shell);
        let secret = Place { secrets: Secrets::Anywhere, ..place };
        let args = node
            .table
            .args
            .iter()
            .filter_map(|arg| self.value(&node.file, arg, names, place).map(|(v, _)| v))
            .collect();
        let mut env: Vec<(String, Value)> = Vec::new();
        let common = defaults.env.iter().map(|entry| (&unit.file, entry));
        for (file, (name, value)) in common.chain(node.table.env.iter().map(|entry| (&node.file, entry))) {
            self.env_name(file, name);
            let Some((value, _)) = self.value(file, value, names, secret) else { continue };
            env.retain(|(known, _)| *known != name.value);
            env.push((name.value.clone(), value));
        }
        let stdin = node.table.stdin.as_ref().and_then(|text| self.text(&node.file, text, names, place));
        let cwd = match &node.table.cwd {
            None => String::new(),
            Some(cwd) => self.inside_workspace(node, cwd).unwrap_or_default(),
        };
        let expect = node.table.expect.as_ref().map_or(Expect::Success, |expect| expect.value.clone());
        let network = self.hosts(node);
        let credentials = self.credentials(node, &network, names, place);
        sound.then_some(Run { argv, shell, args, env, stdin, cwd, network, credentials, expect })
    }

    /// A path inside the workspace, cleaned.
    pub(super) fn inside_workspace(&mut self, node: &NodeSource, path: &Sp<String>) -> Option<String> {
        let own = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
        let inside = resolve_path("", path).filter(|clean| {
            !own && clean.len() < LONGEST_PATH
                && !path.split('/').any(|part| part == "..")
                && !path.chars().any(char::is_control)
        });
        if inside.is_none() {
            let finding = Finding::new(
                Code::BadPath,
                node.span(&path.range),
                format!("`{}` is not a path inside the workspace", path.value),
            );
            self.findings.push(if own {
                finding
                    .label("not for nodes to touch")
                    .reason("the history of the run is kept there")
                    .fix("name another path")
            } else {
                finding
                    .label("not relative to the workspace")
                    .fix("write a path relative to the workspace, with `/` and without `..`")
            });
        }
        inside
    }

    /// The path of a file inside the workspace, cleaned.
    pub(super) fn file_inside_workspace(&mut self, node: &NodeSource, path: &Sp<String>) -> Option<String> {
        let inside = self.inside_workspace(node, path)?;
        if inside.is_empty() || path.ends_with('/') {
            self.findings.push(
                Finding::new(Code::BadPath, node.span(&path.range), format!("`{}` is a folder", path.value))
                    .label("not a file")
                    .fix("write the path of a file"),
            );
            return None;
        }
        Some(inside)
    }

    pub(super) fn env_name(&mut self, file: &Arc<str>, name: &Sp<String>) {
        let good = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !good {
            let better = super::compiler::better_name(name, '_').to_ascii_uppercase();
            self.findings.push(
                Finding::new(
                    Code::BadName,
                    Span::new(file, name.range.clone()),
                    format!("`{}` is not a name for an environment variable", name.value),
                )
                .label("not letters, digits and `_`, the first not a digit")
                .fix(format!("call it `{better}`")),
            );
        }
    }

    fn no_templates(&mut self, node: &NodeSource, run: &Sp<RunLine>, shell: bool) -> bool {
        let mut sound = true;
        for (text, range) in run_texts(run) {
            let Some(found) = template(text) else { continue };
            sound = false;
            let place = TextPlace::new(&node.file, self.sources.get(&node.file), text, &range);
            let inner =
                text.get(found.clone()).unwrap_or_default().trim_matches(['{', '}', '%', '#', '-', ' ']);
            let finding =
                Finding::new(Code::TemplateInCommand, place.span(&found), "commands are never templated")
                    .label("this text could become a command")
                    .reason("a value put into the text of a command can change what the command does");
            let simple =
                !inner.is_empty() && inner.len() <= 64 && !inner.contains(['"', '\\', '{', '}', '\n']);
            if !simple {
                self.findings.push(finding.fix("pass values beside the command, by `env` or `args`"));
                continue;
            }
            let last =
                inner.split(['|', ' ']).next().and_then(|path| path.rsplit('.').next()).unwrap_or_default();
            let variable = super::compiler::better_name(last, '_').to_ascii_uppercase();
            self.findings.push(if shell {
                finding.fix(format!("pass it beside the command: `env = {{ {variable} = \"{inner}\" }}`, and write \"${variable}\" here"))
            } else {
                finding.fix(format!("pass it beside the command: `args = [\"{inner}\"]`, or `env = {{ {variable} = \"{inner}\" }}`"))
            });
        }
        sound
    }

    /// Splits a line as a POSIX shell would, refusing what only a shell could do.
    fn words(&mut self, node: &NodeSource, run: &Sp<RunLine>, line: &str) -> Option<Vec<String>> {
        let place = TextPlace::new(&node.file, self.sources.get(&node.file), line, &run.range);
        if let Some((what, range, fix)) = shell_syntax(line) {
            self.findings.push(
                Finding::new(Code::ShellSyntax, place.span(&range), format!("{what} needs a shell"))
                    .label("would be passed on as plain text")
                    .fix(fix),
            );
            return None;
        }
        let words = shlex::split(line);
        if words.is_none() {
            self.findings.push(
                Finding::new(
                    Code::UnbalancedQuote,
                    Span::new(&node.file, run.range.clone()),
                    "a quote or backslash of this command has no end",
                )
                .label("not closed")
                .fix("close the quote, or write `run` as a list of words"),
            );
        }
        words
    }

    fn masked_exit(&mut self, node: &NodeSource, run: &Sp<RunLine>, shell: Option<Shell>) {
        let (RunLine::Line(line), Some(shell)) = (&run.value, shell) else { return };
        let place = TextPlace::new(&node.file, self.sources.get(&node.file), line, &run.range);
        let trimmed = line.trim_end().trim_end_matches(';').trim_end();
        let masked = ["|| true", "||true", "|| :", "||:", "; true", "; :", "|| exit 0", "; exit 0"]
            .iter()
            .find(|end| trimmed.ends_with(**end));
        if let Some(end) = masked {
            self.findings.push(
                Finding::new(
                    Code::MaskedExit,
                    place.span(&(trimmed.len() - end.len()..trimmed.len())),
                    "the failure of this command cannot be seen",
                )
                .label("always succeeds")
                .fix("take it out; if the outcome really does not matter, say `expect = \"any\"`"),
            );
        }
        if shell == Shell::Sh
            && let Some(at) = pipe(line)
        {
            self.findings.push(
                Finding::new(
                    Code::MaskedExit,
                    place.span(&(at..at + 1)),
                    "the failure of all but the last program of this pipe cannot be seen",
                )
                .label("hides what comes before it")
                .fix("say `shell = \"bash\"`, which runs with pipefail, or write to a file in between"),
            );
        }
    }
}

/// The first template in a command. `${#name}` is the length of a variable in a shell, and no comment.
fn template(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = contains_template(text.get(from..)?) {
        let start = from + found.start;
        let open = text.get(start..start + 2)?;
        if open == "{#" && text.get(..start).is_some_and(|before| before.ends_with('$')) {
            from = start + 2;
            continue;
        }
        let close = match open {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let end = text.get(start..)?.find(close).map_or(start + 2, |end| start + end + 2);
        return Some(start..end);
    }
    None
}

/// The first `|` between two programs.
fn pipe(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    let mut escaped = false;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if std::mem::take(&mut escaped) {
            before = c;
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before.is_whitespace() => {
                chars.by_ref().find(|(_, c)| *c == '\n');
            }
            (None, '|')
                if before != '|' && before != '>' && chars.peek().is_none_or(|(_, next)| *next != '|') =>
            {
                return Some(at);
            }
            _ => {}
        }
        before = c;
    }
    None
}

const SHELL: &str = "add `shell = \"bash\"` to the node; for the plain character, quote it";

/// The first thing in a line that only a shell understands, and what to do.
#[expect(clippy::match_same_arms, reason = "what is quoted must be told before what is not")]
fn shell_syntax(line: &str) -> Option<(&'static str, Range<usize>, &'static str)> {
    let mut quote = None;
    let mut escaped = false;
    let mut word_start = true;
    let mut first_word = true;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
            word_start = false;
            continue;
        }
        let here = at..at + c.len_utf8();
        let only_shell = |what| Some((what, here.clone(), SHELL));
        match (quote, c) {
            (None | Some('"'), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some('"') | None, '$' | '`') => return only_shell("a variable or substitution"),
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '|') => return only_shell("a pipe or `||`"),
            (None, '&') => return only_shell("`&` or `&&`"),
            (None, ';') => return only_shell("`;`"),
            (None, '<' | '>') => return only_shell("a redirection"),
            (None, '(' | ')') => return only_shell("a subshell"),
            (None, '*' | '?') => return only_shell("a file pattern"),
            (None, '~') if word_start => return only_shell("`~`"),
            (None, '#') if word_start => return only_shell("a comment"),
            (None, '\n') if !line.get(at..)?.trim().is_empty() && !line.get(..at)?.trim().is_empty() => {
                return Some((
                    "a second line",
                    here,
                    "add `shell = \"bash\"` to the node to run several commands, or end the line with `\\` to go on with the same one",
                ));
            }
            (None, '=')
                if first_word
                    && !word_start
                    && line
                        .get(..at)?
                        .trim_start()
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_') =>
            {
                return Some((
                    "a variable before the command",
                    here,
                    "say it with `env = { NAME = \"'value'\" }`",
                ));
            }
            _ => {}
        }
        let blank = c.is_whitespace() && quote.is_none();
        first_word &= !blank || line.get(..at)?.trim().is_empty();
        word_start = blank;
    }
    None
}
