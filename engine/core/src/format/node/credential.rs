//! A secret for one host, as its author wrote it. Fields only; no meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::value::Sp;

/// A secret that requests to one host carry, and that the commands of the node never have.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialTable {
    /// The secret: `inputs.NAME`.
    pub secret: Sp<String>,
    /// The variable in which commands find the placeholder that they send in place of the secret.
    pub env: Sp<String>,
    /// The header in which the secret goes to the host; `Authorization` if left out.
    #[serde(default)]
    pub header: Option<Sp<String>>,
    /// What stands in front of the secret in the header; `"Bearer "` for `Authorization` and nothing for others if left
    /// out. With `"Basic "` a name and the secret follow, in base64.
    #[serde(default)]
    pub prefix: Option<Sp<String>>,
}
