//! The program `turn-server`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    turn_server::cli::main()
}
