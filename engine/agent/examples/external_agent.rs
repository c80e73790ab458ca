//! The client of the agent client protocol alone, for checks against other people's agents: one prompt, and what came
//! of it as JSON.
//!
//! `external_agent PROMPT PROGRAM ARGUMENT...`. Not a part of the product.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example that meets the unexpected ends")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blueprint_agent::external::{Protocol, Work, run};
use blueprint_agent::tool::Effect;
use tokio_util::sync::CancellationToken;

#[path = "../tests/it/direct_host.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod direct_host;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let work = Work {
        prompt: arguments.next().unwrap(),
        command: arguments.collect(),
        protocol: Protocol::Acp,
        env: BTreeMap::from([(
            "PATH".to_owned(),
            std::env::vars().find(|(name, _)| name == "PATH").unwrap().1,
        )]),
        wall: Duration::from_secs(3),
        keep: 1 << 20,
        ceiling: BTreeSet::from([Effect::Read]),
    };
    let host = direct_host::DirectHost::new(std::env::current_dir().unwrap());
    let outcome = run(&work, &host, &CancellationToken::new()).await.unwrap();
    println!("{}", serde_json::to_string(&outcome).unwrap());
}
