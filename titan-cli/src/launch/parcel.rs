//! An agent's executable as it is sent: compressed, if the host can expand it. Its pieces are compressed side by side, once for all hosts.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::OnceCell;
use tokio::task::{JoinHandle, spawn_blocking};

/// Compressed at once.
const PIECE_BYTES: usize = 1 << 20;
/// Half the size in a fifth of a second of one core; more effort gives a twentieth less and takes three times as long.
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
    /// What each piece became; expanded one after the other they are the whole.
    compressed: Arc<OnceCell<Vec<Vec<u8>>>>,
}

impl Parcel {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), compressed: Arc::default() }
    }

    /// Its size, unpacked.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends it as the script of the start takes it: a line with its length, then the bytes. How many bytes that were.
    ///
    /// # Errors
    /// The other end takes no more.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin + ?Sized), packing: Packing) -> io::Result<u64> {
        let pieces: Vec<&[u8]> = match packing {
            Packing::Gzip => self.compressed().await.iter().map(Vec::as_slice).collect(),
            Packing::Plain => vec![&self.bytes],
        };
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        to.write_all(format!("{length}\n").as_bytes()).await?;
        for piece in pieces {
            to.write_all(piece).await?;
        }
        to.flush().await.map(|()| length as u64)
    }

    async fn compressed(&self) -> &[Vec<u8>] {
        self.compressed
            .get_or_init(|| async {
                let pieces = 0..self.bytes.len().div_ceil(PIECE_BYTES);
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
}

/// What came of it; nothing ever, if titan is ending.
async fn ended(piece: JoinHandle<Vec<u8>>) -> Vec<u8> {
    match piece.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(piece) => piece,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
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

    /// What follows the line with its length.
    fn taken(sent: &[u8]) -> &[u8] {
        let end = sent.iter().position(|byte| *byte == b'\n').unwrap();
        let length: usize = std::str::from_utf8(&sent[..end]).unwrap().parse().unwrap();
        assert_eq!(sent.len(), end + 1 + length);
        &sent[end + 1..]
    }

    #[tokio::test]
    async fn it_arrives_as_it_was_packed_or_not() {
        let bytes: Vec<u8> = (0..PIECE_BYTES as u32).flat_map(u32::to_le_bytes).take(PIECE_BYTES * 2 + 1).collect();
        let parcel = Parcel::new(bytes.clone());
        let mut plain = Vec::new();
        assert_eq!(parcel.send(&mut plain, Packing::Plain).await.unwrap(), bytes.len() as u64);
        assert!(taken(&plain) == bytes);
        let mut packed = Vec::new();
        let sent = parcel.send(&mut packed, Packing::Gzip).await.unwrap();
        assert!(sent < bytes.len() as u64 / 2, "{sent}");
        let mut expanded = Vec::new();
        MultiGzDecoder::new(taken(&packed)).read_to_end(&mut expanded).unwrap();
        assert!(expanded == bytes);
    }
}
