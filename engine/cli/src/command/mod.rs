//! One file a command. Each resolves what was asked for, lets the runtime do it, and says what came of it.

use crate::args::{Args, AuditCommand, Command, ConfigCommand, Format, McpCommand};
use crate::context::Context;
use crate::error::{CliError, Exit};

mod audit;
mod bill;
mod check;
mod config;
mod decide;
mod diff;
mod doctor;
mod explain;
mod grants;
mod graph;
mod images;
mod init;
mod login;
mod logs;
mod manual;
mod mcp;
mod plan;
mod prune;
mod replay;
mod run;
mod salvage;
mod sarif;
mod show;
mod stand_in;
mod status;
mod test;
mod transcript;

pub(crate) use run::worded;

pub(crate) async fn dispatch(args: Args) -> Result<Exit, CliError> {
    match Box::pin(obey(args)).await {
        Err(error) if error.damaged().is_some() => Err(salvage::say_what_is_intact(error).await),
        other => other,
    }
}

async fn obey(args: Args) -> Result<Exit, CliError> {
    let global = &args.global;
    let plain = || Context::new(global, None);
    if global.format == Format::Sarif && !matches!(args.command, Command::Check { .. }) {
        return Err(
            CliError::usage("only `check` has findings to write as SARIF").hint("use `--format json`")
        );
    }
    match args.command {
        Command::Init { name } => init::init(&plain()?, &name),
        Command::Check { blueprint } => check::check(&plain()?, &blueprint),
        Command::Grants { blueprint, least } => grants::grants(&plain()?, &blueprint, least).await,
        Command::Plan { blueprint, ceilings } => plan::plan(&plain()?, &blueprint, &ceilings).await,
        Command::Run { blueprint, inputs, secrets, include_dirty, models, record, ceilings, settings } => {
            let context = Context::new(global, Some(&settings))?;
            let asked = run::Asked { blueprint, inputs, secrets, include_dirty, models, record, ceilings };
            run::run(&context, &settings, &asked).await
        }
        Command::Replay { what, base, secrets, settings } => {
            let context = Context::new(global, Some(&settings))?;
            replay::replay(&context, &settings, &replay::Asked { what, base, secrets }).await
        }
        Command::Test { names, sandbox } => {
            let settings = crate::args::RunSettings { sandbox, ..crate::args::RunSettings::default() };
            test::test(&Context::new(global, Some(&settings))?, &names).await
        }
        Command::Resume { run, settings } => {
            run::resume(&Context::new(global, Some(&settings))?, &settings, run.as_deref()).await
        }
        Command::Status { run } => status::status(&plain()?, run.as_deref()).await,
        Command::Logs { run, node, follow: _, transcript: true } => {
            transcript::transcript(&plain()?, run.as_deref(), node.as_deref()).await
        }
        Command::Logs { run, node, follow, transcript: false } => {
            logs::logs(&plain()?, run.as_deref(), node.as_deref(), follow).await
        }
        Command::Show { run, node } => show::show(&plain()?, run.as_deref(), node.as_deref()).await,
        Command::Diff { run, node, stat } => {
            diff::diff(&plain()?, run.as_deref(), node.as_deref(), stat).await
        }
        Command::Approve(decide) => {
            let context = Context::new(global, Some(&decide.settings))?;
            decide::decide(&context, &decide, blueprint_core::run::Decision::Approved).await
        }
        Command::Reject(decide) => {
            let context = Context::new(global, Some(&decide.settings))?;
            decide::decide(&context, &decide, blueprint_core::run::Decision::Rejected).await
        }
        Command::Cancel { run, reason } => decide::cancel(&plain()?, run.as_deref(), reason).await,
        Command::Retry { run, node, settings } => {
            run::retry(&Context::new(global, Some(&settings))?, &settings, &run, &node).await
        }
        Command::Fork { run, from, settings } => {
            run::fork(&Context::new(global, Some(&settings))?, &settings, &run, &from).await
        }
        Command::Prune(asked) => prune::prune(&plain()?, &asked).await,
        Command::Graph { what, kind, output } => {
            graph::graph(&plain()?, &what, kind, output.as_deref()).await
        }
        Command::Explain { what, blueprint } => explain::explain(&plain()?, &what, blueprint.as_deref()),
        Command::Audit { command: AuditCommand::Verify { run } } => {
            audit::verify(&plain()?, run.as_deref()).await
        }
        Command::Audit { command: AuditCommand::Salvage { to } } => {
            salvage::salvage(&plain()?, to.as_deref()).await
        }
        Command::Mcp { command: None } => mcp::mcp(&plain()?).await,
        Command::Mcp { command: Some(McpCommand::Login(asked)) } => login::login(&plain()?, &asked).await,
        Command::Mcp { command: Some(McpCommand::Logout { url }) } => login::logout(&plain()?, &url).await,
        Command::Mcp { command: Some(McpCommand::Logins) } => login::logins(&plain()?),
        Command::Schema => Ok(manual::schema()),
        Command::Config { command: ConfigCommand::Show } => Ok(config::show(&plain()?)),
        Command::Doctor => doctor::doctor(&plain()?).await,
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man { dir } => manual::man(dir.as_deref()),
    }
}
