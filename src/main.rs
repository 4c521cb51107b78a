//! The program `coracle`: finds out which role this process plays and plays it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::cli::main()
}
