//! What is kept of a shard in Redis, so that a restart need not read the whole day: the books and what venues said
//! about trading, with the place in the stream that they belong to. One value, so that its parts belong together.
//!
//! ```text
//!  0  8  magic and version "fpstrt01"
//!  8  4  CRC-32 of all that follows
//! 12  8  token of the lease that it was written under
//! 20 16  stream id of the last entry that was read: ms, number
//! 36  8  newest ts_recv, ns
//! 44  1  1 when the stream was trimmed before it was first read
//! 45  4  channels, then for each: id (2), last sequence number covered (8)
//!     4  instruments, then for each: publisher (2), instrument (4), status (1, 255 = none), short sales restricted (1)
//!     4  channels with a state, then for each: id (2), status (1)
//!     …  the books, to the end
//! ```
//!
//! All little-endian. Whatever is not exactly that is refused whole. Orders and positions are not here: they are rebuilt from
//! their streams.

use bus::StreamId;
use bus::config::InstrumentKey;
use strategy::host::{MarketState, Said};
use tick::StatusAction;

const MAGIC: [u8; 8] = *b"fpstrt01";
const CHECKED_FROM: usize = 12;
const NO_STATUS: u8 = 255;

/// What is kept of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) token: u64,
    pub(super) cursor: StreamId,
    pub(super) newest_ns: u64,
    pub(super) trimmed: bool,
    pub(super) channels: Vec<(u16, u64)>,
    pub(super) market: MarketState,
    pub(super) books: Vec<u8>,
}

/// Why kept bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeptError {
    #[error("it is not a state of this version (`fpstrt01`)")]
    Version,
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it ends after {0} bytes, within its head")]
    Short(usize),
    #[error("its byte {0} is not 0 or 1")]
    Code(usize),
}

impl Kept {
    pub(super) fn encode(&self) -> Vec<u8> {
        let MarketState { instruments, channels } = &self.market;
        let mut out =
            Vec::with_capacity(64 + 10 * self.channels.len() + 8 * instruments.len() + self.books.len());
        out.extend(MAGIC);
        out.extend([0; 4]);
        for number in [self.token, self.cursor.ms, self.cursor.seq, self.newest_ns] {
            out.extend(number.to_le_bytes());
        }
        out.push(u8::from(self.trimmed));
        out.extend((self.channels.len() as u32).to_le_bytes());
        for (channel_id, last) in &self.channels {
            out.extend(channel_id.to_le_bytes());
            out.extend(last.to_le_bytes());
        }
        out.extend((instruments.len() as u32).to_le_bytes());
        for (key, said) in instruments {
            out.extend(key.publisher_id.to_le_bytes());
            out.extend(key.instrument_id.to_le_bytes());
            out.push(said.status.map_or(NO_STATUS, |status| status.0));
            out.push(u8::from(said.short_restricted));
        }
        out.extend((channels.len() as u32).to_le_bytes());
        for (channel_id, status) in channels {
            out.extend(channel_id.to_le_bytes());
            out.push(status.0);
        }
        out.extend(&self.books);
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
        let trimmed = rest.flag()?;
        let mut channels = Vec::new();
        // Counts are not believed: the bytes end first.
        for _ in 0..rest.u32()? {
            channels.push((rest.u16()?, rest.u64()?));
        }
        let mut market = MarketState::default();
        for _ in 0..rest.u32()? {
            let key = InstrumentKey { publisher_id: rest.u16()?, instrument_id: rest.u32()? };
            let status = match rest.take::<1>()? {
                [NO_STATUS] => None,
                [status] => Some(StatusAction(status)),
            };
            market.instruments.insert(key, Said { status, short_restricted: rest.flag()? });
        }
        for _ in 0..rest.u32()? {
            let (channel_id, [status]) = (rest.u16()?, rest.take::<1>()?);
            market.channels.insert(channel_id, StatusAction(status));
        }
        let books = bytes[rest.at..].to_vec();
        Ok(Kept { token, cursor, newest_ns, trimmed, channels, market, books })
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

    fn u16(&mut self) -> Result<u16, KeptError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, KeptError> {
        self.take().map(u32::from_le_bytes)
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

    fn kept() -> Kept {
        let key = |instrument_id| InstrumentKey { publisher_id: 2, instrument_id };
        let mut market = MarketState::default();
        market
            .instruments
            .insert(key(7), Said { status: Some(StatusAction::Trading), short_restricted: true });
        market.instruments.insert(key(9), Said::default());
        market.channels.insert(3, StatusAction::Halt);
        Kept {
            token: 1,
            cursor: StreamId { ms: 2, seq: 3 },
            newest_ns: 4,
            trimmed: true,
            channels: vec![(7, 8), (9, u64::MAX)],
            market,
            books: vec![1, 2, 3],
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        assert_eq!(Kept::parse(&kept().encode()), Ok(kept()));
    }

    #[test]
    fn what_is_cut_changed_or_of_another_version_is_refused() {
        let whole = kept().encode();
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
        let whole = kept().encode();
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
