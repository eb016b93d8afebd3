//! Word of the network: an interface, an address or a route has come or gone. Whoever waits to reach a host tries at once then,
//! instead of when its turn comes: a laptop that is opened again has its hosts back before anybody looks.

use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What the kernel is asked to tell: of links, of addresses and of routes (RTMGRP_* of `linux/rtnetlink.h`).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Where interfaces come and go all the time, as for containers, hosts aren't asked more often than this because of it.
const LEAST_SPAN: Duration = Duration::from_secs(5);

/// Tells of changes of the network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    changes: watch::Receiver<()>,
    /// When a change was told last.
    told: Option<Instant>,
}

impl Network {
    /// Begins to listen, on a thread that ends with titan. Where the kernel doesn't tell, nothing ever changes.
    pub(crate) fn listen() -> Self {
        let (sender, changes) = watch::channel(());
        if let Ok(socket) = open() {
            let listen = move || while hears(&socket) && sender.send(()).is_ok() {};
            let _ = thread::Builder::new().name("network".to_owned()).spawn(listen);
        }
        Self { changes, told: None }
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) {
        if let Some(told) = self.told {
            sleep_until(told + LEAST_SPAN).await;
        }
        if self.changes.changed().await.is_err() {
            future::pending::<()>().await;
        }
        self.told = Some(Instant::now());
    }

    /// What has changed so far isn't waited for.
    pub(crate) fn forget(&mut self) {
        self.changes.mark_unchanged();
    }
}

fn open() -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

/// Waits for a message. What it says doesn't matter, and one that was lost because too many came is one too.
fn hears(socket: &OwnedFd) -> bool {
    let mut buffer = [0; 4 << 10];
    let heard = retry_on_intr(|| recv(socket, &mut buffer[..], RecvFlags::empty()));
    matches!(heard, Ok(_) | Err(Errno::NOBUFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_can_be_asked() {
        assert!(open().is_ok());
    }
}
