//! Reads off a Dockerfile which images it begins with and copies from, as strictly as it takes for every engine to read the
//! same: what two versions of a builder could read in two ways is a fault. Never judges whether an image may be used.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::format::devcontainer::Fault;

/// The most instructions.
const MAX_INSTRUCTIONS: usize = 2000;
const SPACES: [char; 2] = [' ', '\t'];

/// What was read off.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// The images, and where each is named.
    pub(super) bases: Vec<(String, Range<usize>)>,
    /// Right behind the line that begins each stage.
    pub(super) begins: Vec<usize>,
    /// The names of the stages, in small letters.
    pub(super) names: Vec<Option<String>>,
    pub(super) faults: Vec<Fault>,
}

/// One instruction over all of its lines.
struct Instruction {
    word: String,
    rest: String,
    range: Range<usize>,
    /// Right behind its last line.
    end: usize,
}

/// Reads a Dockerfile that gets these values for its `ARG`s.
pub(super) fn read(text: &str, args: &[(String, String)]) -> Stages {
    let mut stages = Stages::default();
    let instructions = instructions(text, &mut stages.faults);
    let given: BTreeMap<&str, &str> =
        args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut before: BTreeMap<String, Option<String>> = BTreeMap::new();
    for instruction in &instructions {
        match instruction.word.as_str() {
            "ARG" if stages.begins.is_empty() => declare(&instruction.rest, &given, &mut before),
            "FROM" => stages.from(instruction, &before),
            word if stages.begins.is_empty() => {
                let message = format!("`{word}` stands in front of the first `FROM`");
                stages.fault(&instruction.range, message, "begin with `FROM`");
                return stages;
            }
            word => stages.inside(word, &instruction.rest, &instruction.range),
        }
    }
    if stages.begins.is_empty() && stages.faults.is_empty() {
        stages.fault(&(0..0), "it has no `FROM`", "say with `FROM` what the image begins with");
    }
    stages
}

impl Stages {
    fn fault(&mut self, range: &Range<usize>, message: impl Into<String>, fix: &str) {
        self.faults.push(Fault { range: range.clone(), message: message.into(), fix: fix.to_owned() });
    }

    fn from(&mut self, instruction: &Instruction, before: &BTreeMap<String, Option<String>>) {
        let range = &instruction.range;
        let mut words: Vec<&str> = instruction.rest.split(SPACES).filter(|word| !word.is_empty()).collect();
        while let Some(flag) = words.first().filter(|word| word.starts_with("--")) {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
            if !flag.strip_prefix("--platform=").is_some_and(|name| name.chars().all(plain)) {
                self.fault(
                    range,
                    "this flag of `FROM` cannot be read",
                    "leave it out, or write the platform itself",
                );
            }
            words.remove(0);
        }
        let (name, stage) = match words.as_slice() {
            [name] => (*name, None),
            [name, as_word, stage] if as_word.eq_ignore_ascii_case("as") => {
                (*name, Some(stage.to_ascii_lowercase()))
            }
            _ => {
                self.fault(
                    range,
                    "this `FROM` cannot be read",
                    "write `FROM IMAGE` or `FROM IMAGE AS STAGE`",
                );
                self.begin(instruction, None);
                return;
            }
        };
        let good = |stage: &String| {
            stage.starts_with(|c: char| c.is_ascii_lowercase())
                && stage
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'))
                && stage != "scratch"
        };
        if stage.as_ref().is_some_and(|stage| !good(stage)) {
            self.fault(range, "this is no name for a stage", "use letters, digits, `-`, `_` and `.`");
        }
        match substituted(name, before) {
            None => self.fault(
                range,
                "which image this begins with cannot be read off",
                "write it out, or use `$NAME` of an `ARG` in front of the first `FROM` with a plain default",
            ),
            Some(name) => {
                let earlier = self.names.iter().flatten().any(|known| *known == name.to_ascii_lowercase());
                if name != "scratch" && !earlier {
                    self.bases.push((name, range.clone()));
                }
            }
        }
        self.begin(instruction, stage);
    }

    fn begin(&mut self, instruction: &Instruction, stage: Option<String>) {
        self.begins.push(instruction.end);
        self.names.push(stage);
    }

