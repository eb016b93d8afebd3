//! Message ↔ bytes. The only module that knows the encodings, bincode and postcard, so that each can be exchanged in one place.
//!
//! bincode 2 without a limit lets a length in the input abort the process, and it doesn't mind bytes left over: so every
//! decoding here has the limit, and all input must be consumed.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest encoded message. Parameters of a kernel are the largest thing in any.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

type Config = Configuration<LittleEndian, Fixint, Limit<MAX_MESSAGE_BYTES>>;

const CONFIG: Config =
    config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_MESSAGE_BYTES>();

/// Why bytes are no message, or a message can't be bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The message is longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message doesn't fit into {MAX_MESSAGE_BYTES} bytes: {cause}")]
    Encode {
        /// What the encoder says.
        cause: String,
    },
    /// The bytes aren't a message of this version.
    #[error("{bytes} bytes are no message: {cause}")]
    Decode {
        /// How many there were.
        bytes: usize,
        /// What the decoder says.
        cause: String,
    },
    /// A message, and then more.
    #[error("{extra} bytes follow a message")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// A message as bytes.
///
/// # Errors
/// It is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, CONFIG)
        .map_err(|error| CodecError::Encode { cause: error.to_string() })?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(CodecError::Encode { cause: format!("it has {}", bytes.len()) });
    }
    Ok(bytes)
}

/// The longest that is kept in a file of our own.
pub const MAX_LONG_BYTES: usize = 1 << 30;

const LONG_CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_LONG_BYTES>> =
    config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_LONG_BYTES>();

/// Something that is kept in a file of our own, as bytes.
///
/// # Errors
/// It is longer than [`MAX_LONG_BYTES`].
pub fn encode_long<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let encoded = bincode::serde::encode_to_vec(value, LONG_CONFIG);
    encoded.map_err(|error| CodecError::Encode { cause: error.to_string() })
}

/// What these bytes of a file of our own are. Only for bytes whose checksum was right: what they say of lengths is believed.
///
/// # Errors
/// They are none, or more than one.
pub fn decode_long<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, LONG_CONFIG)
        .map_err(|error| CodecError::Decode { bytes: bytes.len(), cause: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { extra }),
    }
}

/// The message that these bytes are.
///
/// # Errors
/// They are none, or more than one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|error| CodecError::Decode { bytes: bytes.len(), cause: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(message),
        extra => Err(CodecError::Trailing { extra }),
    }
}

/// As [`encode`], with numbers as long as they need to be: for what is kept in great numbers. A third of the bytes, and slower.
///
/// # Errors
/// It is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode_compact<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = postcard::to_allocvec(value).map_err(|error| CodecError::Encode { cause: error.to_string() })?;
    match bytes.len() {
        length if length > MAX_MESSAGE_BYTES => Err(CodecError::Encode { cause: format!("it has {length}") }),
        _ => Ok(bytes),
    }
}

