//! `http` and `gate` nodes: where a request goes is fixed, and a gate never opens by itself.

use std::time::Duration;

use super::compiler::{Compiler, NodeSource};
use super::names::{Names, Place, Secrets};
use crate::expr::contains_template;
use crate::finding::{Code, Finding};
use crate::format::{Entries, GateTable, HttpMethod, HttpTable, OnTimeout, Scalar, Sp};
use crate::graph::{Approvers, Gate, Http, HttpBody, Value};

const MAX_APPROVALS: u32 = 20;

impl Compiler<'_> {
    pub(super) fn http(
        &mut self,
        node: &NodeSource,
        http: &Sp<HttpTable>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Http> {
        let sound = self.url(node, &http.url);
        let url = self.text(&node.file, &http.url, names, place);
        let headers = self.headers(node, &http.headers, names, place);
        let method = http.method.as_ref().map_or(HttpMethod::Get, |method| method.value);
        let body = match (&http.body, &http.json) {
            (Some(body), Some(_)) => {
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        node.span(&body.range),
                        "a request has one body, but `body` and `json` are both given",
                    )
                    .label("one of two")
                    .fix("take one of them out"),
                );
                return None;
            }
            (Some(body), None) => {
                self.text(&node.file, body, names, place).map_or(HttpBody::Empty, HttpBody::Text)
            }
            (None, Some(json)) => HttpBody::Json(
                json.iter()
                    .filter_map(|(name, value)| {
                        self.value(&node.file, value, names, place)
                            .map(|(value, _)| (name.value.clone(), value))
                    })
                    .collect(),
            ),
            (None, None) => HttpBody::Empty,
        };
        let has_body = !matches!(body, HttpBody::Empty);
        if has_body && matches!(method, HttpMethod::Get | HttpMethod::Head) {
            let range = http
                .body
                .as_ref()
                .map(|b| &b.range)
                .or(http.json.as_ref().map(|j| &j.range))
                .unwrap_or(&http.range);
            self.findings.push(
                Finding::new(
                    Code::KeyWithoutEffect,
                    node.span(range),
                    format!("a {method} request has no body"),
                )
                .label("would be ignored")
                .fix("add `method = \"POST\"`, or take the body out"),
            );
        }
        let mut expect = Vec::new();
        for status in http.expect.iter().flat_map(|expect| &expect.value) {
            if (100..=599).contains(&status.value) {
                expect.push(status.value);
            } else {
                self.findings.push(
                    Finding::new(
                        Code::BadValue,
                        node.span(&status.range),
                        format!("{} is not a status code", status.value),
                    )
                    .label("100 to 599")
                    .fix("write for example `expect = [200, 201]`"),
                );
            }
        }
        let idempotency_key = http
            .idempotency_key
            .as_ref()
            .map_or(matches!(method, HttpMethod::Post | HttpMethod::Patch), |key| key.value);
        let effect = http.effect.as_ref().map(|effect| effect.value);
        sound.then_some(Http { method, url: url?, headers, body, expect, idempotency_key, effect })
    }

    /// Headers of a request, in which secrets may stand: they go to its host and nowhere else.
    pub(super) fn headers(
        &mut self,
        node: &NodeSource,
        written: &Entries<Sp<Scalar>>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Vec<(String, Value)> {
        let secret = Place { secrets: Secrets::Anywhere, ..place };
        let mut headers = Vec::new();
        for (name, value) in written {
            let good = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
            if !good
                || ["host", "content-length", "transfer-encoding", "connection"]
                    .contains(&name.to_ascii_lowercase().as_str())
            {
                self.findings.push(
                    Finding::new(Code::BadHeader, node.span(&name.range), format!("`{}` is not a header to set", name.value))
                        .label("not allowed")
                        .reason("a name is letters, digits and `-`; Host, Content-Length, Transfer-Encoding and Connection are set by the request itself")
                        .fix("mend the name, or take the header out"),
                );
            }
            if let Some((compiled, _)) = self.value(&node.file, value, names, secret) {
                if let Value::Literal(serde_json::Value::String(text)) = &compiled
                    && text.chars().any(char::is_control)
                {
                    self.findings.push(
                        Finding::new(
                            Code::BadHeader,
                            node.span(&value.range),
                            format!("the value of the header `{}` holds control characters", name.value),
                        )
                        .label("not allowed")
                        .reason("a line break would begin another header")
                        .fix("write the value on one line"),
                    );
                }
                headers.push((name.value.clone(), compiled));
            }
        }
        headers
    }

    pub(super) fn url(&mut self, node: &NodeSource, url: &Sp<String>) -> bool {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest else {
            self.findings.push(
                Finding::new(
                    Code::BadUrl,
                    node.span(&url.range),
                    format!("`{}` is not an http or https URL", url.value),
                )
                .label("no scheme, or another one")
                .fix("write it in full: `https://host/path`; the scheme and host cannot be templates"),
            );
            return false;
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = rest.get(..end).unwrap_or_default();
        let template = contains_template(url).filter(|found| found.start < url.len() - rest.len() + end);
        if template.is_some() || contains_template(host).is_some() {
            self.findings.push(
                Finding::new(Code::BadUrl, node.span(&url.range), "the host of a request is literal")
                    .label("a template in the host")
                    .reason("data must not choose where a request goes")
                    .fix("write the host out; a template may stand behind it, best with `| urlencode`"),
            );
            return false;
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        if name.is_empty() || host.contains(['@', ' ', '\\']) {
            self.findings.push(
                Finding::new(Code::BadUrl, node.span(&url.range), "the URL has no usable host")
                    .label("here")
                    .fix(
                        "write `https://host/path`, without a user name or password; pass those by a header",
                    ),
            );
            return false;
        }
        true
    }

    pub(super) fn gate(
        &mut self,
        node: &NodeSource,
        gate: &Sp<GateTable>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Gate {
        let on_timeout = gate.on_timeout.as_ref().map_or(OnTimeout::Reject, |on_timeout| on_timeout.value);
        if let (OnTimeout::Approve, Some(written)) = (on_timeout, &gate.on_timeout) {
            self.findings.push(
                Finding::new(
                    Code::DefaultApprove,
                    node.span(&written.range),
                    format!("the gate `{}` approves itself when nobody answers", node.name.value),
                )
                .label("approves by default")
                .reason("silence is no approval")
                .fix("write `on_timeout = \"reject\"` or \"escalate\""),
            );
        }
        if let (Some(written), None) = (&gate.on_timeout, &gate.expires) {
            self.findings.push(
                Finding::new(
                    Code::KeyWithoutEffect,
                    node.span(&written.range),
                    "`on_timeout` means nothing without `expires`",
                )
                .label("without effect")
                .fix("add `expires = \"24h\"`, or take it out"),
            );
        }
        let min = gate.min.as_ref().map_or(1, |min| min.value);
        if let Some(written) = &gate.min
            && !(1..=MAX_APPROVALS).contains(&min)
        {
            self.findings.push(
                Finding::new(
                    Code::GateBounds,
                    node.span(&written.range),
                    format!("a gate needs 1 to {MAX_APPROVALS} approvals, not {min}"),
                )
                .label("out of range")
                .fix("write for example `min = 1`"),
            );
        }
        let approvers = gate.approvers.as_ref().map(|approvers| Approvers {
            users: approvers.users.iter().map(|user| user.value.clone()).collect(),
            teams: approvers.teams.iter().map(|team| team.value.clone()).collect(),
            permission: approvers.permission.as_ref().map(|permission| permission.value.clone()),
        });
        if let Some(written) = &gate.expires
            && written.value.0 == Duration::ZERO
        {
            self.findings.push(
                Finding::new(
                    Code::GateBounds,
                    node.span(&written.range),
                    "a gate that expires at once can never be approved",
                )
                .label("no time at all")
                .fix("write for example `expires = \"24h\"`"),
            );
        }
        let ask = gate.ask.as_ref().and_then(|ask| self.text(&node.file, ask, names, place));
        Gate {
            approvers: approvers.unwrap_or_default(),
            min,
            expires: gate.expires.as_ref().map(|expires| expires.value.0),
            on_timeout,
            ask,
        }
    }
}
