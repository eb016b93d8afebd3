//! Reading a file that a person wrote: a bounded number of bytes, which have to be text.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::ConfigError;

/// A file beyond this isn't a configuration: ten thousand hosts fit.
pub(crate) const MOST_FILE_BYTES: u64 = 1 << 20;

/// Reads `path`, which messages call `file`. `missing_hint` is what to try when it can't be read.
pub(crate) fn read_text(path: &Path, file: &str, missing_hint: &'static str) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| ConfigError::unreadable(file.to_owned(), &error, missing_hint))?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        return Err(ConfigError::TooLarge { file: file.to_owned(), most_bytes: MOST_FILE_BYTES });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        ConfigError::NotUtf8 { file: file.to_owned(), line, byte: error.as_bytes()[good] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cluster.toml");
        std::fs::write(&path, bytes).expect("written");
        read_text(&path, "cluster.toml", "none").expect_err("refused").to_string()
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        insta::assert_snapshot!(say(b"a = 1\nb = '\xff'\n"), @"error: cluster.toml is not UTF-8: byte 0xff on line 2 (hint: save it as UTF-8)");
    }

    #[test]
    fn a_file_that_never_ends_is_refused() {
        insta::assert_snapshot!(say(&vec![b'#'; (1 << 20) + 1]), @"error: cluster.toml is larger than 1.0 MiB (hint: is it the right file?)");
        let endless = read_text(Path::new("/dev/zero"), "/dev/zero", "none");
        assert!(matches!(endless, Err(ConfigError::TooLarge { .. })));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_refused_with_the_hint() {
        let say = |path: &str| read_text(Path::new(path), path, "name another").expect_err("refused").to_string();
        insta::assert_snapshot!(say("/no/such.toml"), @"error: cannot read /no/such.toml: No such file or directory (hint: name another)");
        insta::assert_snapshot!(say("/"), @"error: cannot read /: Is a directory (hint: name another)");
    }
}
