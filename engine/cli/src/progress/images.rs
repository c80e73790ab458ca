//! How far the images of a run are, before it starts: one line that changes on a terminal, a line for each change elsewhere,
//! an object for each in JSON. What an engine or a build says is cleaned here before it is shown.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use blueprint_sandbox::ImageProgress;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::{Format, RunSettings};
use crate::context::Context;
use crate::terminal::{self, clean};

/// The longest part of a line that is not our own, in characters.
const MAX_TEXT: usize = 80;

/// Shows the progress of images.
#[derive(Debug)]
pub(crate) enum Images {
    Nothing,
    Json(Mutex<String>),
    Lines(Mutex<String>),
    Bar(ProgressBar),
}

impl Images {
    /// Shows it as the run will be shown.
    pub(crate) fn of_run(context: &Context, settings: &RunSettings) -> Self {
        if settings.quiet {
            Self::Nothing
        } else if context.format == Format::Json {
            Self::Json(Mutex::default())
        } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() && !settings.plain {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            Self::Bar(bar)
        } else {
            Self::Lines(Mutex::default())
        }
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, progress: &ImageProgress) {
        match self {
            Self::Nothing => {}
            Self::Bar(bar) => bar.set_message(words(progress)),
            Self::Lines(last) => {
                if is_new(last, progress) {
                    terminal::error_line(&words(progress));
                }
            }
            Self::Json(last) => {
                if is_new(last, progress) {
                    terminal::line(&object(progress).to_string());
                }
            }
        }
    }

    /// Nothing more will be shown.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether there is more to tell than bytes, which change all the time.
fn is_new(last: &Mutex<String>, progress: &ImageProgress) -> bool {
    let now = match progress {
        ImageProgress::Pulling { image, done, layers, .. } => format!("{image} {done}/{layers}"),
        ImageProgress::Building { image, step, steps, .. } => format!("{image} {step}/{steps}"),
    };
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let new = *last != now;
    *last = now;
    new
}

fn words(progress: &ImageProgress) -> String {
    match progress {
        ImageProgress::Pulling { image, done, layers, bytes, of_bytes } => {
            let size = if *of_bytes > 0 {
                format!(", {} of {} MB", bytes / 1_000_000, of_bytes.div_ceil(1_000_000))
            } else {
                String::new()
            };
            format!("image {}: {done} of {layers} layers{size}", short(image))
        }
        ImageProgress::Building { image, step, steps, what } => {
            format!("image {}: step {step} of {steps}, {}", short(image), short(what))
        }
    }
}

fn object(progress: &ImageProgress) -> serde_json::Value {
    match progress {
        ImageProgress::Pulling { image, done, layers, bytes, of_bytes } => {
            json!({ "type": "image", "image": image, "doing": "pulling", "done": done, "layers": layers, "bytes": bytes,
                "of_bytes": of_bytes })
        }
        ImageProgress::Building { image, step, steps, what } => {
            json!({ "type": "image", "image": image, "doing": "building", "step": step, "steps": steps, "what": what })
        }
    }
}

/// One line of a text, with digests as far as people read them.
fn short(text: &str) -> String {
    let mut clean = clean(text);
    while let Some((before, behind)) = clean.split_once("sha256:") {
        let digits = behind.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (digits, behind) = behind.split_at(digits);
        clean = format!("{before}{}{behind}", digits.get(..12).unwrap_or(digits));
    }
    if clean.chars().count() <= MAX_TEXT {
        return clean;
    }
    clean.chars().take(MAX_TEXT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_step_acts_on_a_terminal_or_breaks_a_line() {
        let what = format!("RUN \u{1b}[2J\u{1b}]0;x\u{7}\n\r{}", "y".repeat(500));
        let said = words(&ImageProgress::Building { image: "a".to_owned(), step: 1, steps: 2, what });
        assert!(said.starts_with("image a: step 1 of 2, RUN yyy"), "{said}");
        assert!(said.ends_with('…') && !said.chars().any(char::is_control), "{said:?}");
        assert_eq!(short(&format!("a@sha256:{} b sha256:0", "0a".repeat(32))), "a@0a0a0a0a0a0a b 0");
        let (image, bytes, of_bytes) = ("a".to_owned(), 1_500_000, 2_500_000);
        let said = words(&ImageProgress::Pulling { image, done: 1, layers: 2, bytes, of_bytes });
        assert_eq!(said, "image a: 1 of 2 layers, 1 of 3 MB");
    }
}
