//! The file tools as a program of their own, working on the folder it is started in. The product carries them behind
//! an argument of its one executable; tests of this crate start this one.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    blueprint_agent::tool::file_tools_main(Path::new("."))
}
