//! What in a text addresses a model instead of a reader, or hides from the reader. Notes only: nothing is decided by
//! them, and a text without any is not trusted more.

use std::ops::Range;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::likely::Likely;

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// It asks to set aside what was said before.
    Override,
    /// It claims to speak for somebody else, or gives the reader a new part to play.
    Persona,
    /// It asks to keep something from people, or to send something out.
    Covert,
    /// Marks that separate the speakers of a conversation.
    RoleTag,
    /// The form of a call or result of a tool.
    FakeResult,
    /// Characters that turn the direction of the text.
    Bidi,
    /// Characters that repeat ASCII where nobody sees it.
    TagCharacters,
    /// Several characters in a row that have no width.
    ZeroWidth,
    /// Control characters other than ends of lines and tabs.
    Control,
}

impl Marker {
    /// For logs and notes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "asks to ignore instructions",
            Self::Persona => "gives a new role",
            Self::Covert => "asks for secrecy",
            Self::RoleTag => "a tag of a speaker",
            Self::FakeResult => "a made-up call or result",
            Self::Bidi => "text direction characters",
            Self::TagCharacters => "invisible tag characters",
            Self::ZeroWidth => "zero-width characters",
            Self::Control => "control characters",
        }
    }
}

/// Something to notice: what, the words one of which it holds, and its pattern.
type Sign = (Marker, &'static [&'static str], &'static str);

/// Phrases, in any case, with any blanks between the words.
const PHRASES: &[Sign] = &[
    (
        Marker::Override,
        &["ignore", "disregard", "forget", "override", "bypass", "follow"],
        r"\b(?:ignore|disregard|forget|override|bypass|do[ ]not[ ]follow|stop[ ]following)(?:[ ]\w{1,12}){0,4}[ ](?:previous|prior|above|earlier|preceding|system|original|existing|foregoing|your)(?:[ ]\w{1,12}){0,3}[ ]?(?:instructions?|prompts?|rules?|guidelines?|directions?|messages?|context|constraints?)\b",
    ),
    (Marker::Override, &["forget"], r"\bforget[ ](?:everything|all)\b(?:[ ]\w{1,12}){0,4}"),
    (
        Marker::Override,
        &["instruction"],
        r"\b(?:new|updated|revised|real|actual|important)[ ](?:system[ ])?instructions?[ ]?:",
    ),
    (
        Marker::Override,
        &["prompt", "instruction"],
        r"\b(?:begin|end)[ ]of[ ](?:system[ ])?(?:prompt|instructions?)\b",
    ),
    (
        Marker::Persona,
        &["you", "pretend", "act", "developer", "jailbreak"],
        r"\b(?:you[ ]are[ ]now|from[ ]now[ ]on,?[ ]you|pretend[ ](?:to[ ]be|you)|act[ ]as[ ](?:if|an?|the)|developer[ ]mode|jailbreak)\b",
    ),
    (
        Marker::Covert,
        &["do", "never"],
        r"\b(?:do[ ]not|don'?t|never)[ ](?:tell|inform|mention[ ](?:this|it)[ ]to|reveal[ ](?:this|it)[ ]to|alert|notify)[ ](?:the[ ])?(?:users?|humans?|developers?|reviewers?|operators?|anyone|anybody)\b",
    ),
    (
        Marker::Covert,
        &["prompt", "instructions", "variables", "key", "secret", "credential"],
        r"\b(?:print|reveal|show|output|repeat|send|leak|exfiltrate)(?:[ ]\w{1,12}){0,4}[ ](?:system[ ]prompt|your[ ]instructions|environment[ ]variables|api[ ]keys?|secrets?|credentials?|private[ ]keys?)\b",
    ),
];

