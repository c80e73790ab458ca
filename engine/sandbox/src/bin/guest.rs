//! The guest as a program of its own, for sandboxes that carry it in, and for tests.
//! It must print nothing: its standard output is the channel.

use std::process::ExitCode;

fn main() -> ExitCode {
    blueprint_sandbox::launcher_main(std::env::args_os()).unwrap_or(ExitCode::FAILURE)
}
