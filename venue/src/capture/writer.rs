//! Writes a pcap file: little-endian, nanoseconds, Ethernet.

use std::io::Write;

const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;

/// A pcap file being written. Buffers nothing itself.
#[derive(Debug)]
pub struct Writer<W: Write> {
    sink: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(mut sink: W) -> std::io::Result<Writer<W>> {
        let (version_major, version_minor) = (2u16, 4u16);
        let kept_bytes_max = super::MAX_PACKET_BYTES as u32;
        sink.write_all(&MAGIC_NANOS.to_le_bytes())?;
        sink.write_all(&version_major.to_le_bytes())?;
        sink.write_all(&version_minor.to_le_bytes())?;
        sink.write_all(&[0; 8])?;
        sink.write_all(&kept_bytes_max.to_le_bytes())?;
        sink.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
        Ok(Writer { sink })
    }

    /// Writes one whole frame with its time, ns since the Unix epoch (the format ends in the year 2106).
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, ts_ns: u64, frame: &[u8]) -> std::io::Result<()> {
        let bytes = frame.len() as u32;
        for field in [(ts_ns / 1_000_000_000) as u32, (ts_ns % 1_000_000_000) as u32, bytes, bytes] {
            self.sink.write_all(&field.to_le_bytes())?;
        }
        self.sink.write_all(frame)
    }

    /// Flushes and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.sink.flush()?;
        Ok(self.sink)
    }
}
