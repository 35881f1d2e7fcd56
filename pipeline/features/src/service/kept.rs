//! The state of a shard as it is kept in Redis: where reading goes on, how records are numbered, the feature sets that
//! led to it, and the engine. One value, so that its parts belong together.
//!
//! ```text
//!  0  8  magic and version "fpshrd02"
//!  8  4  CRC-32 of all that follows
//! 12  8  token of the lease it was written under
//! 20 16  stream id of the last entry that was read: ms, number
//! 36  8  newest ts_recv, ns
//! 44  1  numbering: 0 counting, 1 silent
//! 45 16  counting: offset, 0; silent: up to (ts_recv, ns), last number
//! 61  1  1 when the stream was trimmed before it was first read
//! 62  4  channels, then for each: id (2), last sequence number covered (8)
//!     …  length of the feature sets (4), the feature sets in JSON
//!     …  the engine, to the end
//! ```
//!
//! All little-endian. Whatever is not exactly that is refused whole.

use super::outbox::Numbering;
use bus::StreamId;
use bus::config::FeatureSet;

const MAGIC: [u8; 8] = *b"fpshrd02";
const CHECKED_FROM: usize = 12;

/// What is kept of a shard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) token: u64,
    pub(super) cursor: StreamId,
    pub(super) newest_ns: u64,
    pub(super) numbering: Numbering,
    pub(super) trimmed: bool,
    pub(super) channels: Vec<(u16, u64)>,
    /// Of the right shape, but not validated.
    pub(super) sets: Vec<FeatureSet>,
    pub(super) engine: Vec<u8>,
}

/// Why kept bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeptError {
    #[error("it is not a state of this version (`fpshrd02`)")]
    Version,
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it ends after {0} bytes, within its head")]
    Short(usize),
    #[error("its byte {0} is not 0 or 1")]
    Code(usize),
    #[error("its feature sets at byte {0} cannot be read")]
    Sets(usize),
}

impl Kept {
    pub(super) fn encode(&self) -> Vec<u8> {
        // A set is names and numbers: it can always be written.
        let sets = serde_json::to_vec(&self.sets).unwrap_or_default();
        let mut out = Vec::with_capacity(70 + 10 * self.channels.len() + sets.len() + self.engine.len());
        out.extend(MAGIC);
        out.extend([0; 4]);
        for number in [self.token, self.cursor.ms, self.cursor.seq, self.newest_ns] {
            out.extend(number.to_le_bytes());
        }
        let (code, one, two) = match self.numbering {
            Numbering::Counting { offset } => (0, offset, 0),
            Numbering::Silent { up_to_ns, last } => (1, up_to_ns, last),
        };
        out.push(code);
        out.extend(one.to_le_bytes());
        out.extend(two.to_le_bytes());
        out.push(u8::from(self.trimmed));
        out.extend((self.channels.len() as u32).to_le_bytes());
        for (channel_id, last) in &self.channels {
            out.extend(channel_id.to_le_bytes());
            out.extend(last.to_le_bytes());
        }
        out.extend((sets.len() as u32).to_le_bytes());
        out.extend(sets);
        out.extend(&self.engine);
        let checksum = crc32fast::hash(&out[CHECKED_FROM..]);
        out[8..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Kept, KeptError> {
        let mut rest = Bytes { whole: bytes, at: 0 };
        if rest.take::<8>()? != MAGIC {
            return Err(KeptError::Version);
        }
        let checksum = u32::from_le_bytes(rest.take()?);
        if crc32fast::hash(&bytes[CHECKED_FROM..]) != checksum {
            return Err(KeptError::Checksum);
        }
        let token = rest.u64()?;
        let cursor = StreamId { ms: rest.u64()?, seq: rest.u64()? };
        let newest_ns = rest.u64()?;
        let silent = rest.flag()?;
        let (one, two) = (rest.u64()?, rest.u64()?);
        let numbering = if silent {
            Numbering::Silent { up_to_ns: one, last: two }
        } else {
            Numbering::Counting { offset: one }
        };
        let trimmed = rest.flag()?;
        // Channels are 16 bits: more than that is not from here, and would be read until the bytes end.
        let count = u32::from_le_bytes(rest.take()?);
        let mut channels = Vec::new();
        for _ in 0..count {
            channels.push((u16::from_le_bytes(rest.take()?), rest.u64()?));
        }
        let length = u32::from_le_bytes(rest.take()?) as usize;
        let (at, whole) = (rest.at, KeptError::Short(bytes.len()));
        let (sets, engine) = bytes[at..].split_at_checked(length).ok_or(whole)?;
        let sets = serde_json::from_slice(sets).map_err(|_| KeptError::Sets(at))?;
        Ok(Kept { token, cursor, newest_ns, numbering, trimmed, channels, sets, engine: engine.to_vec() })
    }
}

struct Bytes<'a> {
    whole: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeptError> {
        let found = self.whole.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let found = *found.ok_or(KeptError::Short(self.whole.len()))?;
        self.at += N;
        Ok(found)
    }

    fn u64(&mut self) -> Result<u64, KeptError> {
        self.take().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, KeptError> {
        match self.take::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(KeptError::Code(self.at - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(numbering: Numbering) -> Kept {
        Kept {
            token: 1,
            cursor: StreamId { ms: 2, seq: 3 },
            newest_ns: 4,
            numbering,
            trimmed: true,
            channels: vec![(7, 8), (9, u64::MAX)],
            sets: serde_json::from_str(
                r#"[{"name": "a", "publish": {"every_ms": 1, "on_change": [{"value": "mid", "by": 0.1}]}, "features": ["mid"]}]"#,
            )
            .unwrap(),
            engine: vec![1, 2, 3],
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for numbering in
            [Numbering::Counting { offset: u64::MAX }, Numbering::Silent { up_to_ns: 5, last: 6 }]
        {
            let kept = kept(numbering);
            assert_eq!(Kept::parse(&kept.encode()), Ok(kept));
        }
    }

    #[test]
    fn what_is_cut_changed_or_of_another_version_is_refused() {
        let whole = kept(Numbering::Counting { offset: 0 }).encode();
        for length in 0..whole.len() {
            assert!(Kept::parse(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            let expected = if at < 8 { KeptError::Version } else { KeptError::Checksum };
            assert_eq!(Kept::parse(&changed), Err(expected), "{at}");
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_fail_otherwise_than_in_words() {
        let whole = kept(Numbering::Counting { offset: 0 }).encode();
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = Kept::parse(bytes);
            // Behind a checksum that fits, too.
            let mut fitting = [&whole[..CHECKED_FROM], bytes].concat();
            let checksum = crc32fast::hash(&fitting[CHECKED_FROM..]);
            fitting[8..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
            let _ = Kept::parse(&fitting);
        });
    }
}