/// Tags and forms, as they stand.
const TAGS: &[Sign] = &[
    (Marker::RoleTag, &["<|"], r"<\|[a-z_]{2,40}\|>"),
    (Marker::RoleTag, &["inst]"], r"\[/?INST\]"),
    (Marker::RoleTag, &["sys>>"], r"<</?SYS>>"),
    (Marker::RoleTag, &["_of_turn>", "bos>", "eos>"], r"</?(?:start_of_turn|end_of_turn|bos|eos)>"),
    (
        Marker::RoleTag,
        &["<system", "</system", "user>", "assistant>", "human>", "developer>"],
        r"</?(?:system|user|assistant|human|developer|system[-_](?:prompt|reminder|message))>",
    ),
    (
        Marker::RoleTag,
        &["system", "assistant", "human"],
        r"(?m)^[ \t>#*]{0,8}(?:system|assistant|human)[ \t*]{0,4}:[ \t*]",
    ),
    (
        Marker::FakeResult,
        &["<function", "</function", "<tool", "</tool", ":function", ":tool"],
        r"</?(?:antml:)?(?:function|tool)[-_ ]?(?:calls?|results?|use|response|output|invoke)\b[^<>]{0,80}>",
    ),
    (Marker::FakeResult, &["invoke", "parameter"], r"</?(?:antml:)?(?:invoke|parameter)\b[^<>]{0,80}>"),
    (
        Marker::FakeResult,
        &["tool_use", "tool_result", "function_call"],
        r#""type"[ ]{0,4}:[ ]{0,4}"(?:tool_use|tool_result|function_call|function_call_output)""#,
    ),
    (Marker::FakeResult, &["untrusted"], r"</?untrusted\b[^<>]{0,120}>"),
];

static MARKERS: LazyLock<Likely<Marker>> = LazyLock::new(|| {
    let blank = |pattern: &str| pattern.replace("[ ]", r"(?:[\s\p{Cf}]{1,8})").replace(r"\w", "[a-z0-9_]");
    let phrases = PHRASES.iter().map(|(marker, words, pattern)| (*marker, *words, blank(pattern)));
    let tags = TAGS.iter().map(|(marker, words, pattern)| (*marker, *words, (*pattern).to_owned()));
    Likely::new(phrases.chain(tags).map(|(marker, words, pattern)| (marker, words, format!("(?i){pattern}"))))
});

#[cfg(test)]
pub(super) fn compile_all() -> usize {
    MARKERS.compile_all()
}

/// Reports everything that is noticed in `text`.
pub(super) fn find(text: &str, mut report: impl FnMut(Marker, Range<usize>)) {
    for (marker, pattern) in MARKERS.of(text) {
        pattern.find_iter(text).for_each(|found| report(marker, found.range()));
    }
    hidden(text, report);
}

/// How many characters without width in a row are more than an emoji or a script needs.
pub(super) const WIDTHLESS: usize = 3;

/// What kind of hidden character this is.
pub(super) fn hidden_kind(letter: char) -> Option<Marker> {
    match letter {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => {
            Some(Marker::Bidi)
        }
        '\u{e0000}'..='\u{e007f}' => Some(Marker::TagCharacters),
        '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}'
        | '\u{180e}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0100}'..='\u{e01ef}' => Some(Marker::ZeroWidth),
        '\t' | '\n' | '\r' => None,
        letter if letter.is_control() => Some(Marker::Control),
        _ => None,
    }
}

/// Calls `report` for each run of one kind of hidden characters.
pub(super) fn hidden(text: &str, mut report: impl FnMut(Marker, Range<usize>)) {
    let mut run: Option<(Marker, usize, usize)> = None;
    let ends = text.char_indices().map(|(at, letter)| (at, hidden_kind(letter))).chain([(text.len(), None)]);
    for (at, kind) in ends {
        if let Some((marker, start, count)) = &mut run {
            if kind == Some(*marker) {
                *count += 1;
                continue;
            }
            if *marker != Marker::ZeroWidth || *count >= WIDTHLESS {
                report(*marker, *start..at);
            }
            run = None;
        }
        run = run.or(kind.map(|marker| (marker, at, 1)));
    }
}
