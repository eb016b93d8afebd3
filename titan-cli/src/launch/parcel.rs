//! An agent's executable as it is sent: in pieces, each compressed if the host can expand it. They are compressed side by side while the
//! first is on its way, and once for all hosts.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

/// Compressed at once.
const PIECE_BYTES: usize = 1 << 20;
/// Half the size in a tenth of a second of one core; more effort gives a twentieth less and takes three times as long.
const LEVEL: Compression = Compression::new(2);

/// How a host takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Plain,
}

/// An executable that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    bytes: Arc<Vec<u8>>,
    compressed: Arc<[OnceCell<Vec<u8>>]>,
}

impl Parcel {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let compressed = bytes.chunks(PIECE_BYTES).map(|_| OnceCell::new()).collect();
        Self { bytes: Arc::new(bytes), compressed }
    }

    /// Its size, unpacked.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends it as the script of the start takes it: before each piece a line with its length, and a line with 0 after the last. How
    /// many bytes that were.
    ///
    /// # Errors
    /// The other end takes no more.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin + ?Sized), packing: Packing) -> io::Result<u64> {
        if packing == Packing::Gzip {
            self.compress_ahead();
        }
        let mut sent = 0;
        for (number, plain) in self.bytes.chunks(PIECE_BYTES).enumerate() {
            let piece = match packing {
                Packing::Gzip => self.compressed(number).await,
                Packing::Plain => plain,
            };
            to.write_all(format!("{}\n", piece.len()).as_bytes()).await?;
            to.write_all(piece).await?;
            sent += piece.len() as u64;
        }
        to.write_all(b"0\n").await?;
        to.flush().await.map(|()| sent)
    }

    /// Begins with all pieces: as many at once as there are threads.
    fn compress_ahead(&self) {
        for number in 0..self.compressed.len() {
            let parcel = self.clone();
            tokio::spawn(async move { parcel.compressed(number).await.len() });
        }
    }

    async fn compressed(&self, number: usize) -> &[u8] {
        let compress = || async {
            let bytes = Arc::clone(&self.bytes);
            let piece = spawn_blocking(move || gzip(bytes.chunks(PIECE_BYTES).nth(number).unwrap_or_default()));
            piece.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        };
        self.compressed[number].get_or_init(compress).await
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), LEVEL);
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("a vector takes everything")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    /// What was sent, without the lines of lengths.
    fn unpacked(mut sent: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let end = sent.iter().position(|byte| *byte == b'\n').unwrap();
            let length: usize = std::str::from_utf8(&sent[..end]).unwrap().parse().unwrap();
            if length == 0 {
                assert_eq!(&sent[end..], b"\n");
                return bytes;
            }
            bytes.extend_from_slice(&sent[end + 1..][..length]);
            sent = &sent[end + 1 + length..];
        }
    }

    #[tokio::test]
    async fn it_arrives_as_it_was_packed_or_not() {
        let bytes: Vec<u8> = (0..PIECE_BYTES as u32).flat_map(u32::to_le_bytes).take(PIECE_BYTES * 2 + 1).collect();
        let parcel = Parcel::new(bytes.clone());
        let mut plain = Vec::new();
        assert_eq!(parcel.send(&mut plain, Packing::Plain).await.unwrap(), bytes.len() as u64);
        assert!(unpacked(&plain) == bytes);
        let mut packed = Vec::new();
        let sent = parcel.send(&mut packed, Packing::Gzip).await.unwrap();
        assert!(sent < bytes.len() as u64 / 2, "{sent}");
        let mut expanded = Vec::new();
        MultiGzDecoder::new(&unpacked(&packed)[..]).read_to_end(&mut expanded).unwrap();
        assert!(expanded == bytes);
    }
}
