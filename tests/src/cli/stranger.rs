//! Hosts that aren't what they should be: commands of a cluster file that answer the way no agent does.

use titan_proto::PROTOCOL_VERSION;
use titan_proto::handshake::{Hello, Role};
use titan_proto::id::Epoch;

/// Reads the start script from stdin and answers that the agent is there already. What follows is heard as the agent.
const ANSWER: &str = r#"while read -r line; do case "$line" in m=*) mark=${line#m=};; "titan_start; }") break;; esac; done; printf '%s ANSWER\n' "$mark""#;

/// The hello of an agent with that version and build.
pub fn hello(version: u16, build: &str) -> Vec<u8> {
    let hello = Hello {
        version,
        role: Role::Agent,
        build: build.to_owned(),
        target: "x86_64-linux".to_owned(),
        cores: 2,
        memory_bytes: 4 << 30,
        kernels: vec!["mandelbrot".to_owned()],
        batch: None,
        session: None,
        epoch: Epoch(0),
        last_seen: 0,
        is_alone: false,
        adopts: false,
    };
    hello.encode()
}

/// The hello of an agent that could be titan's own.
pub fn good_hello() -> Vec<u8> {
    hello(PROTOCOL_VERSION, &titan_agent::build())
}

/// A cluster file with one host, `stranger`, that is this shell script.
pub fn cluster(script: &str) -> String {
    format!(
        "[ssh]\nstart_timeout = \"1s\"\n[[host]]\nname = \"stranger\"\ncommand = [\"sh\", \"-c\", '''\n{script}''']\n"
    )
}

/// The same for a script that goes on after it has said that the agent is there.
pub fn cluster_with_agent(script: &str) -> String {
    cluster_that_answers("have", script)
}

/// The same for a script that goes on after it has answered something to the start script.
pub fn cluster_that_answers(answer: &str, script: &str) -> String {
    cluster(&format!("{}\n{script}", ANSWER.replace("ANSWER", answer)))
}
