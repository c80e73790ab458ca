//! What an external agent said, piece by piece, within bounds. Redacted as a whole, so that a secret in two pieces is
//! still found.

use serde::{Deserialize, Serialize};

use crate::mcp::foreign::seen;
use crate::tool::ToolHost;

/// The most entries that are kept.
const MOST: usize = 20_000;

/// Something an agent said or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// A part of its answer.
    Message(String),
    /// What it thinks aloud.
    Thought(String),
    /// What it wrote to its standard error.
    Complaint(String),
    /// It says that it uses a tool of its own.
    Tool(String),
    /// It asked whether it may do something.
    Asked {
        /// What, in its words.
        what: String,
        /// Whether it may.
        allowed: bool,
    },
    /// It asked for something that is not offered.
    Refused(String),
}

impl Heard {
    fn text(&mut self) -> &mut String {
        match self {
            Self::Message(text)
            | Self::Thought(text)
            | Self::Complaint(text)
            | Self::Tool(text)
            | Self::Refused(text)
            | Self::Asked { what: text, .. } => text,
        }
    }
}

/// The bounded list of it.
#[derive(Debug)]
pub(super) struct Transcript {
    heard: Vec<Heard>,
    room: usize,
    pub(super) truncated: bool,
}

impl Transcript {
    pub(super) fn new(keep: usize) -> Self {
        Self { heard: Vec::new(), room: keep, truncated: false }
    }

    /// Takes down what was said. Pieces of the same thing become one, also around what came over another pipe meanwhile:
    /// when that arrives is an accident.
    pub(super) fn hear(&mut self, mut heard: Heard) {
        let text = heard.text();
        if text.len() > self.room {
            let end = (0..=self.room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            self.truncated = true;
        }
        self.room -= text.len();
        let full = self.heard.len() >= MOST;
        let mut before = self.heard.iter_mut().rev();
        match (before.find(|before| !matches!(before, Heard::Complaint(_))), &heard) {
            (Some(Heard::Message(last)), Heard::Message(more))
            | (Some(Heard::Thought(last)), Heard::Thought(more)) => {
                last.push_str(more);
            }
            _ if full => self.truncated = true,
            _ => self.heard.push(heard),
        }
    }

    /// All of it, as it may be seen.
    pub(super) fn finish(mut self, host: &dyn ToolHost) -> (Vec<Heard>, bool) {
        for heard in &mut self.heard {
            let text = heard.text();
            *text = seen(&host.redact(text));
        }
        (self.heard, self.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_in_between_tears_nothing_apart() {
        let mut transcript = Transcript::new(1000);
        let text = |text: &str| text.to_owned();
        for heard in [
            Heard::Thought(text("ses")),
            Heard::Complaint(text("warning")),
            Heard::Complaint(text("another")),
            Heard::Thought(text("ame")),
            Heard::Tool(text("reads")),
            Heard::Thought(text("more")),
        ] {
            transcript.hear(heard);
        }
        let expected = [
            Heard::Thought(text("sesame")),
            Heard::Complaint(text("warning")),
            Heard::Complaint(text("another")),
            Heard::Tool(text("reads")),
            Heard::Thought(text("more")),
        ];
        assert_eq!(transcript.heard, expected);
    }
}
