//! A pseudo terminal: what is typed on it, the bytes that arrive, and what a person sees of them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Columns and lines of the terminal.
const SIZE: (u16, u16) = (100, 30);

/// The terminal.
#[derive(Debug)]
pub struct Terminal {
    ours: File,
    theirs: File,
    bytes: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
}

impl Terminal {
    /// Opens one.
    ///
    /// # Panics
    /// The system has none.
    pub fn open() -> Self {
        let ours =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are pseudo terminals");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let (columns, lines) = SIZE;
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("it takes a size");
        let theirs = OpenOptions::new().read(true).write(true).open(name.to_string_lossy().as_ref());
        let terminal = Self {
            ours: ours.into(),
            theirs: theirs.expect("it was opened just now"),
            bytes: Arc::default(),
            closing: Arc::default(),
        };
        terminal.read_along();
        terminal
    }

    fn read_along(&self) {
        let mut ours = self.ours.try_clone().expect("a file can be shared");
        let (bytes, closing) = (Arc::clone(&self.bytes), Arc::clone(&self.closing));
        thread::spawn(move || {
            let mut buffer = [0; 4 << 10];
            while let Ok(length @ 1..) = ours.read(&mut buffer) {
                if closing.load(Ordering::Relaxed) {
                    return;
                }
                bytes.lock().expect("no reader panics").extend_from_slice(&buffer[..length]);
            }
        });
    }

    /// Closes it, as a person closes a window: whoever it belongs to gets a HUP.
    ///
    /// # Panics
    /// Never: it was open until now.
    pub fn close(mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes the reader, which holds a copy of our end.
        self.theirs.write_all(b"\n").expect("it is still open");
    }

    /// The end that programs have.
    ///
    /// # Panics
    /// There are no file descriptors left.
    pub fn stream(&self) -> Stdio {
        OwnedFd::from(self.theirs.try_clone().expect("a file can be shared")).into()
    }

    /// Gives a command all three streams on this terminal, and a name of a terminal that can do what all can.
    pub fn seat<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("TERM", "xterm").stdin(self.stream()).stdout(self.stream()).stderr(self.stream())
    }

    /// Types.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        self.ours.write_all(bytes).expect("the terminal takes what is typed");
    }

    /// Everything that arrived.
    ///
    /// # Panics
    /// Never: no reader panics.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no reader panics")).into_owned()
    }

    /// What a person sees.
    pub fn seen(&self) -> String {
        show(&self.received())
    }
}

/// The lines that a terminal shows after these bytes: a cursor that moves, and erasing; colours aren't seen.
fn show(bytes: &str) -> String {
    let mut screen = Screen { lines: vec![Vec::new()], row: 0, column: 0 };
    let mut rest = bytes.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => screen.column = 0,
            '\n' => screen.go_down(1),
            '\x1b' if rest.next_if_eq(&'[').is_some() => {
                let mut parameters = String::new();
                let mut last = rest.next();
                while let Some(c) = last.filter(|c| !c.is_ascii_alphabetic()) {
                    parameters.push(c);
                    last = rest.next();
                }
                screen.control(last.unwrap_or('m'), parameters.parse().unwrap_or(1));
            }
            c if c.is_control() => {}
            c => screen.put(c),
        }
    }
    let lines: Vec<String> = screen.lines.iter().map(|line| line.iter().collect::<String>()).collect();
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn put(&mut self, c: char) {
        // A full line wraps only when the next character comes.
        if self.column >= usize::from(SIZE.0) {
            self.column = 0;
            self.go_down(1);
        }
        let line = &mut self.lines[self.row];
        while line.len() <= self.column {
            line.push(' ');
        }
        line[self.column] = c;
        self.column += 1;
    }

    fn go_down(&mut self, lines: usize) {
        self.row += lines;
        while self.lines.len() <= self.row {
            self.lines.push(Vec::new());
        }
    }

    fn control(&mut self, command: char, number: usize) {
        match command {
            'A' => self.row = self.row.saturating_sub(number),
            'B' => self.go_down(number),
            'K' => self.lines[self.row].clear(),
            'J' => self.lines.truncate(self.row + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn what_was_erased_is_not_seen() {
        assert_eq!(show("one\r\ntwo\r\x1b[2K\x1b[1A\r\x1b[2Kthree\r\n"), "three");
        assert_eq!(show("\x1b[36mred\x1b[0m\r\nx\ry"), "red\ny");
        assert_eq!(show(&"a".repeat(101)).lines().map(str::len).collect::<Vec<_>>(), [100, 1]);
    }
}
