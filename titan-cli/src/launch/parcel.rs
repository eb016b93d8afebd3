//! An agent's executable as it is sent, in pieces of which the host asks for each: the first as it is, which tells how fast the link is, and
//! the rest compressed, unless the link is faster than that would be. Compressed once for all hosts.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crc::{CRC_32_CKSUM, Crc, Table};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

/// Sent as it is, before the rest; and what is compressed at once.
const PIECE_BYTES: usize = 1 << 20;
/// If the first piece is there within this, of which the host needs some twenty milliseconds to find a place, the link takes 25 MB/s or more,
/// and compressing and expanding the rest takes longer than it saves.
const FAST_SPAN: Duration = Duration::from_millis(60);
/// Half the size in a fifth of a second of one core; more effort gives a twentieth less and takes three times as long.
const LEVEL: Compression = Compression::new(2);
/// What `cksum` of POSIX computes.
const CKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);

/// How a host takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Plain,
}

impl Packing {
    fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Plain => "plain",
        }
    }
}

/// An executable that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    bytes: Arc<Vec<u8>>,
    /// What each piece but the first became; expanded one after the other they are the rest.
    compressed: Arc<OnceCell<Vec<Vec<u8>>>>,
    cksum: Arc<OnceCell<u32>>,
}

impl Parcel {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), compressed: Arc::default(), cksum: Arc::default() }
    }

    /// Its size, unpacked.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins to send it to a host that takes it like that.
    pub(super) fn upload(&self, packing: Packing) -> Upload {
        Upload {
            parcel: self.clone(),
            packing,
            fast_span: FAST_SPAN,
            sent: 0,
            sent_bytes: 0,
            began: None,
            compressing: None,
        }
    }

    async fn compressed(&self) -> &[Vec<u8>] {
        self.compressed
            .get_or_init(|| async {
                let pieces = 1..self.bytes.len().div_ceil(PIECE_BYTES);
                let begun: Vec<JoinHandle<Vec<u8>>> = pieces.map(|number| self.compress(number)).collect();
                let mut compressed = Vec::new();
                for piece in begun {
                    compressed.push(ended(piece).await);
                }
                compressed
            })
            .await
    }

    fn compress(&self, number: usize) -> JoinHandle<Vec<u8>> {
        let bytes = Arc::clone(&self.bytes);
        spawn_blocking(move || gzip(bytes.chunks(PIECE_BYTES).nth(number).unwrap_or_default()))
    }

    async fn cksum(&self) -> u32 {
        let bytes = Arc::clone(&self.bytes);
        *self.cksum.get_or_init(|| ended(spawn_blocking(move || cksum(&bytes)))).await
    }
}

/// An executable on its way to one host.
pub(super) struct Upload {
    parcel: Parcel,
    packing: Packing,
    /// Within which the first piece is there on a link that is too fast for compressing.
    pub(super) fast_span: Duration,
    /// How much of it, unpacked.
    sent: usize,
    /// How many bytes that were.
    sent_bytes: u64,
    /// When the first piece began to be sent.
    began: Option<Instant>,
    /// As long as this is there, the rest is compressed if that isn't there in time.
    compressing: Option<oneshot::Sender<()>>,
}

impl Upload {
    /// Bytes sent so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Sends the next piece, if there is one, as the script of the start takes it: a line with its length, its packing and
    /// with the last the whole's `cksum`, then the bytes. It is only asked for when the host has all of the piece before.
    ///
    /// # Errors
    /// The other end takes no more.
    pub(super) async fn next(&mut self, to: &mut (impl AsyncWrite + Unpin + ?Sized)) -> io::Result<()> {
        let parcel = self.parcel.clone();
        let rest = &parcel.bytes[self.sent..];
        if rest.is_empty() {
            return Ok(());
        }
        let (packing, taken) = match (self.packing, &self.began) {
            (Packing::Plain, _) => (Packing::Plain, rest.len()),
            (Packing::Gzip, None) => (Packing::Plain, rest.len().min(PIECE_BYTES)),
            (Packing::Gzip, Some(began)) if began.elapsed() < self.fast_span => (Packing::Plain, rest.len()),
            (Packing::Gzip, Some(_)) => (Packing::Gzip, rest.len()),
        };
        if self.began.is_none() {
            self.began = Some(Instant::now());
            self.compressing = (taken < rest.len()).then(|| self.compress_soon());
        } else if packing == Packing::Plain {
            // Nothing is compressed for a link that is found to be fast.
            self.compressing = None;
        }
        let pieces: Vec<&[u8]> = match packing {
            Packing::Gzip => parcel.compressed().await.iter().map(Vec::as_slice).collect(),
            Packing::Plain => vec![&rest[..taken]],
        };
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let cksum = if taken == rest.len() { format!(" {}", parcel.cksum().await) } else { String::new() };
        to.write_all(format!("{length} {}{cksum}\n", packing.word()).as_bytes()).await?;
        for piece in pieces {
            to.write_all(piece).await?;
        }
        to.flush().await?;
        self.sent += taken;
        self.sent_bytes += length as u64;
        Ok(())
    }

