//! Secrets for hosts, as they are written: each for one host of `network`, by the name of an input. Values are nobody's
//! business here.

use std::ops::Range;

use super::compiler::{Compiler, NodeSource};
use super::hosts::endpoint;
use super::names::{Names, Place, Secrets};
use crate::finding::{Code, Finding};
use crate::format::{CredentialTable, InputType, Sp};
use crate::graph::Credential;

/// The header if none is written, and what stands in it in front of the secret.
const HEADER: &str = "Authorization";
const PREFIX: &str = "Bearer ";

/// Headers that a request sets itself.
const TAKEN: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "proxy-authorization"];

impl Compiler<'_> {
    /// The credentials of a node that may reach `hosts`.
    pub(super) fn credentials(
        &mut self,
        source: &NodeSource,
        hosts: &[String],
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Vec<Credential> {
        let mut found: Vec<Credential> = Vec::new();
        for (host, written) in &source.table.credentials {
            let place = Place { secrets: Secrets::Anywhere, ..place };
            let wrong = |range: &Range<usize>, message: String, label: &str, fix: String| {
                Finding::new(Code::BadCredential, source.span(range), message).label(label).fix(fix)
            };
            let known = endpoint(&host.value).ok().filter(|host| hosts.contains(host));
            if known.is_none() {
                self.findings.push(wrong(
                    &host.range,
                    format!("`{}` is not one of the hosts of the node", host.value),
                    "not in `network`",
                    format!("write `network = [\"{}\"]`, or name a host that is there", host.value),
                ));
            } else if found.iter().any(|other| Some(&other.host) == known.as_ref()) {
                self.findings.push(wrong(
                    &host.range,
                    format!("`{}` has two credentials", host.value),
                    "the same host",
                    "take one of them out".to_owned(),
                ));
            }
            self.env_name(&source.file, &written.env);
            let env = &written.env.value;
            let twice = found.iter().any(|other| other.env == *env) || source.table.env.get(env).is_some();
            if twice {
                self.findings.push(wrong(
                    &written.env.range,
                    format!("the variable `{env}` has another value, too"),
                    "there already",
                    "choose another name".to_owned(),
                ));
            }
            let (header, prefix) = self.shown(source, written);
            let secret = self.secret(source, &written.secret, names, place);
            if let (Some(host), Some(secret)) = (known, secret) {
                found.push(Credential { host, secret, header, prefix, env: env.clone() });
            }
        }
        found
    }

    /// The name of the input that the secret is.
    fn secret(
        &mut self,
        source: &NodeSource,
        written: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<String> {
        let (expr, _) = self.expression(&source.file, written, names, place)?;
        let input = expr.as_reference().and_then(|reference| match reference.path.as_slice() {
            [inputs, name] if inputs == "inputs" => names.input_named(name),
            _ => None,
        });
        if let Some(input) = input.filter(|input| input.ty == InputType::Secret) {
            return Some(input.name.to_string());
        }
        // What could not be read at all was told already.
        if input.is_some()
            || expr
                .as_reference()
                .is_none_or(|reference| reference.path.first().is_none_or(|first| first != "inputs"))
        {
            self.findings.push(
                Finding::new(
                    Code::BadCredential,
                    source.span(&written.range),
                    format!("`{}` is not a secret", written.value),
                )
                .label("not an input of the type `secret`")
                .fix("name one: `secret = \"inputs.token\"`, with `token = { type = \"secret\" }` under `[inputs]`"),
            );
        }
        None
    }

    /// The header, and what stands in it in front of the secret.
    fn shown(&mut self, source: &NodeSource, written: &CredentialTable) -> (String, String) {
        let header = written.header.as_ref().map_or(HEADER, |header| header.value.as_str());
        let name = !header.is_empty()
            && header.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
        if let Some(at) = &written.header
            && (!name || TAKEN.contains(&header.to_ascii_lowercase().as_str()))
        {
            self.findings.push(
                Finding::new(
                    Code::BadHeader,
                    source.span(&at.range),
                    format!("`{header}` is not a header to set"),
                )
                .label("not allowed")
                .fix("mend the name, or leave it out: the secret then stands in `Authorization`"),
            );
        }
        let usual = if header.eq_ignore_ascii_case(HEADER) { PREFIX } else { "" };
        let prefix = written.prefix.as_ref().map_or(usual, |prefix| prefix.value.as_str());
        if let Some(at) =
            written.prefix.as_ref().filter(|_| !prefix.chars().all(|c| (' '..='~').contains(&c)))
        {
            self.findings.push(
                Finding::new(
                    Code::BadHeader,
                    source.span(&at.range),
                    "what stands in front of the secret does not fit into a header",
                )
                .label("not printed ASCII")
                .fix("write it on one line and in ASCII, such as `\"Bearer \"`"),
            );
        }
        (header.to_owned(), prefix.to_owned())
    }
}
