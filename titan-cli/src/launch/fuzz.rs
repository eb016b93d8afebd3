//! A target for fuzzing: what a host's shell says before an agent does.

use titan_fuzz::{Chance, mutate, run};

use super::bootstrap::Lines;

/// Two of what rc files may print, and what holds them while they grow.
const BOUND_BYTES: usize = 4 << 20;

fn said(chance: &mut Chance) -> Vec<u8> {
    let pieces =
        ["mark ", "have", "want Linux x86_64", "placed", "failed ", "\n", "\r", "mar", "k", "\u{1b}[2J", "TITAN\r\n"];
    let mut said = chance.text(&pieces, 30).into_bytes();
    mutate::bytes(chance, &mut said);
    if chance.once_in(100) {
        let long = chance.text(&pieces, 3).repeat(chance.below(100_000));
        said.extend(long.into_bytes());
    }
    said
}

#[test]
fn lines_of_hosts() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    run(
        "lines of hosts",
        said,
        |said| BOUND_BYTES + 4 * said.len(),
        |said| {
            let mut lines = Lines::new("mark");
            let mut stream = &said[..];
            runtime.block_on(async {
                while let Ok(line) = lines.next(&mut stream).await {
                    assert!(!line.contains('\n'));
                }
            });
        },
    );
}
