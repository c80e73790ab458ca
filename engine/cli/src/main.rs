//! The program `blueprint`: the command line, the launcher that builds a sandbox, or the file tools of an agent inside
//! of one. Holds no logic.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the launcher must run before there is a thread or a runtime.
    if let Some(code) = blueprint_sandbox::launcher_main(std::env::args_os()) {
        return code;
    }
    if std::env::args_os().nth(1).is_some_and(|argument| argument == blueprint_agent::tool::FILE_TOOLS) {
        return blueprint_agent::tool::file_tools_main(Path::new("."));
    }
    blueprint::run()
}
