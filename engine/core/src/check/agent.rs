//! Agent nodes: who thinks, what it is told, what it may use. Never decides what a model costs or whether it exists:
//! that is the machine's to say.

use std::time::Duration;

use super::compiler::{Compiler, NodeSource, Unit};
use super::names::{Names, Place, Secrets};
use crate::expr::{Text, contains_template};
use crate::finding::{Code, Finding};
use crate::format::{AgentProtocol, AgentTable, Cost, McpTable, SCRIPTED, Sp, is_file};
use crate::graph::{Agent, McpServer, McpWay, Mind, Value};
use crate::source::resolve_path;

/// How long one call of a server of tools may take if nothing else is said.
const CALL: Duration = Duration::from_mins(1);

/// Dollars as millionths, rounded to the nearest. Less than nothing is nothing.
pub(super) fn micros(cost: Cost) -> u64 {
    (cost.0 * 1_000_000.0).round().max(0.0) as u64
}

impl Compiler<'_> {
    pub(super) fn agent(
        &mut self,
        unit: &Unit,
        source: &NodeSource,
        agent: &Sp<AgentTable>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Agent> {
        self.agent_keys(unit, source, agent);
        // What an agent sees, a provider sees.
        let place = Place { secrets: Secrets::Never, ..place };
        let prompt = agent.prompt.as_ref().and_then(|text| self.text_or_file(source, text, names, place));
        let system = agent.system.as_ref().and_then(|text| self.text_or_file(source, text, names, place));
        let mind = self.mind(source, agent, system)?;
        let max_turns = agent.max_turns.as_ref().map_or(Agent::TURNS, |turns| turns.value);
        if let Some(written) =
            agent.max_turns.as_ref().filter(|_| !(1..=Agent::MOST_TURNS).contains(&max_turns))
        {
            self.findings.push(
                Finding::new(
                    Code::AgentBounds,
                    source.span(&written.range),
                    format!("an agent takes 1 to {} turns, not {max_turns}", Agent::MOST_TURNS),
                )
                .label("out of bounds")
                .fix(format!("leave it out for {} turns, or write how many it needs at most", Agent::TURNS)),
            );
        }
        if let Some(cost) =
            agent.max_cost_usd.as_ref().filter(|cost| !(cost.value.0 >= 0.0 && cost.value.0.is_finite()))
        {
            self.findings.push(
                Finding::new(
                    Code::AgentBounds,
                    source.span(&cost.range),
                    format!("{} is not an amount of money", cost.value.0),
                )
                .label("not an amount")
                .fix("write US dollars, such as `max_cost_usd = 0.5`"),
            );
        }
        let mut env: Vec<(String, Value)> = Vec::new();
        let common = unit.document.defaults.env.iter().map(|entry| (&unit.file, entry));
        for (file, (name, value)) in common.chain(source.table.env.iter().map(|entry| (&source.file, entry)))
        {
            self.env_name(file, name);
            let Some((value, _)) = self.value(file, value, names, place) else { continue };
            env.retain(|(known, _)| *known != name.value);
            env.push((name.value.clone(), value));
        }
        let network = self.hosts(source);
        let credentials = self.credentials(source, &network, names, place);
        Some(Agent {
            mind,
            prompt,
            tools: source.table.tools.iter().map(|glob| glob.value.clone()).collect(),
            max_calls: agent.max_calls.iter().map(|(glob, most)| (glob.value.clone(), most.value)).collect(),
            mcp: self.mcp(source, agent, names, place),
            network,
            credentials,
            env,
            max_turns,
            max_tokens: agent.max_tokens.as_ref().map(|tokens| tokens.value),
            max_cost_micros: agent.max_cost_usd.as_ref().map(|cost| micros(cost.value)),
        })
    }

    fn agent_keys(&mut self, unit: &Unit, source: &NodeSource, agent: &Sp<AgentTable>) {
        if agent.prompt.is_none() && agent.command.is_none() && !unit.is_broken(&source.name, "agent") {
            self.findings.push(
                Finding::new(
                    Code::MissingKey,
                    source.span(&agent.range),
                    format!("the agent `{}` is not told what to do", source.name.value),
                )
                .label("needs `prompt` or `command`")
                .fix("add `prompt = \"prompts/task.md\"`, or the prompt itself"),
            );
        }
        let external = agent.command.is_some();
        let stray = [
            ("model", agent.model.as_ref().map(|v| &v.range), !external, "`command` brings its own model"),
            (
                "system",
                agent.system.as_ref().map(|v| &v.range),
                !external,
                "`command` brings its own system text",
            ),
            (
                "mcp",
                agent.mcp.0.first().map(|(name, _)| &name.range),
                !external,
                "`command` brings its own tools",
            ),
            (
                "max_calls",
                agent.max_calls.0.first().map(|(name, _)| &name.range),
                !external,
                "`command` brings its own tools",
            ),
            (
                "protocol",
                agent.protocol.as_ref().map(|v| &v.range),
                external,
                "it says how `command` is spoken to",
            ),
        ];
        for (key, range, fits, reason) in stray {
            if let Some(range) = range.filter(|_| !fits) {
                self.findings.push(
                    Finding::new(
                        Code::KeyWithoutEffect,
                        source.span(range),
                        format!(
                            "`{key}` means nothing {} `command`",
                            if external { "beside" } else { "without" }
                        ),
                    )
                    .label("without effect")
                    .reason(reason)
                    .fix("take it out"),
                );
            }
        }
    }

    fn mcp(
        &mut self,
        source: &NodeSource,
        agent: &AgentTable,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Vec<McpServer> {
        let mut servers = Vec::new();
        for (name, server) in &agent.mcp {
            self.good_name("a server of tools", name, source.span(&name.range));
            let Some(way) = self.way(source, name, server, names, place) else { continue };
            servers.push(McpServer {
                name: name.value.clone(),
                way,
                tools: server.tools.iter().map(|glob| glob.value.clone()).collect(),
                elicitation: server.elicitation.as_ref().map(|word| word.value),
                timeout: server.timeout.as_ref().map_or(CALL, |timeout| timeout.value.0),
            });
        }
        servers
    }

    /// How a server of tools is reached.
    fn way(
        &mut self,
        source: &NodeSource,
        name: &Sp<String>,
        server: &Sp<McpTable>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<McpWay> {
        let (command, url) = match (&server.command, &server.url) {
            (Some(command), None) => (command, None),
            (None, Some(url)) => return self.remote(source, server, url, names, place),
            (Some(command), Some(url)) => (command, Some(url)),
            (None, None) => {
                self.findings.push(
                    Finding::new(
                        Code::MissingKey,
                        source.span(&server.range),
                        format!("the server `{}` is neither started nor reached", name.value),
                    )
                    .label("needs `command` or `url`")
                    .fix("add `command = [\"program\"]`, or `url = \"https://host/mcp\"`"),
                );
                return None;
            }
        };
        let stray = url.map(|url| ("url", &url.range));
        let header = server.headers.0.first().map(|(name, _)| ("headers", &name.range));
        for (key, range) in stray.into_iter().chain(header) {
            self.findings.push(
                Finding::new(
                    Code::KeyWithoutEffect,
                    source.span(range),
                    format!("`{key}` means nothing beside `command`"),
                )
                .label("without effect")
                .reason("a server is started inside the sandbox or reached over HTTP")
                .fix("take one of them out"),
            );
        }
        if command.value.iter().all(|word| word.value.trim().is_empty()) {
            self.findings.push(
                Finding::new(
                    Code::EmptyCommand,
                    source.span(&command.range),
                    format!("the server `{}` has an empty command", name.value),
                )
                .label("no program")
                .fix("write the program and its arguments"),
            );
        }
        Some(McpWay::Command(command.value.iter().map(|word| word.value.clone()).collect()))
    }

    fn remote(
        &mut self,
        source: &NodeSource,
        server: &McpTable,
        url: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<McpWay> {
        let sound = self.url(source, url);
        if sound && contains_template(url).is_some() {
            self.findings.push(
                Finding::new(
                    Code::BadUrl,
                    source.span(&url.range),
                    "the URL of a server of tools is literal",
                )
                .label("a template in it")
                .fix("write it out"),
            );
            return None;
        }
        // A server is told what its headers hold, and the model is not.
        let headers = self.headers(source, &server.headers, names, place);
        sound.then(|| McpWay::Url { url: url.value.clone(), headers })
    }

    fn mind(&mut self, source: &NodeSource, agent: &AgentTable, system: Option<Text>) -> Option<Mind> {
        if let Some(command) = &agent.command {
            if command.value.iter().all(|word| word.value.trim().is_empty()) {
                self.findings.push(
                    Finding::new(
                        Code::EmptyCommand,
                        source.span(&command.range),
                        format!("the agent `{}` has an empty command", source.name.value),
                    )
                    .label("no program")
                    .fix("write the program and its arguments"),
                );
                return None;
            }
            let argv = command.value.iter().map(|word| word.value.clone()).collect();
            let protocol = agent.protocol.as_ref().map_or(AgentProtocol::Plain, |protocol| protocol.value);
            return Some(Mind::Program { argv, protocol });
        }
        let Some(model) = &agent.model else {
            return Some(Mind::Model { model: "default".to_owned(), system });
        };
        let Some(file) = model.strip_prefix(SCRIPTED) else {
            return Some(Mind::Model { model: model.value.clone(), system });
        };
        let name = Sp { value: file.to_owned(), range: model.range.clone() };
        let script = self.text_file(source, &name)?.to_owned();
        Some(Mind::Script { file: file.to_owned(), script, system })
    }

    /// A template, written here or in a file of its own.
    pub(super) fn text_or_file(
        &mut self,
        source: &NodeSource,
        text: &Sp<String>,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> Option<Text> {
        if !is_file(text) {
            return self.text(&source.file, text, names, place);
        }
        let template = self.text_file(source, text)?;
        let path = resolve_path(&source.file, text)?;
        self.template_file(&path.into(), template, names, place)
    }
}
