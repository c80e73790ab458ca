//! What a server asks of us. Nothing is offered but, where the configuration says so, answers to forms, and these are
//! the defaults that the form itself names. Nobody is ever asked, and no page of a server is ever opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, ElicitationSchema, FormElicitationCapability, Implementation, InputRequest,
    InputRequests, InputResponses, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use serde_json::{Map, Value};

use super::config::Elicitation;
use super::foreign::complaint;
use crate::tool::Fit;

/// The largest answer to a form, in bytes of JSON.
const LARGEST_ANSWER: usize = 16 << 10;

/// How many questions are remembered until somebody looks; more are answered and not told of.
const MOST_QUESTIONS: usize = 64;

/// Questions and what was answered, in a line each, until somebody takes them.
#[derive(Debug, Clone, Default)]
pub(super) struct Questions(Arc<Mutex<Vec<String>>>);

impl Questions {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MOST_QUESTIONS {
            lines.push(line);
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Our side of the conversation, for what a server asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Listener {
    /// Whether the server said that its tools are others now.
    pub(super) changed: Arc<AtomicBool>,
    /// What it asked.
    pub(super) questions: Questions,
    /// What is answered to forms.
    pub(super) elicitation: Option<Elicitation>,
}

impl Listener {
    /// Answers everything a call needs before it can go on. `Err` says what cannot be answered.
    pub(super) fn answers(&self, requests: InputRequests) -> Result<InputResponses, String> {
        let mut answers = InputResponses::new();
        for (name, request) in requests {
            let InputRequest::Elicitation(request) = request else {
                return Err("it asks for a model or for folders, which are not offered".to_owned());
            };
            if self.elicitation.is_none() {
                return Err("it asks a question, and nobody is there to answer".to_owned());
            }
            let answer =
                serde_json::to_value(self.answer(&request.params)).map_err(|error| error.to_string())?;
            answers.insert(name, answer);
        }
        Ok(answers)
    }

    fn answer(&self, asked: &ElicitRequestParams) -> ElicitResult {
        let decline = || ElicitResult::new(ElicitationAction::Decline);
        let (message, answer) = match (self.elicitation, asked) {
            // Nothing was offered, so this is no more than politeness.
            (None, _) => return decline(),
            (
                Some(Elicitation::Defaults),
                ElicitRequestParams::FormElicitationParams { message, requested_schema, .. },
            ) => (message, defaults(requested_schema)),
            (_, ElicitRequestParams::UrlElicitationParams { message, .. }) => {
                (message, Err("no page is opened for it".to_owned()))
            }
            _ => return decline(),
        };
        let message = complaint(message);
        match answer {
            Ok(content) => {
                let line = complaint(&content.to_string());
                self.questions.add(format!("it asked `{message}`, and the answer was {line}"));
                ElicitResult::new(ElicitationAction::Accept).with_content(content)
            }
            Err(why) => {
                self.questions.add(format!("it asked `{message}`, and the answer was no: {why}"));
                decline()
            }
        }
    }
}

/// The answer that a form gives itself, or why it does not.
fn defaults(schema: &ElicitationSchema) -> Result<Value, String> {
    let unreadable = |error: serde_json::Error| format!("it cannot be read: {error}");
    let schema = serde_json::to_value(schema).map_err(unreadable)?;
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let content: Map<String, Value> =
        fields.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone()))).collect();
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    if let Some(name) = required.filter_map(Value::as_str).find(|name| !content.contains_key(*name)) {
        return Err(format!("`{}` has no default", complaint(name)));
    }
    let content = Value::Object(content);
    if content.to_string().len() > LARGEST_ANSWER {
        return Err(format!("its defaults have more than {LARGEST_ANSWER} bytes"));
    }
    let fit = Fit::of(&schema).map_err(|error| format!("it makes no sense: {error}"))?;
    fit.check(&content).map_err(|why| format!("its defaults do not fit it: {}", complaint(&why)))?;
    Ok(content)
}

impl ClientHandler for Listener {
    #[expect(deprecated, reason = "servers of older versions of the protocol ask for it")]
    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::method_not_found::<rmcp::model::ListRootsRequestMethod>())
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(self.answer(&request))
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.store(true, Ordering::Release);
    }

    fn get_info(&self) -> ClientConfig {
        let me = Implementation::new("blueprint", env!("CARGO_PKG_VERSION"));
        let mut offered = ClientCapabilities::default();
        if self.elicitation.is_some() {
            let form = FormElicitationCapability::new().with_schema_validation(true);
            offered.elicitation = Some(ElicitationCapability::new().with_form(form));
        }
        // The library names its newest version, which has no greeting.
        ClientConfig::new(offered, me).with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

#[cfg(test)]
mod tests;