/// What [`encode_compact`] has made into these bytes.
///
/// # Errors
/// They are none, or more than one.
pub fn decode_compact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes)
        .map_err(|error| CodecError::Decode { bytes: bytes.len(), cause: error.to_string() })?;
    match rest.len() {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { extra }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{CommandJob, CommandTask, ProcessEnd, Secret, Word, Workdir};
    use crate::files::{BlobId, Content, Entry, EntryKind, FileSet, OutputPattern};
    use crate::id::{AttemptId, Epoch, JobId, TaskId};
    use crate::message::{Configure, Held, HeldState, Outcome, Part, ResultSummary, ToAgent, ToManager, Work};

    fn attempt() -> AttemptId {
        AttemptId { epoch: Epoch(1), number: 2 }
    }

    fn configure() -> Configure {
        let (batch, host) = ("b".to_owned(), "h".to_owned());
        Configure { batch, host, slots: 2, heartbeat_ms: 3, lease_ms: 4, cache_bytes: 5, reports_load: true }
    }

    fn command_job() -> CommandJob {
        CommandJob {
            name: "j".into(),
            env: vec![(vec![1], Secret(vec![2]))],
            setup: Some(Secret(vec![3])),
            workdir: Workdir::Folder(vec![4]),
            timeout_ms: 5,
            kill_after_ms: 6,
            nice: 7,
            cpus: 8,
            memory_bytes: 9,
            resources: vec![("r".into(), 10)],
            captures: true,
        }
    }

    fn command_task() -> CommandTask {
        let words = vec![Word { text: vec![1], slot_at: vec![2] }];
        let outputs = vec![OutputPattern { text: vec![6], is_glob: true }];
        let inputs = vec![FileSet::Job(JobId(7)), FileSet::Attempt(attempt())];
        CommandTask {
            words,
            number: 9,
            env: vec![(vec![3], Secret(vec![4]))],
            folder: None,
            stdin: Some(vec![5]),
            inputs,
            outputs,
        }
    }

    fn entries() -> Vec<Entry> {
        let entry = |kind| Entry { place: vec![1], mode: 2, mtime_ns: 3, kind };
        let file = |content| EntryKind::File { bytes: 4, content };
        vec![
            entry(file(Content::Blob(BlobId([5; 32])))),
            entry(file(Content::Here(vec![6]))),
            entry(file(Content::Follows)),
            entry(EntryKind::Folder),
            entry(EntryKind::Link { target: vec![7] }),
        ]
    }

    fn process() -> Option<ProcessEnd> {
        Some(ProcessEnd { exit: Some(1), signal: Some(2), wall_us: 3, cpu_us: 4, max_rss_bytes: 5 })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_to_agents_keep_their_bytes_within_a_protocol_version() {
        let task = TaskId { job: JobId(3), index: 4 };
        let work = Work::Kernel { name: "m".into(), params: vec![9], timeout_ms: 0 };
        let golden = [
            (
                ToAgent::Configure(configure()),
                "000000000100000000000000620100000000000000680200000003000000000000000400000000000000050000000000000001",
            ),
            (
                ToAgent::Job { job: JobId(3), work },
                "01000000030000000000000001000000000000006d0100000000000000090000000000000000",
            ),
            (
                ToAgent::Start { attempt: attempt(), task, tried: 5, part: Part::OfJob },
                "02000000010000000200000003000000040000000500000000000000",
            ),
            (
                ToAgent::Start { attempt: attempt(), task, tried: 5, part: Part::Run { params: vec![1], index: 2 } },
                "0200000001000000020000000300000004000000050000000100000001000000000000000102000000",
            ),
            (
                ToAgent::Start { attempt: attempt(), task, tried: 5, part: Part::Command(Box::new(command_task())) },
                "02000000010000000200000003000000040000000500000002000000010000000000000001000000000000000101000000000000000200000009000000000000000100000000000000010000000000000003010000000000000004000101000000000000000502000000000000000000000007000000010000000100000002000000010000000000000001000000000000000601",
            ),
            (
                ToAgent::Job { job: JobId(3), work: Work::Command(command_job()) },
                "01000000030000000100000001000000000000006a01000000000000000100000000000000010100000000000000020101000000000000000301000000010000000000000004050000000000000006000000000000000700000008000000090000000000000001000000000000000100000000000000720a00000001",
            ),
            (ToAgent::Recall { attempt: attempt() }, "030000000100000002000000"),
            (
                ToAgent::Adopt { attempt: attempt(), task, have: 7 },
                "08000000010000000200000003000000040000000700000000000000",
            ),
            (ToAgent::Forget { attempt: attempt() }, "090000000100000002000000"),
            (ToAgent::Cancel { attempt: attempt() }, "040000000100000002000000"),
            (ToAgent::Acknowledge { attempt: attempt() }, "050000000100000002000000"),
            (
                ToAgent::Files { set: FileSet::Job(JobId(3)), entries: entries() },
                "060000000000000003000000050000000000000001000000000000000102000000030000000000000000000000040000000000000000000000050505050505050505050505050505050505050505050505050505050505050501000000000000000102000000030000000000000000000000040000000000000001000000010000000000000006010000000000000001020000000300000000000000000000000400000000000000020000000100000000000000010200000003000000000000000100000001000000000000000102000000030000000000000002000000010000000000000007",
            ),
            (ToAgent::Piece { stream: 1, failure: Some("x".into()) }, "07000000010000000000000001010000000000000078"),
        ];
        for (message, bytes) in golden {
            assert_eq!(hex(&encode(&message).unwrap()), bytes, "{message:?}");
            assert_eq!(decode::<ToAgent>(&encode(&message).unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn messages_to_managers_keep_their_bytes_within_a_protocol_version() {
        let completed = Outcome::Completed(ResultSummary { bytes: 5, crc: 6, compute_us: 7 });
        let golden = [
            (ToManager::Started { attempt: attempt() }, "000000000100000002000000"),
            (
                ToManager::Finished { attempt: attempt(), outcome: completed, process: process() },
                "0100000001000000020000000000000005000000000000000600000007000000000000000101010000000102000000030000000000000004000000000000000500000000000000",
            ),
            (
                ToManager::Finished { attempt: attempt(), outcome: Outcome::failed("x"), process: None },
                "01000000010000000200000001000000010000000000000078000000000000",
            ),
            (
                ToManager::Finished { attempt: attempt(), outcome: Outcome::Cancelled, process: None },
                "0100000001000000020000000200000000",
            ),
            (ToManager::Recalled { attempt: attempt() }, "020000000100000002000000"),
            (
                ToManager::Holds {
                    held: vec![Held {
                        attempt: attempt(),
                        task: TaskId { job: JobId(3), index: 4 },
                        state: HeldState::Stops,
                        from: 5,
                    }],
                },
                "06000000010000000000000001000000020000000300000004000000010000000500000000000000",
            ),
            (ToManager::AlreadyStarted { attempt: attempt() }, "030000000100000002000000"),
            (ToManager::Load { load_hundredths: 1, free_memory_bytes: 2 }, "04000000010000000200000000000000"),
            (
                ToManager::Want { stream: 1, blob: BlobId([2; 32]), offset: 3, bytes: 4 },
                "050000000100000000000000020202020202020202020202020202020202020202020202020202020202020203000000000000000400000000000000",
            ),
        ];
        for (message, bytes) in golden {
            assert_eq!(hex(&encode(&message).unwrap()), bytes.replace(' ', ""), "{message:?}");
            assert_eq!(decode::<ToManager>(&encode(&message).unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn bytes_after_a_message_are_an_error() {
        let mut bytes = encode(&ToAgent::Recall { attempt: attempt() }).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<ToAgent>(&bytes), Err(CodecError::Trailing { extra: 1 })));
    }

    #[test]
    fn a_length_beyond_the_limit_is_an_error_and_no_allocation() {
        let mut bytes = vec![1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(u64::MAX.to_le_bytes());
        assert!(matches!(decode::<ToAgent>(&bytes), Err(CodecError::Decode { .. })));
        bytes.truncate(12);
        bytes.extend((1u64 << 40).to_le_bytes());
        assert!(matches!(decode::<ToAgent>(&bytes), Err(CodecError::Decode { .. })));
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused_before_it_is_sent() {
        let work = Work::Kernel { name: "m".into(), params: vec![0; MAX_MESSAGE_BYTES], timeout_ms: 0 };
        assert!(matches!(encode(&ToAgent::Job { job: JobId(0), work }), Err(CodecError::Encode { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<ToAgent>(&bytes);
            let _ = decode::<ToManager>(&bytes);
        }
    }
}
