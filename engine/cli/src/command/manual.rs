//! `schema`, `completions` and `man`: what is made from the types and the command line itself.

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Args;
use crate::error::{CliError, Exit};
use crate::terminal;

pub(crate) fn schema() -> Exit {
    terminal::line(&format!("{:#}", blueprint_core::format::json_schema()));
    Exit::Succeeded
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "blueprint", &mut text);
    terminal::bytes(&text);
    Exit::Succeeded
}

pub(crate) fn man(dir: Option<&Path>) -> Result<Exit, CliError> {
    let failed =
        |error: std::io::Error| CliError::environment("the manual cannot be written").because(&error);
    match dir {
        Some(dir) => clap_mangen::generate_to(Args::command(), dir).map_err(failed)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page).map_err(failed)?;
            terminal::bytes(&page);
        }
    }
    Ok(Exit::Succeeded)
}
