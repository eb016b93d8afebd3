//! Bits into bytes, the least significant first, as deflate has it.

/// The most bits that may be written between two flushes.
pub(super) const MOST_BITS: u32 = 56;

/// Appends bits to bytes.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// A writer that appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, count: 0 }
    }

    /// Adds the low `count` bits of `bits`, whose others are 0, to what [`BitWriter::flush`] will write.
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
        debug_assert!(self.count < 64, "more than MOST_BITS since the last flush");
    }

    /// Writes whole bytes; fewer than 8 bits stay.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let bytes = (self.count / 8) as usize;
        let length = self.out.len();
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        self.out.truncate(length + bytes);
        self.pending >>= bytes * 8;
        self.count %= 8;
    }

    /// Adds and writes.
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.add(bits, count);
        self.flush();
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.put(0, (8 - self.count % 8) % 8);
    }

    /// Appends whole bytes, after [`BitWriter::align`].
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0, "bytes start at a byte");
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_below() {
        let mut out = vec![7];
        let mut writer = BitWriter::new(&mut out);
        writer.add(0b1, 1);
        writer.add(0b01, 2);
        writer.flush();
        writer.put(0xabc, 12);
        writer.align();
        writer.put_bytes(&[9]);
        assert_eq!(out, [7, 0b1110_0011, 0b0101_0101, 9]);
    }

    #[test]
    fn the_most_bits_fit_after_a_flush() {
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        writer.put(0x7f, 7);
        writer.put((1 << MOST_BITS) - 1, MOST_BITS);
        writer.align();
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    }
}
