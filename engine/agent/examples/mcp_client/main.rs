//! The MCP client alone, for checks against other people's servers: lists the tools of one server and calls some.
//!
//! `mcp_client [--call TOOL JSON]... (URL | -- PROGRAM ARGUMENT...)`; as a client under `@modelcontextprotocol/conformance`
//! it takes the scenario from the environment. Not a part of the product.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "an example that meets the unexpected ends"
)]

use std::sync::Arc;

use blueprint_agent::mcp::{Outside, Server, ServerConfig, Servers};
use blueprint_agent::tool::ToolOutcome;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[path = "../../tests/it/direct_host.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod direct_host;
mod user;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "this is its command line")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let mut calls: Vec<(String, Value)> = match scenario.as_str() {
        "tools_call" => vec![("add_numbers".to_owned(), json!({ "a": 5, "b": 3 }))],
        "sse-retry" => vec![("test_reconnection".to_owned(), json!({}))],
        "http-standard-headers" => vec![("test_headers".to_owned(), json!({}))],
        "http-invalid-tool-headers" => vec![("valid_tool".to_owned(), json!({}))],
        "elicitation-sep1034-client-defaults" => {
            vec![("test_client_elicitation_defaults".to_owned(), json!({}))]
        }
        _ => Vec::new(),
    };
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").ok();
    let context: Value = context.map_or(Value::Null, |context| serde_json::from_str(&context).unwrap());
    for call in context["toolCalls"].as_array().into_iter().flatten() {
        calls.push((call["name"].as_str().unwrap().to_owned(), call["arguments"].clone()));
    }
    let mut server = json!({ "name": "s", "tools": ["*"], "timeout_seconds": 20 });
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--call" => {
                let tool = arguments.next().unwrap();
                calls.push((tool, serde_json::from_str(&arguments.next().unwrap()).unwrap()));
            }
            "--" => server["command"] = arguments.by_ref().collect::<Vec<_>>().into(),
            url => server["url"] = url.into(),
        }
    }
    if scenario.starts_with("elicitation-") || scenario.starts_with("sep-2322-") {
        server["elicitation"] = "defaults".into();
    }
    let server = Server::try_from(serde_json::from_value::<ServerConfig>(server).unwrap()).unwrap();
    let host = direct_host::DirectHost::new(std::env::current_dir().unwrap());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let outside = Outside {
        client: client.clone(),
        allows: Arc::new(|_| Ok(())),
        value: Arc::new(|_| None),
        access: Arc::new(user::User::new(&scenario, context, client)),
    };
    let cancel = CancellationToken::new();
    let servers = Servers::start(vec![server], &outside, &host, &cancel).await.unwrap();
    for note in host.notes() {
        println!("note: {note}");
    }
    for tool in servers.tools() {
        println!("tool: {} ({})", tool.spec().name, tool.spec().effect.as_str());
    }
    let echo = servers.tools().iter().find(|tool| tool.spec().name == "mcp.s.json_schema_2020_12_tool");
    if let Some(tool) = echo.filter(|_| scenario.starts_with("json-schema")) {
        // The schema as a model is shown it.
        calls.push(("json_schema_echo".to_owned(), json!({ "schema": tool.spec().schema })));
    }
    if scenario.starts_with("sep-2322-") || scenario.starts_with("auth/") {
        let theirs = servers.tools().iter().filter_map(|tool| tool.spec().name.strip_prefix("mcp.s."));
        calls.extend(theirs.map(|name| (name.to_owned(), json!({}))));
    }
    // Tools with schemas that cannot be understood here are there to be refused.
    let mut good = servers.troubles().is_empty() || scenario == "json-schema-ref-no-deref";
    for (name, arguments) in calls {
        let name = format!("mcp.s.{name}");
        let Some(tool) = servers.tools().iter().find(|tool| tool.spec().name == name) else {
            panic!("there is no `{name}`");
        };
        match tool.call(&host, arguments, &cancel).await.unwrap() {
            ToolOutcome::Done(text) => println!("{name}: done\n{text}"),
            ToolOutcome::Failed(text) => {
                good = false;
                println!("{name}: failed\n{text}");
            }
            ToolOutcome::Finish(value) => panic!("{value}"),
        }
    }
    servers.stop().await;
    assert!(good, "not everything was there");
}
