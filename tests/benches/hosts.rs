//! `titan bench hosts` on links of several kinds: real sshd in network namespaces, for which it wants root.
//!
//! `cargo bench -p titan-tests --bench hosts [-- KIND…]`, of the kinds in [`LINKS`]; `-- --check` as `titan bench` has it.

use std::env;
use std::process::{Command, ExitCode};
use std::time::Duration;

use titan_tests::program::titan;
use titan_tests::rig::{self, Rig};

/// A link between the laptop and each host.
struct Link {
    name: &'static str,
    /// On the way of each byte, in each direction.
    delay: Duration,
    kbit_per_second: Option<u32>,
    hosts: usize,
}

const LINKS: [Link; 5] = [
    Link { name: "loopback", delay: Duration::ZERO, kbit_per_second: None, hosts: 1 },
    Link { name: "gigabit", delay: Duration::ZERO, kbit_per_second: Some(1_000_000), hosts: 1 },
    Link { name: "100-mbit", delay: Duration::ZERO, kbit_per_second: Some(100_000), hosts: 4 },
    Link { name: "20-ms", delay: Duration::from_millis(20), kbit_per_second: Some(100_000), hosts: 1 },
    Link { name: "50-ms-10-mbit", delay: Duration::from_millis(50), kbit_per_second: Some(10_000), hosts: 1 },
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let (options, kinds): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with('-'));
    if rig::skipped() {
        return ExitCode::SUCCESS;
    }
    let wanted = |link: &&Link| kinds.is_empty() || kinds.iter().any(|kind| kind == link.name);
    let failed = LINKS.iter().filter(wanted).filter(|link| !measure(link, &options)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// False: titan says that a figure is far from what is promised, or couldn't measure.
fn measure(link: &Link, options: &[String]) -> bool {
    let rig = Rig::new(link.hosts);
    for host in rig.hosts() {
        if let Some(rate) = link.kbit_per_second {
            host.limit_rate(rate).expect("the kernel has tbf");
        }
    }
    if !link.delay.is_zero() {
        let delay = env!("CARGO_BIN_EXE_delay");
        rig.laptop().add_ssh_config(&format!("Host *\n    ProxyCommand {delay} {} %h %p\n", link.delay.as_millis()));
    }
    let hosts: Vec<&str> = rig.hosts().iter().map(rig::Host::name).collect();
    println!("\n## {}\n", link.name);
    let mut bench: Command = rig.command(titan());
    bench.args(["bench", "hosts", "--hosts", &hosts.join(",")]).args(options);
    bench.status().expect("titan can be started").success()
}
