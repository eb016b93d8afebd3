//! How a bridge gives its own streams to the agent, so that bytes pass through one process less: it sends the descriptors and then only
//! waits. Either side ends a connection by closing the socket between them. As a bridge may meet an agent of another build, this stays as
//! it is: one byte, with the bridge's stdin and stdout.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Descriptors travel with a byte.
const WORD: &[u8] = b"s";
/// Who connects and then gives nothing isn't waited for longer.
const TAKE_SPAN: Duration = Duration::from_secs(2);

/// A stream of a connection that was handed over: it ends when its own other end does, or the bridge.
#[derive(Debug)]
pub(super) struct Handed {
    stream: OwnedFd,
    bridge: UnixStream,
}

/// Gives these streams to the agent at the other end.
///
/// # Errors
/// It isn't there any more.
pub(super) fn give(agent: &UnixStream, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<()> {
    let streams = [input, output];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.push(SendAncillaryMessage::ScmRights(&streams)), "there is space for two");
    sendmsg(agent, &[IoSlice::new(WORD)], &mut descriptors, SendFlags::empty())?;
    Ok(())
}

/// Takes the streams that a bridge gives: its input and its output.
///
/// # Errors
/// It gives none.
pub(super) fn take(bridge: &UnixStream) -> io::Result<(Handed, Handed)> {
    bridge.set_read_timeout(Some(TAKE_SPAN))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut descriptors = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0; WORD.len()];
    retry_on_intr(|| recvmsg(bridge, &mut [IoSliceMut::new(&mut word)], &mut descriptors, RecvFlags::CMSG_CLOEXEC))?;
    let mut streams = descriptors.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(streams) => streams.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let (Some(input), Some(output)) = (streams.next(), streams.next()) else {
        return Err(io::Error::other("it gives no streams"));
    };
    Ok((Handed::new(input, bridge)?, Handed::new(output, bridge)?))
}

impl Handed {
    fn new(stream: OwnedFd, bridge: &UnixStream) -> io::Result<Self> {
        // The bridge itself doesn't use it any more. A thread that waits for it must see the bridge's end as well.
        fcntl_setfl(&stream, fcntl_getfl(&stream)? | OFlags::NONBLOCK)?;
        Ok(Self { stream, bridge: bridge.try_clone()? })
    }

    /// Waits until it is ready. False: the bridge has ended before.
    fn wait(&self, ready: PollFlags) -> io::Result<bool> {
        let mut both = [PollFd::new(&self.stream, ready), PollFd::new(&self.bridge, PollFlags::IN)];
        retry_on_intr(|| poll(&mut both, None))?;
        Ok(!both[0].revents().is_empty())
    }
}

impl Read for Handed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(self.stream.as_fd(), &mut *buffer) {
                Err(rustix::io::Errno::AGAIN) if self.wait(PollFlags::IN)? => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(0),
                result => return Ok(result?),
            }
        }
    }
}

impl Write for Handed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.stream.as_fd(), bytes) {
                Err(rustix::io::Errno::AGAIN) if self.wait(PollFlags::OUT)? => {}
                Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::BrokenPipe.into()),
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::thread;

    use super::*;

    /// The other ends of a connection's two streams, the bridge's socket, and what the agent has been given.
    fn handed() -> ((UnixStream, UnixStream), UnixStream, (Handed, Handed)) {
        let (bridge, agent) = UnixStream::pair().unwrap();
        let (input, into) = UnixStream::pair().unwrap();
        let (output, from) = UnixStream::pair().unwrap();
        give(&bridge, input.as_fd(), output.as_fd()).unwrap();
        ((into, from), bridge, take(&agent).unwrap())
    }

    #[test]
    fn bytes_pass_by_the_bridge() {
        let ((mut into, mut from), _bridge, (mut input, mut output)) = handed();
        into.write_all(b"there").unwrap();
        output.write_all(b"back again").unwrap();
        let mut buffer = [0; 5];
        input.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"there");
        let mut buffer = [0; 10];
        from.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"back again");
        drop(into);
        assert_eq!(input.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn what_waits_ends_with_the_bridge() {
        let (_ends, bridge, (mut input, mut output)) = handed();
        thread::scope(|scope| {
            let reading = scope.spawn(move || input.read(&mut [0]));
            let writing = scope.spawn(move || output.write_all(&vec![0; 16 << 20]));
            bridge.shutdown(Shutdown::Both).unwrap();
            assert_eq!(reading.join().unwrap().unwrap(), 0);
            assert_eq!(writing.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn who_gives_nothing_has_no_streams() {
        let (bridge, agent) = UnixStream::pair().unwrap();
        drop(bridge);
        assert!(take(&agent).is_err());
        let (mut bridge, agent) = UnixStream::pair().unwrap();
        bridge.write_all(b"hello").unwrap();
        assert!(take(&agent).is_err());
    }
}
