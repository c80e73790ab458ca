//! What went wrong while keys were asked for, in a line, and what to type. The words of others are shortened and
//! cleaned; nothing that went over the wire is in them, and nothing that a shell would read otherwise is in a command.

use rmcp::transport::auth::AuthError;
use rmcp::transport::auth::enterprise::EmaError;

use super::wire::Wire;
use crate::mcp::address::ServerUrl;
use crate::mcp::foreign::complaint;

/// How many scopes a server may want, and how long each may be, in bytes.
const MOST_SCOPES: usize = 32;
const LONGEST_SCOPE: usize = 128;

/// An error with the causes that the library gives.
pub(super) fn words(error: &AuthError, wire: &Wire) -> String {
    let mut said = match error {
        AuthError::DiscoveryRequestFailed { .. } => "it could not be found out who grants access".to_owned(),
        AuthError::TokenExchangeFailed(why)
        | AuthError::TokenRefreshFailed(why)
        | AuthError::RegistrationFailed(why)
        | AuthError::ClientCredentialsError(why)
        | AuthError::AuthorizationFailed(why) => why.clone(),
        other => other.to_string(),
    };
    // The library drops why a request was not answered, or says it somewhere inside.
    if let Some(why) = wire.last_error().filter(|why| !said.contains(why.as_str())) {
        said = format!("{said}: {why}");
    }
    complaint(&wire.seen().redact(&said))
}

/// The same for identities of companies. These errors hold no words of others.
pub(super) fn identity_words(error: &EmaError, wire: &Wire) -> String {
    let mut said = error.to_string();
    if let Some(why) = wire.last_error() {
        said = format!("{said}: {why}");
    }
    complaint(&wire.seen().redact(&said))
}

/// The scopes a server wants, as far as they are any.
pub(super) fn scopes(text: &str) -> Vec<String> {
    let fits = |scope: &&str| {
        scope.len() <= LONGEST_SCOPE
            && scope.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
    };
    text.split_ascii_whitespace().filter(fits).take(MOST_SCOPES).map(str::to_owned).collect()
}

/// What to type to log in. Scopes are words of a stranger: they are in it only if they are words to a shell as well.
pub(super) fn command(server: &ServerUrl, scopes: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_');
    let word = |scope: &String| !scope.starts_with('-') && scope.chars().all(plain);
    let scopes = if scopes.iter().all(word) { scopes } else { &[] };
    let mut words = vec!["blueprint mcp login".to_owned(), server.word()];
    words.extend(scopes.iter().flat_map(|scope| ["--scope".to_owned(), scope.clone()]));
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests;