    /// Once it has begun, it is done, for all hosts.
    fn compress_soon(&self) -> oneshot::Sender<()> {
        let (parcel, fast_span) = (self.parcel.clone(), self.fast_span);
        let (is_wanted, gone) = oneshot::channel();
        tokio::spawn(async move {
            parcel.cksum().await;
            if tokio::time::timeout(fast_span, gone).await.is_err() {
                parcel.compressed().await;
            }
        });
        is_wanted
    }
}

/// What came of it; nothing ever, if titan is ending.
async fn ended<T>(work: JoinHandle<T>) -> T {
    match work.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(made) => made,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), LEVEL);
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("a vector takes everything")
}

/// The CRC of the bytes and then of how many they are, the lowest byte first, without leading zeros.
fn cksum(bytes: &[u8]) -> u32 {
    let mut digest = CKSUM.digest();
    digest.update(bytes);
    let length = bytes.len().to_le_bytes();
    let significant = length.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    digest.update(&length[..significant]);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    fn compressible(length: usize) -> Vec<u8> {
        (0..PIECE_BYTES as u32).flat_map(u32::to_le_bytes).take(length).collect()
    }

    /// What arrives, and the packing of each piece.
    async fn sent(bytes: &[u8], packing: Packing, fast_span: Duration) -> (Vec<u8>, Vec<String>) {
        let mut upload = Parcel::new(bytes.to_vec()).upload(packing);
        upload.fast_span = fast_span;
        let (mut arrived, mut packings) = (Vec::new(), Vec::new());
        loop {
            let mut piece = Vec::new();
            upload.next(&mut piece).await.unwrap();
            let Some(end) = piece.iter().position(|byte| *byte == b'\n') else { return (arrived, packings) };
            let words: Vec<&str> = std::str::from_utf8(&piece[..end]).unwrap().split(' ').collect();
            assert_eq!(piece.len(), end + 1 + words[0].parse::<usize>().unwrap());
            match words[1] {
                "gzip" => drop(MultiGzDecoder::new(&piece[end + 1..]).read_to_end(&mut arrived).unwrap()),
                _ => arrived.extend(&piece[end + 1..]),
            }
            let whole = (arrived.len() == bytes.len()).then(|| cksum(bytes).to_string());
            assert_eq!(words.get(2).copied(), whole.as_deref());
            packings.push(words[1].to_owned());
        }
    }

    #[tokio::test]
    async fn it_arrives_as_it_was_however_it_is_packed() {
        for length in [1, PIECE_BYTES, PIECE_BYTES + 1, PIECE_BYTES * 3 + 1] {
            let bytes = compressible(length);
            for packing in [Packing::Gzip, Packing::Plain] {
                for fast_span in [Duration::ZERO, Duration::MAX] {
                    let arrived = sent(&bytes, packing, fast_span).await.0;
                    assert!(arrived == bytes, "{length} {packing:?} {fast_span:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn only_what_the_link_is_slow_for_is_compressed() {
        let bytes = compressible(PIECE_BYTES * 2);
        assert_eq!(sent(&bytes, Packing::Gzip, Duration::ZERO).await.1, ["plain", "gzip"]);
        assert_eq!(sent(&bytes, Packing::Gzip, Duration::MAX).await.1, ["plain", "plain"]);
        assert_eq!(sent(&bytes, Packing::Plain, Duration::ZERO).await.1, ["plain"]);
    }

    /// As `printf 123456789 | cksum` and `cksum </dev/null` say.
    #[test]
    fn it_is_summed_as_cksum_does() {
        assert_eq!((cksum(b"123456789"), cksum(b"")), (930_766_865, 4_294_967_295));
    }
}
