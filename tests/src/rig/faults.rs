//! What can be done to a host.

use super::host::{Host, is_sshd};
use super::processes::{self, Process};
use super::wait::wait_until;
use super::{Signal, etc, tools};
use std::fs;
use std::io;
use std::process::Output;
use std::time::Duration;

/// sshd and the kernel answer in milliseconds; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(10);

/// The states of a bridge's port that let nothing or everything pass.
const PORT_DISABLED: &str = "0";
const PORT_FORWARDING: &str = "3";

/// A classic BPF program that drops what arrives, as tc reads it: the number of its instructions, then each.
const DROP_ALL: &str = "1,6 0 0 2";

impl Host {
    /// Cuts the host off: packets vanish in both directions, and nobody is told.
    pub fn cut(&self) {
        self.set_port(PORT_DISABLED);
    }

    /// Mends what [`cut`](Self::cut) did.
    pub fn heal(&self) {
        self.set_port(PORT_FORWARDING);
    }

    /// Takes the power away: every process ends at once, and not one packet says so. /tmp is lost, the home is kept.
    pub fn power_off(&self) {
        if self.is_up() {
            self.cut();
            self.end();
        }
    }

    /// Switches the host on (again), and waits until its sshd listens.
    pub fn power_on(&self) {
        self.begin_boot();
        self.finish_boot();
    }

    /// Ends the sshd that listens; sessions go on. New connections are refused.
    ///
    /// # Panics
    /// When no sshd listens.
    pub fn stop_sshd(&self) {
        let listener = self.listener().unwrap_or_else(|| panic!("{} has no sshd that listens", self.name()));
        self.run(&format!("rm /run/sshd.pid && kill -KILL {listener}"));
        let ended = || self.sshd_processes().iter().all(|process| process.pid != listener);
        wait_until(PATIENCE, "sshd has ended", ended);
    }

    /// Ends the sshd processes of all sessions: their connections are closed, their programs see the end of stdin.
    pub fn end_sessions(&self) {
        let listener = self.listener();
        for session in self.sshd_processes().iter().filter(|process| Some(process.pid) != listener) {
            // One session is several processes; the others may have ended with the first.
            self.exec(&format!("kill -KILL {}", session.pid));
        }
    }

    /// Starts sshd, after [`stop_sshd`](Self::stop_sshd) or on a host without one, and waits until it listens.
    pub fn start_sshd(&self) {
        let sshd = tools::find("sshd").expect("available() has found it");
        self.run(&format!("{} -E /etc/ssh/sshd.log </dev/null >/dev/null 2>&1", sshd.display()));
        self.wait_for_sshd();
    }

    /// Gives the host a new key, which the laptop doesn't know; the running sshd is replaced.
    pub fn change_host_key(&self) {
        etc::renew_host_key(self.dir());
        self.stop_sshd();
        self.start_sshd();
    }

    /// Signals the processes whose command line contains `text` (never sshd), and returns them.
    pub fn signal(&self, text: &str, signal: Signal) -> Vec<Process> {
        let mut processes = self.processes();
        processes.retain(|process| process.line().contains(text));
        for process in &processes {
            self.exec(&format!("kill -{} {}", signal.as_raw(), process.pid));
        }
        processes
    }

    /// Kills the processes whose command line contains `text`, once there is one: hosts that start side by side are
    /// not all there when the first has results.
    ///
    /// # Panics
    /// When there still is none after a while: a test that breaks nothing proves nothing.
    #[track_caller]
    pub fn kill(&self, text: &str) -> Vec<Process> {
        let mut killed = Vec::new();
        wait_until(PATIENCE, &format!("a process on {} has {text:?} in its command line", self.name()), || {
            killed = self.signal(text, Signal::KILL);
            !killed.is_empty()
        });
        killed
    }

    /// Stops the processes whose command line contains `text`, as if their machine slept.
    pub fn freeze(&self, text: &str) -> Vec<Process> {
        self.signal(text, Signal::STOP)
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self, text: &str) -> Vec<Process> {
        self.signal(text, Signal::CONT)
    }

    /// Gives what titan runs there, and what that starts, so much memory in all, in bytes, as if the machine had no more.
    ///
    /// # Panics
    /// When the kernel has no memory cgroups, or nothing of titan runs.
    pub fn bound_memory(&self, bytes: u64) {
        let pids: Vec<String> = self.processes().iter().map(|process| process.pid.to_string()).collect();
        assert!(!pids.is_empty(), "nothing runs on {}", self.name());
        let group = self.memory_group();
        self.run(&format!(
            "if cd /sys/fs/cgroup/memory 2>/dev/null; then mkdir {group} && echo {bytes} > {group}/memory.limit_in_bytes; \
             else cd /sys/fs/cgroup && echo +memory > cgroup.subtree_control && mkdir {group} && echo {bytes} > \
             {group}/memory.max && echo 0 > {group}/memory.swap.max; fi && \
             for pid in {}; do echo $pid > {group}/cgroup.procs || test ! -e /proc/$pid; done",
            pids.join(" ")
        ));
    }

