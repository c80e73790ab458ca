//! One call: sends the request, feeds what arrives to the reader, and says how it went. Here the library that sends is
//! kept quiet: it writes what it receives into the log.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use genai::chat::{ChatFrameSink, ChatStream, FrameCtx, RawFrameRef};
use serde_json::json;
use tracing::dispatcher::{Dispatch, with_default};

use super::Provider;
use super::fault::{Broken, Trouble};
use super::lines::Lines;
use super::reading::{Complete, Gap, Piece, Reading, Wire};
use crate::model::{Answer, Delta, Listener, Message, Origin, Request, Usage};

/// A reader that is fed from inside of the library.
#[derive(Debug, Clone)]
pub(super) struct Tap(Arc<Mutex<Reading>>);

impl Tap {
    fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(Reading::new(wire))))
    }

    pub(super) fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChatFrameSink for Tap {
    fn on_frame(&self, _: &FrameCtx, frame: RawFrameRef<'_>) {
        self.reading().data(frame.data);
    }
}

/// What an answer arrives through.
enum Arrival {
    Genai(Box<ChatStream>),
    Lines(Box<Lines>),
}

impl Arrival {
    /// Waits for more. `None`: the provider has ended the stream.
    async fn more(&mut self, tap: &Tap) -> Option<Result<(), Broken>> {
        match self {
            Self::Genai(stream) => quiet(stream.next()).await.map(|event| match event {
                Ok(_) => Ok(()),
                Err(error) => Err(Broken::of(&error)),
            }),
            Self::Lines(lines) => lines.more(tap).await,
        }
    }
}

impl Provider {
    pub(super) async fn exchange(&self, request: &Request, on: &mut dyn Listener) -> Result<Answer, Trouble> {
        let wire = self.settings.kind.wire();
        let tap = Tap::new(wire);
        let mut arrival = self.send(request, &tap).await.map_err(|broken| broken.trouble())?;
        loop {
            let more = arrival.more(&tap).await;
            let (pieces, over) = {
                let mut reading = tap.reading();
                (reading.pieces(), reading.over())
            };
            for piece in &pieces {
                on.delta(match piece {
                    Piece::Text(text) => Delta::Text(text),
                    Piece::Reasoning(text) => Delta::Reasoning(text),
                    Piece::Call(name) => Delta::Call(name),
                });
            }
            match more {
                // What the reader knows comes before what the library makes of it.
                _ if over => break,
                None => break,
                Some(Err(broken)) if !broken.is_opinion() => return Err(broken.trouble()),
                Some(_) => {}
            }
        }
        let turn = request.messages.len();
        let complete = tap.reading().complete(turn);
        complete.map(|complete| self.whole(complete, request)).map_err(|gap| match gap {
            Gap::Failed(complaint) => Trouble::of_complaint(&complaint),
            Gap::Unreadable => Trouble::invalid("what came is not the format of the provider"),
            Gap::TooLarge => Trouble::invalid("more came than an answer can have"),
            Gap::BrokeOff => Trouble::broke_off(),
            Gap::NoCalls => Trouble::invalid("the answer announces calls and has none"),
        })
    }

    async fn send(&self, request: &Request, tap: &Tap) -> Result<Arrival, Broken> {
        if self.settings.kind.wire() == Wire::Ollama {
            let lines = Lines::open(self, request).await?;
            return Ok(Arrival::Lines(Box::new(lines)));
        }
        let options = self.options(request, Arc::new(tap.clone()));
        let call = self.genai.exec_chat_stream(self.target(request), self.chat(request), Some(&options));
        let response = quiet(call).await.map_err(|error| Broken::of(&error))?;
        Ok(Arrival::Genai(Box::new(response.stream)))
    }

    fn whole(&self, complete: Complete, request: &Request) -> Answer {
        let usage = complete.usage.filter(|usage| usage.total() > 0).unwrap_or_else(|| {
            tracing::warn!(model = %self.settings.name, "the provider did not say what was used; it is guessed");
            guessed(request, complete.written)
        });
        let kept = !complete.kept.is_empty();
        Answer {
            model: self.settings.name.clone(),
            origin: Origin::Provider,
            text: complete.text,
            calls: complete.calls,
            stop: complete.stop,
            usage,
            cost_micros: self.settings.price.map(|price| price.micros(&usage)),
            opaque: kept.then(|| json!({ "model": self.settings.name, "kept": complete.kept })),
        }
    }
}

/// A provider that does not say what was used is not taken for free: two bytes to a token is more than nearly all texts
/// have.
fn guessed(request: &Request, written: usize) -> Usage {
    let messages = request.messages.iter().map(|message| match message {
        Message::User { text } => text.len(),
        Message::Assistant { text, calls, .. } => {
            text.len() + calls.iter().map(|call| call.arguments.to_string().len()).sum::<usize>()
        }
        Message::Tools { results } => results.iter().map(|result| result.content.len()).sum(),
    });
    let tools = request.tools.iter().map(|tool| tool.description.len() + tool.schema.to_string().len());
    let sent = request.system.len() + messages.sum::<usize>() + tools.sum::<usize>();
    Usage {
        input: sent.div_ceil(2).max(1) as u64,
        output: written.div_ceil(2).max(1) as u64,
        ..Usage::default()
    }
}

/// Runs a future without any log: `genai` writes frames, bodies of errors and answers into its own.
async fn quiet<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let none = Dispatch::none();
    std::future::poll_fn(|context| with_default(&none, || future.as_mut().poll(context))).await
}
