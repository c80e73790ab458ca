//! Meets people: the command line of `blueprint`. Words, colours, exit codes and hints live here and nowhere
//! else; decisions do not.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod command;
mod config;
mod context;
mod diagnose;
pub mod draw;
mod error;
mod logins;
mod progress;
mod terminal;

/// Reads the command line, does what it says and returns the exit code.
pub fn run() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are not errors; clap knows where each belongs.
            let code = if error.use_stderr() { error::Exit::Usage } else { error::Exit::Succeeded };
            drop(error.print());
            return code.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            return error::report(
                &error::CliError::environment("the program cannot start its runtime").because(&source),
            );
        }
    };
    match runtime.block_on(command::dispatch(args)) {
        Ok(exit) => exit.into(),
        Err(error) => error::report(&error),
    }
}