    /// Takes away what [`bound_memory`](Self::bound_memory) made, when all that it bounded has ended.
    pub fn unbound_memory(&self) {
        let line = format!("rmdir /sys/fs/cgroup/memory/{0} || rmdir /sys/fs/cgroup/{0}", self.memory_group());
        wait_until(PATIENCE, "what had little memory has ended", || self.exec(&line).status.success());
    }

    fn memory_group(&self) -> String {
        format!("titan-test-{}-{}", std::process::id(), self.address())
    }

    /// Delays packets by `delay` in each direction.
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no netem.
    pub fn delay(&self, delay: Duration) -> io::Result<()> {
        self.shape(&["netem", "delay", &format!("{}us", delay.as_micros()), "limit", "100000"])
    }

    /// Limits each direction to that many kilobits per second.
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no tbf.
    pub fn limit_rate(&self, kbit_per_second: u32) -> io::Result<()> {
        self.shape(&["tbf", "rate", &format!("{kbit_per_second}kbit"), "burst", "16kb", "latency", "200ms"])
    }

    /// Drops that many of a hundred packets, in each direction, until [`lose_nothing`](Self::lose_nothing).
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no cls_bpf.
    pub fn lose(&self, percent: u32) -> io::Result<()> {
        self.filter_outbound(&drop_some(percent))?;
        self.filter_inbound(&drop_some(percent))
    }

    /// What is sent to the host vanishes; what it sends arrives. Until [`lose_nothing`](Self::lose_nothing).
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no cls_bpf.
    pub fn cut_inbound(&self) -> io::Result<()> {
        self.filter_inbound(DROP_ALL)
    }

    /// What the host sends vanishes; what is sent to it arrives. Until [`lose_nothing`](Self::lose_nothing).
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no cls_bpf.
    pub fn cut_outbound(&self) -> io::Result<()> {
        self.filter_outbound(DROP_ALL)
    }

    /// Mends what [`lose`](Self::lose) and the cuts of one direction did.
    pub fn lose_nothing(&self) {
        let line = |device: &str| format!("tc qdisc del dev {device} clsact 2>/dev/null || true");
        tools::run(self.laptop.network_command("sh").args(["-c", &line(&self.port())]));
        self.run(&line("eth0"));
    }

    /// Waits until sshd listens: it writes its pid after that.
    pub(super) fn wait_for_sshd(&self) {
        let written = || self.root().is_some_and(|root| root.join("run/sshd.pid").exists());
        wait_until(PATIENCE, &format!("{}'s sshd listens; its log: {}", self.name(), self.sshd_log()), written);
    }

    /// The pid of the sshd that listens, as the host knows it.
    fn listener(&self) -> Option<u32> {
        let text = fs::read_to_string(self.root()?.join("run/sshd.pid")).ok()?;
        text.trim().parse().ok()
    }

    fn sshd_processes(&self) -> Vec<Process> {
        self.root().map(|root| processes::read(&root.join("proc"), is_sshd)).unwrap_or_default()
    }

    fn set_port(&self, state: &str) {
        let mut command = self.laptop.network_command("bridge");
        tools::run(command.args(["link", "set", "dev", &self.port(), "state", state]));
    }

    fn shape(&self, discipline: &[&str]) -> io::Result<()> {
        let port = self.port();
        let line = |device: &str| format!("tc qdisc replace dev {device} root {}", discipline.join(" "));
        supported(&self.laptop.network_command("sh").args(["-c", &line(&port)]).output()?)?;
        supported(&self.exec(&line("eth0")))
    }

    fn filter_inbound(&self, program: &str) -> io::Result<()> {
        supported(&self.exec(&filter("eth0", program)))
    }

    fn filter_outbound(&self, program: &str) -> io::Result<()> {
        let line = filter(&self.port(), program);
        supported(&self.laptop.network_command("sh").args(["-c", &line]).output()?)
    }

    #[track_caller]
    fn run(&self, line: &str) {
        let output = self.exec(line);
        let reason = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?} failed on {}: {reason}", self.name());
    }
}

/// A program that drops that many of a hundred: it draws a number, and compares it.
fn drop_some(percent: u32) -> String {
    let bound = u64::from(u32::MAX) * u64::from(100 - percent) / 100;
    format!("4,32 0 0 4294963256,53 0 1 {bound},6 0 0 2,6 0 0 4294967295")
}

fn filter(device: &str, program: &str) -> String {
    format!(
        "{{ tc qdisc add dev {device} clsact 2>/dev/null || true; }} && \
         tc filter replace dev {device} ingress pref 1 handle 1 bpf da bytecode '{program}'"
    )
}

/// What tc has to say of what the kernel can't do.
fn supported(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::new(io::ErrorKind::Unsupported, reason))
}
