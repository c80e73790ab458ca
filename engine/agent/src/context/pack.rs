//! Fits parts of a context under a budget of tokens, the important ones first, and reports what happened to each.
//! Must never leave something out without saying so.

use serde::{Deserialize, Serialize};

use super::{Family, count};

/// What may be cut off a part that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Nothing: it is whole or left out.
    Never,
    /// Its beginning: the end is kept.
    Head,
    /// Its end: the beginning is kept.
    Tail,
}

/// A part of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// For the report.
    pub name: String,
    /// The higher, the more important. Of equal ones the first goes first.
    pub priority: u32,
    /// What the model is shown.
    pub text: String,
    /// What may be cut off.
    pub cut: Cut,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// All of it is there.
    Whole,
    /// Some of it is there.
    Cut,
    /// None of it is there.
    LeftOut,
}

/// What became of one part. Goes on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// The part.
    pub name: String,
    /// Its priority.
    pub priority: u32,
    /// What became of it.
    pub fate: Fate,
    /// The most tokens it has in the packed text.
    pub tokens: u64,
    /// Bytes of it that are not there.
    pub missing: u64,
}

/// A packed context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The parts that are there, in the order they were given, with a blank line between them.
    pub text: String,
    /// The most tokens it has.
    pub tokens: u64,
    /// What became of every part, in the order they were given.
    pub parts: Vec<PartReport>,
}

/// A part is not cut to less than this many tokens: a scrap tells nothing.
const SMALLEST: u64 = 48;
/// For what joins two parts, in tokens.
const JOINT: u64 = 2;

/// Packs `parts` into at most `budget` tokens.
pub fn pack(family: Family, parts: &[Part], budget: u64) -> Packed {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|which| std::cmp::Reverse(parts[*which].priority));
    let mut left = budget;
    let mut kept: Vec<Option<(String, PartReport)>> = vec![None; parts.len()];
    for which in order {
        let part = &parts[which];
        let report = |fate, tokens, missing: usize| PartReport {
            name: part.name.clone(),
            priority: part.priority,
            fate,
            tokens,
            missing: missing as u64,
        };
        let tokens = count(family, &part.text) + JOINT;
        let (text, report) = if tokens <= left {
            (part.text.clone(), report(Fate::Whole, tokens, 0))
        } else {
            match cut(family, &part.text, part.cut, left.saturating_sub(JOINT)) {
                Some((text, missing)) => {
                    let tokens = count(family, &text) + JOINT;
                    (text, report(Fate::Cut, tokens, missing))
                }
                None => (String::new(), report(Fate::LeftOut, 0, part.text.len())),
            }
        };
        left -= report.tokens.min(left);
        kept[which] = Some((text, report));
    }
    let mut packed = Packed { tokens: budget - left, ..Packed::default() };
    for (text, report) in kept.into_iter().flatten() {
        if report.fate != Fate::LeftOut {
            if !packed.text.is_empty() {
                packed.text.push_str("\n\n");
            }
            packed.text.push_str(text.trim_end_matches('\n'));
        }
        packed.parts.push(report);
    }
    packed
}

/// As much of `text` as fits, cut at the end of a line where there is one near, with a note of what is missing.
fn cut(family: Family, text: &str, cut: Cut, budget: u64) -> Option<(String, usize)> {
    if cut == Cut::Never || budget < SMALLEST {
        return None;
    }
    // The longest keep that fits, by halving: the estimate grows with the text.
    let (mut fits, mut too_long) = (0, text.len());
    let mut best = None;
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        let (candidate, missing) = keep(text, cut, middle);
        if count(family, &candidate) <= budget {
            fits = middle;
            best = Some((candidate, missing));
        } else {
            too_long = middle;
        }
    }
    best.filter(|(_, missing)| *missing < text.len())
}

/// About `length` bytes of one end.
fn keep(text: &str, cut: Cut, length: usize) -> (String, usize) {
    if cut == Cut::Head {
        let mut from = text.ceil_char_boundary(text.len() - length);
        if let Some(line) = text[from..].find('\n').filter(|line| *line < length / 4) {
            from += line + 1;
        }
        (format!("[… {from} bytes before this are left out …]\n{}", &text[from..]), from)
    } else {
        let mut to = text.floor_char_boundary(length);
        if let Some(line) = text[..to].rfind('\n').filter(|line| to - *line < length / 4) {
            to = line + 1;
        }
        let end = if text[..to].ends_with('\n') { "" } else { "\n" };
        let missing = text.len() - to;
        (format!("{}{end}[… {missing} bytes after this are left out …]", &text[..to]), missing)
    }
}

#[cfg(test)]
mod tests;
