//! The binary `pillion`: everything is in the library, so that tests and tools can call it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillion::cli::main()
}