    /// What stands in a stage.
    fn inside(&mut self, word: &str, rest: &str, range: &Range<usize>) {
        if matches!(word, "RUN" | "COPY" | "ADD") && rest.contains("<<") {
            self.fault(range, "heredocs need BuildKit", "write a file into the context and copy it");
        }
        let flags: Vec<&str> = rest
            .split(SPACES)
            .filter(|word| !word.is_empty())
            .take_while(|word| word.starts_with("--"))
            .collect();
        match word {
            "RUN" if !flags.is_empty() => {
                self.fault(range, "flags of `RUN` need BuildKit", "leave out what stands behind `--`");
            }
            "COPY" | "ADD" => flags.iter().for_each(|flag| self.copy_flag(flag, range)),
            "ONBUILD" => {
                let (word, rest) = split(rest);
                match word.as_str() {
                    "FROM" | "ONBUILD" => {
                        self.fault(range, "this cannot stand behind `ONBUILD`", "take it out");
                    }
                    word => self.inside(word, rest, range),
                }
            }
            _ => {}
        }
    }

    fn copy_flag(&mut self, flag: &str, range: &Range<usize>) {
        if flag.contains(['"', '\'', '\\', '`']) {
            self.fault(range, "a flag with quotes cannot be read", "write it without quotes and `\\`");
        } else if let Some(from) = flag.strip_prefix("--from") {
            let now = self.names.len().saturating_sub(1);
            let name = from.strip_prefix('=').unwrap_or_default();
            let earlier = self.names.iter().take(now);
            let is_stage = earlier.flatten().any(|known| *known == name.to_ascii_lowercase())
                || name.parse::<usize>().is_ok_and(|number| number < now);
            if name.is_empty() || name.contains('$') {
                let fix = "write an earlier stage or an image out";
                self.fault(range, "what this copies from cannot be read off", fix);
            } else if !is_stage {
                self.bases.push((name.to_owned(), range.clone()));
            }
        }
    }
}

/// The instructions of a text. Comments and empty lines between continued lines are left out, as builders do.
fn instructions(text: &str, faults: &mut Vec<Fault>) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut skipped = false;
    let mut at = 0;
    let mut fault = |range: Range<usize>, message: &str, fix: &str| {
        faults.push(Fault { range, message: message.to_owned(), fix: fix.to_owned() });
    };
    for raw in text.split_inclusive('\n') {
        let start = at;
        at += raw.len();
        let line = raw.strip_suffix('\n').unwrap_or(raw);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let range = start..start + line.len();
        let trimmed = line.trim_start_matches(SPACES);
        if line.chars().any(|c| c.is_control() && c != '\t') || line.starts_with('\u{feff}') {
            fault(range, "a character that cannot be seen stands here", "write plain text");
            return Vec::new();
        }
        if trimmed.is_empty() || trimmed.starts_with('#') {
            if is_escape(trimmed) {
                fault(range, "another escape character is not supported", "leave the directive out");
                return Vec::new();
            }
            // Whether an indented comment ends a continued instruction was not the same in every version of a builder.
            skipped |= open.is_some() && !line.starts_with('#');
            continue;
        }
        if open.is_some() && skipped && split(trimmed).0.parse::<Structural>().is_ok() {
            let message = "two builders could read this line in two ways";
            fault(range, message, "take the comment or the empty line out of the instruction above");
            return Vec::new();
        }
        let body = line.trim_end_matches(SPACES);
        let (body, continues) = match body.strip_suffix('\\') {
            Some(body) if body.ends_with('\\') => {
                fault(
                    range,
                    "two builders could read this line in two ways",
                    "do not end a line with `\\\\`",
                );
                return Vec::new();
            }
            Some(body) => (body, true),
            None => (line, false),
        };
        let (whole, from) = match open.take() {
            Some((known, from)) => (known + body, from),
            None => (body.to_owned(), start),
        };
        if continues {
            open = Some((whole, from));
            continue;
        }
        skipped = false;
        let (word, rest) = split(&whole);
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_uppercase()) {
            fault(from..range.end, "this is no instruction", "begin the line with one, such as `RUN`");
            return Vec::new();
        }
        found.push(Instruction { rest: rest.to_owned(), word, range: from..range.end, end: at });
        if found.len() > MAX_INSTRUCTIONS {
            fault(0..0, "it has more than 2000 instructions", "make several images of it");
            return Vec::new();
        }
    }
    if let Some((_, from)) = open {
        fault(from..text.len(), "the last instruction is not finished", "take the last `\\` out");
    }
    found
}

/// An instruction that decides which images are used.
struct Structural;

impl std::str::FromStr for Structural {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        if ["FROM", "COPY", "ADD", "ARG", "ONBUILD"].contains(&word) { Ok(Self) } else { Err(()) }
    }
}

/// The first word in capital letters, and what stands behind it.
fn split(line: &str) -> (String, &str) {
    let line = line.trim_matches(SPACES);
    let (word, rest) = line.split_once(SPACES).unwrap_or((line, ""));
    (word.to_ascii_uppercase(), rest.trim_matches(SPACES))
}

