//! The addresses of a rig, and the batches for `ip` that set them up.
//!
//! Every rig uses the same addresses, because each has a network of its own. Neighbours are static: to a host that is cut
//! off packets vanish, where a failing ARP query would give an early "no route to host".

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A Linux bridge has at most 1,024 ports.
pub(super) const MAX_HOSTS: usize = 1000;

/// The laptop's place in the network; hosts have 1, 2, 3, ...
pub(super) const LAPTOP: usize = 0;

/// The address of a place.
pub(super) fn address(place: usize) -> Ipv4Addr {
    if place == LAPTOP {
        return Ipv4Addr::new(10, 213, 0, 1);
    }
    let (net, host) = ((place - 1) / 250, (place - 1) % 250);
    Ipv4Addr::new(10, 213, 1 + net as u8, 1 + host as u8)
}

/// The Ethernet address of a place: locally administered, and made from its IP address.
pub(super) fn mac(place: usize) -> String {
    let [a, b, c, d] = address(place).octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// What `ip -batch` does on the laptop: a bridge into which the hosts plug themselves.
pub(super) fn laptop_batch(hosts: usize) -> String {
    let mac = mac(LAPTOP);
    let bridge = format!("link add br0 address {mac} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n");
    bridge + &interface_batch("br0", LAPTOP, hosts)
}

/// What `ip -batch` does on the host at `place`.
pub(super) fn host_batch(place: usize, hosts: usize) -> String {
    interface_batch("eth0", place, hosts)
}

fn interface_batch(device: &str, place: usize, hosts: usize) -> String {
    let mut batch = format!("link set lo up\nlink set {device} up\naddr add {}/16 dev {device}\n", address(place));
    for other in (LAPTOP..=hosts).filter(|other| *other != place) {
        let _ = writeln!(batch, "neigh add {} lladdr {} dev {device} nud permanent", address(other), mac(other));
    }
    batch
}

/// The `/etc/hosts` that the laptop and all hosts share.
pub(super) fn hosts_file<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut file = format!("127.0.0.1 localhost\n{} laptop\n", address(LAPTOP));
    for (index, name) in names.enumerate() {
        let _ = writeln!(file, "{} {name}", address(index + 1));
    }
    file
}
