//! The program `blueprint`: either the command line, or the launcher that builds a sandbox. Holds no logic.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the launcher must run before there is a thread or a runtime.
    match blueprint_sandbox::launcher_main(std::env::args_os()) {
        Some(code) => code,
        None => blueprint::run(),
    }
}