fn is_escape(comment: &str) -> bool {
    let Some((key, value)) = comment.trim_start_matches('#').split_once('=') else { return false };
    key.trim().eq_ignore_ascii_case("escape") && value.trim() != "\\"
}

/// Takes in the `ARG`s of one line. What cannot be followed has no value.
fn declare(rest: &str, given: &BTreeMap<&str, &str>, before: &mut BTreeMap<String, Option<String>>) {
    let words: Vec<&str> = rest.split(SPACES).filter(|word| !word.is_empty()).collect();
    for word in &words {
        let (name, default) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
        let default = default.map(|value| {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            if words.len() == 1 { inner.unwrap_or(value) } else { value }
        });
        let plain = default.filter(|value| !value.contains(['$', '"', '\'', '\\']));
        let value = given.get(name).copied().or(plain);
        before.insert(name.to_owned(), value.map(str::to_owned));
    }
}

/// A name with `$NAME` and `${NAME}` put in, if all of them are known.
fn substituted(name: &str, known: &BTreeMap<String, Option<String>>) -> Option<String> {
    let mut out = String::new();
    let mut rest = name;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (variable, behind) = match behind.strip_prefix('{') {
            Some(inside) => inside.split_once('}')?,
            None => behind.split_at(behind.find(|c| !is_name(c)).unwrap_or(behind.len())),
        };
        if variable.is_empty() || !variable.chars().all(is_name) {
            return None;
        }
        out.push_str(known.get(variable)?.as_deref()?);
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(text: &str) -> Vec<String> {
        let stages = read(text, &[("GIVEN".to_owned(), "given:1".to_owned())]);
        assert_eq!(stages.faults, [], "{text}");
        stages.bases.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn every_image_that_is_used_is_seen() {
        assert_eq!(bases("FROM a:1\n"), ["a:1"]);
        assert_eq!(bases("# syntax=x\n\nfrom --platform=linux/amd64 a:1 as One\nFROM one\nRUN x"), ["a:1"]);
        assert_eq!(bases("FROM scratch\nCOPY --chown=1 --from=b:2 x y\n"), ["b:2"]);
        assert_eq!(
            bases("FROM a AS b\nFROM scratch\nCOPY --from=B x y\nCOPY --from=0 x y\nCOPY --from=c x y"),
            ["a", "c"]
        );
        assert_eq!(bases("FROM a\nCOPY --from=later x y\nFROM b AS later"), ["a", "later", "b"]);
        assert_eq!(bases("FROM a\nONBUILD COPY --from=c x y"), ["a", "c"]);
        assert_eq!(
            bases("ARG B=b:2\nARG GIVEN=x\nARG C=\"c\"\nFROM ${B}\nFROM $GIVEN\nFROM $C:3"),
            ["b:2", "given:1", "c:3"]
        );
        assert_eq!(bases("FROM \\\n# a comment\n  a\nRUN echo \\\n  # another\n  FROMAGE\n"), ["a"]);
        assert_eq!(bases("FROM a\r\nRUN x \\  \r\n y\r\n"), ["a"]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_fault() {
        for text in [
            "",
            "RUN x\nFROM a",
            "FROM",
            "FROM a b",
            "FROM --x=y a",
            "FROM $X",
            "FROM ${X:-a}",
            "ARG X=$Y\nFROM $X",
            "ARG X='a b'\nFROM $X",
            "ARG X\nFROM $X",
            "FROM a AS 0",
            "FROM a AS scratch",
            "# escape=`\nFROM a",
            "FROM a\nRUN <<E\nFROM b AS evil\nE\nFROM evil",
            "FROM a\nRUN --mount=type=bind,from=b x",
            "FROM a\nCOPY --from=$X y z",
            "FROM a\nCOPY --chown=\"x --from=b\" y z",
            "FROM a\nRUN x \\\n # y\nFROM b",
            "FROM a\nRUN x \\\n\nCOPY --from=b x y",
            "FROM a\nRUN x \\\\\nFROM b",
            "FROM a\nONBU\u{130}LD COPY --from=b x y",
            "FROM a\nRUN x\u{b}\n",
            "\u{feff}FROM a",
            "FROM a\nRUN x \\\n\\\n",
            "FROM a\nONBUILD FROM b",
        ] {
            assert_ne!(read(text, &[]).faults, [], "{text:?}");
        }
    }

    #[test]
    fn stages_begin_behind_the_line_that_names_them() {
        let text = "FROM a AS x\nRUN y\nFROM \\\n x";
        let stages = read(text, &[]);
        let behind: Vec<&str> = stages.begins.iter().map(|at| &text[*at..]).collect();
        assert_eq!(behind, ["RUN y\nFROM \\\n x", ""]);
        assert_eq!(stages.names, [Some("x".to_owned()), None]);
    }
}
