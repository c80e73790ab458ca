//! How far the engine is with an image, told in few words. What an engine or a build says of itself is text of strangers:
//! it is bounded here and cleaned by whoever shows it.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

/// The most layers that are told apart.
const MAX_LAYERS: usize = 512;
/// The longest line that is kept, in characters.
pub(super) const MAX_LINE: usize = 400;

/// How far an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageProgress {
    /// It is fetched from a registry.
    Pulling {
        /// Its name.
        image: String,
        /// Layers that are there.
        done: usize,
        /// Layers that are known of.
        layers: usize,
        /// Bytes of layers that came.
        bytes: u64,
        /// Bytes of layers that were announced.
        of_bytes: u64,
    },
    /// It is built.
    Building {
        /// What it is built of, for people.
        image: String,
        /// The step that runs, from 1.
        step: u32,
        /// All steps.
        steps: u32,
        /// What the step says, as it is written.
        what: String,
    },
}

/// Who is told. Called often, and must be quick.
pub type ImageWatch<'a> = &'a (dyn Fn(&ImageProgress) + Send + Sync);

/// The layers of one pull.
#[derive(Debug, Default)]
pub(super) struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default)]
struct Layer {
    done: bool,
    bytes: u64,
    of_bytes: u64,
}

impl Layers {
    /// Takes in what the engine said.
    pub(super) fn take(&mut self, said: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&said.id, &said.status) else { return };
        // The name of the image stands in the same place as those of its layers.
        if status.starts_with("Pulling from") || (self.0.len() >= MAX_LAYERS && !self.0.contains_key(id)) {
            return;
        }
        let layer = self.0.entry(id.clone()).or_default();
        match status.as_str() {
            "Pull complete" | "Already exists" => {
                layer.done = true;
                layer.bytes = layer.of_bytes;
            }
            "Downloading" => {
                let detail = said.progress_detail.as_ref();
                let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
                layer.of_bytes = number(detail.and_then(|detail| detail.total)).unwrap_or(layer.of_bytes);
                layer.bytes = number(detail.and_then(|detail| detail.current))
                    .unwrap_or(layer.bytes)
                    .min(layer.of_bytes);
            }
            "Download complete" => layer.bytes = layer.of_bytes,
            _ => {}
        }
    }

    /// What there is to tell.
    pub(super) fn told(&self, image: &str) -> ImageProgress {
        let sum = |part: fn(&Layer) -> u64| self.0.values().map(part).fold(0, u64::saturating_add);
        ImageProgress::Pulling {
            image: image.to_owned(),
            done: self.0.values().filter(|layer| layer.done).count(),
            layers: self.0.len(),
            bytes: sum(|layer| layer.bytes),
            of_bytes: sum(|layer| layer.of_bytes),
        }
    }
}

/// The number and the text of a step, if that is what a whole message of the engine says.
pub(super) fn step(message: &str) -> Option<(u32, u32, String)> {
    let (numbers, what) = message.strip_prefix("Step ")?.split_once(" : ")?;
    let (step, steps) = numbers.split_once('/')?;
    let (step, steps) = (step.parse().ok()?, steps.parse().ok()?);
    Some((step, steps, what.trim_end().chars().take(MAX_LINE).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> CreateImageInfo {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn layers_and_bytes_are_counted_whatever_comes() {
        let mut layers = Layers::default();
        for text in [
            r#"{"status":"Pulling from library/debian","id":"trixie"}"#,
            r#"{"status":"Already exists","id":"a"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"b"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":40,"total":100},"id":"b"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":-4,"total":-1},"id":"b"}"#,
            r#"{"status":"Digest: sha256:00"}"#,
        ] {
            layers.take(&said(text));
        }
        let pulling = |done, bytes| ImageProgress::Pulling {
            image: "x".to_owned(),
            done,
            layers: 2,
            bytes,
            of_bytes: 100,
        };
        assert_eq!(layers.told("x"), pulling(1, 40));
        layers.take(&said(r#"{"status":"Pull complete","id":"b"}"#));
        assert_eq!(layers.told("x"), pulling(2, 100));
        for number in 0..2 * MAX_LAYERS {
            layers.take(&said(&format!("{{\"status\":\"Waiting\",\"id\":\"{number}\"}}")));
        }
        assert_eq!(layers.0.len(), MAX_LAYERS);
    }

    #[test]
    fn a_step_is_a_whole_message_of_its_form() {
        assert_eq!(step("Step 2/5 : RUN x"), Some((2, 5, "RUN x".to_owned())));
        for text in ["Step x/5 : y", "Step 1 : y", " Step 1/2 : y", "Step 1/2 y", "Step -1/2 : y"] {
            assert_eq!(step(text), None, "{text}");
        }
    }
}
