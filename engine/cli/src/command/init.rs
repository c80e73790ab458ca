//! `init`: a first blueprint that runs as it is. Never overwrites anything.

use std::io::Write as _;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::terminal;

const FIRST: &str = include_str!("first.toml");

pub(crate) fn init(context: &Context, name: &str) -> Result<Exit, CliError> {
    let good = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !good {
        return Err(CliError::usage(format!("`{}` is not a name for a blueprint", terminal::clean(name)))
            .hint("use lower-case letters, digits, `-` and `_`"));
    }
    let folder = context.project.join("blueprints").join(name);
    let path = folder.join("blueprint.toml");
    let failed = |error: std::io::Error| {
        let said = CliError::environment(format!("`{}` cannot be made", path.display())).because(&error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            said.hint("choose another name: `blueprint init NAME`")
        } else {
            said
        }
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(FIRST.replace("NAME", name).as_bytes()).map_err(failed)?;
    terminal::line(&format!("made {}", path.display()));
    terminal::line(&format!("run it: blueprint run {name}"));
    Ok(Exit::Succeeded)
}
