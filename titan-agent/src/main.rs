//! The small agent for hosts whose target isn't titan's own.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("titan-agent {} (protocol {})", titan_agent::build(), titan_proto::PROTOCOL_VERSION);
        return ExitCode::SUCCESS;
    }
    titan_agent::main()
}
