//! The engine's state as bytes, so that a restart goes on with the same numbers.
//!
//! ```text
//! magic │ crc32 of the rest │ sets' id │ last number │ channels │ books │ instruments
//! ```
//!
//! Little-endian, doubles by their bits. Bytes of another version, of other sets or of a damaged copy are
//! refused; the service then begins anew.

use crate::bars::{Column, Forming};
use crate::engine::{Channel, Engine};
use crate::flow::{Quote, Session, Vpin};
use crate::instrument::{Instrument, Seat};
use crate::plan::Plan;
use crate::window::{Ema, Rsi};
use book::{Books, Limits, RestoreError};
use bus::config::FeatureSet;

/// Name and version of the format.
const MAGIC: [u8; 8] = *b"FPfeat01";
/// Bytes before what the checksum covers.
const HEAD: usize = MAGIC.len() + 4;

/// Why a state cannot be gone on with. Begin with a new engine then.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not written by this version.
    #[error("this is no state of this version's engine; begin anew")]
    Version,
    /// Not what was written.
    #[error("the state is damaged (its checksum differs); begin anew")]
    Damaged,
    /// Ends too early, or goes on after its end, or holds what no engine writes.
    #[error("the state is malformed at byte {offset}; begin anew")]
    Malformed {
        /// Where in the state.
        offset: usize,
    },
    /// Of other feature sets.
    #[error("the state is of other feature sets than the document's; begin anew")]
    OtherSets,
    /// The books' part.
    #[error("the state's books: {0}")]
    Books(#[from] RestoreError),
}

impl Engine {
    /// The state after the last tick.
    pub fn save(&self) -> Vec<u8> {
        let mut out = Writer(MAGIC.to_vec());
        out.0.extend([0; 4]);
        out.u64(sets_id(&self.plans));
        out.u64(self.number);
        let used = || self.channels.iter().enumerate().filter(|(_, channel)| **channel != Channel::default());
        out.u64(used().count() as u64);
        for (id, channel) in used() {
            out.u64(id as u64);
            out.u64(channel.gaps);
            out.u64(channel.clears);
        }
        let mut books = Vec::new();
        self.books.save(&mut books);
        out.u64(books.len() as u64);
        out.0.extend_from_slice(&books);
        out.u64(self.instruments.len() as u64);
        for instrument in &self.instruments {
            instrument.save(&self.plans, &mut out);
        }
        let checksum = crc32fast::hash(&out.0[HEAD..]);
        out.0[MAGIC.len()..HEAD].copy_from_slice(&checksum.to_le_bytes());
        out.0
    }

    /// An engine that goes on where [`Engine::save`] was called.
    ///
    /// # Errors
    /// [`StateError`]: the bytes are not a state of these sets, or not within these limits.
    pub fn restore(sets: &[FeatureSet], limits: Limits, bytes: &[u8]) -> Result<Engine, StateError> {
        if bytes.len() < HEAD || bytes[..MAGIC.len()] != MAGIC {
            return Err(StateError::Version);
        }
        if crc32fast::hash(&bytes[HEAD..]).to_le_bytes() != bytes[MAGIC.len()..HEAD] {
            return Err(StateError::Damaged);
        }
        let mut from = Reader { bytes, at: HEAD };
        let id = from.u64()?;
        let number = from.u64()?;
        let mut channels = Vec::new();
        for _ in 0..from.count(24)? {
            channels.push((from.u64()?, Channel { gaps: from.u64()?, clears: from.u64()? }));
        }
        let len = from.count(1)?;
        let books = Books::restore(from.take(len)?, limits)?;
        let mut engine = Engine::with_books(sets, books);
        if sets_id(&engine.plans) != id {
            return Err(StateError::OtherSets);
        }
        engine.number = number;
        for (id, channel) in channels {
            *usize::try_from(id).ok().and_then(|id| engine.channels.get_mut(id)).ok_or(from.malformed())? =
                channel;
        }
        let count = from.count(1)?;
        if count > engine.books.len() {
            return Err(from.malformed());
        }
        let keys: Vec<(u16, u32)> = engine.books.iter().take(count).map(|(_, book)| book.key()).collect();
        for key in keys {
            let mut instrument = Instrument::new(&engine.plans, key, Channel::default());
            instrument.restore(&engine.plans, &mut from)?;
            engine.instruments.push(instrument);
        }
        if from.at == bytes.len() { Ok(engine) } else { Err(from.malformed()) }
    }
}

/// FNV-1a (64 bits) over all that decides what the sets do.
fn sets_id(plans: &[Plan]) -> u64 {
    format!("{plans:?}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Instrument {
    fn save(&self, plans: &[Plan], out: &mut Writer) {
        if !self.is_covered() {
            return;
        }
        out.u64(self.now);
        out.u64(u64::from(self.channel_id));
        out.u64(self.channel.gaps);
        out.u64(self.channel.clears);
        out.flag(self.quote.is_some());
        let quote = self.quote.unwrap_or_default();
        out.i64(quote.bid_price);
        out.u64(quote.bid_size);
        out.i64(quote.ask_price);
        out.u64(quote.ask_size);
        out.flag(self.counts);
        out.flag(self.touched);
        for seat in &self.seats {
            seat.save(&plans[seat.set], out);
        }
    }

    fn restore(&mut self, plans: &[Plan], from: &mut Reader<'_>) -> Result<(), StateError> {
        if !self.is_covered() {
            return Ok(());
        }
        self.now = from.u64()?;
        self.channel_id = u16::try_from(from.u64()?).map_err(|_| from.malformed())?;
        self.channel = Channel { gaps: from.u64()?, clears: from.u64()? };
        let two_sided = from.flag()?;
        let quote = Quote {
            bid_price: from.i64()?,
            bid_size: from.u64()?,
            ask_price: from.i64()?,
            ask_size: from.u64()?,
        };
        self.quote = two_sided.then_some(quote);
        self.counts = from.flag()?;
        self.touched = from.flag()?;
        for seat in &mut self.seats {
            seat.restore(&plans[seat.set], from)?;
        }
        Ok(())
    }
}

impl Seat {
    fn save(&self, plan: &Plan, out: &mut Writer) {
        save_forming(&self.forming, out);
        out.u64(self.full.count);
        for column in self.full.columns() {
            out.doubles(column.last(plan.keep));
        }
        out.u64(self.clean_from);
        self.emas.iter().for_each(|ema| out.f64(ema.level));
        for rsi in &self.rsis {
            out.f64(rsi.gain);
            out.f64(rsi.loss);
        }
        for vpin in &self.vpins {
            save_vpin(vpin, out);
        }
        for session in &self.sessions {
            out.u64(session.begin);
            out.u64(session.end);
            out.u64(session.volume);
            out.i128(session.value);
            out.flag(session.gap);
        }
        self.values.iter().for_each(|&value| out.f64(value));
        out.flag(self.stale);
        out.flag(self.touched);
        out.flag(self.published);
        out.u64(self.begin);
        out.u64(self.end);
        out.u64(u64::from(self.quality));
        self.base.iter().for_each(|&value| out.f64(value));
    }

    fn restore(&mut self, plan: &Plan, from: &mut Reader<'_>) -> Result<(), StateError> {
        self.forming = restore_forming(from)?;
        self.full.count = from.u64()?;
        let kept = usize::try_from(self.full.count).unwrap_or(usize::MAX).min(plan.keep);
        for column in self.full.columns_mut() {
            let values = from.doubles()?;
            if values.len() != kept {
                return Err(from.malformed());
            }
            *column = Column::from_last(values);
        }
        self.clean_from = from.u64()?;
        for ema in &mut self.emas {
            *ema = Ema { level: from.f64()? };
        }
        for rsi in &mut self.rsis {
            *rsi = Rsi { gain: from.f64()?, loss: from.f64()? };
        }
        for (vpin, &(_, bucket, buckets)) in self.vpins.iter_mut().zip(&plan.vpins) {
            *vpin = restore_vpin(from, bucket, buckets)?;
        }
        for session in &mut self.sessions {
            *session = Session {
                begin: from.u64()?,
                end: from.u64()?,
                volume: from.u64()?,
                value: from.i128()?,
                gap: from.flag()?,
            };
        }
        for value in &mut self.values {
            *value = from.f64()?;
        }
        self.stale = from.flag()?;
        self.touched = from.flag()?;
        self.published = from.flag()?;
        self.begin = from.u64()?;
        self.end = from.u64()?;
        self.quality = u8::try_from(from.u64()?).map_err(|_| from.malformed())?;
        for value in &mut self.base {
            *value = from.f64()?;
        }
        Ok(())
    }
}

fn save_forming(forming: &Forming, out: &mut Writer) {
    out.u64(forming.trades);
    out.i64(forming.close);
    out.u64(forming.volume);
    out.i128(forming.value);
    out.u64(forming.bought);
    out.u64(forming.sold);
    out.i64(forming.flow);
    out.u64(forming.begin);
    out.u64(forming.end);
}

fn restore_forming(from: &mut Reader<'_>) -> Result<Forming, StateError> {
    Ok(Forming {
        trades: from.u64()?,
        close: from.i64()?,
        volume: from.u64()?,
        value: from.i128()?,
        bought: from.u64()?,
        sold: from.u64()?,
        flow: from.i64()?,
        begin: from.u64()?,
        end: from.u64()?,
    })
}

fn save_vpin(vpin: &Vpin, out: &mut Writer) {
    out.u64(vpin.filled);
    out.i64(vpin.signed);
    out.u64(vpin.count);
    out.u64(vpin.clean_from);
    out.u64(vpin.full.len() as u64);
    vpin.full.iter().for_each(|&imbalance| out.u64(imbalance));
}

fn restore_vpin(from: &mut Reader<'_>, bucket: u64, buckets: usize) -> Result<Vpin, StateError> {
    let (filled, signed) = (from.u64()?, from.i64()?);
    let (count, clean_from) = (from.u64()?, from.u64()?);
    let len = from.count(8)?;
    if filled >= bucket || signed.unsigned_abs() > filled || len > buckets {
        return Err(from.malformed());
    }
    let mut vpin = Vpin { filled, signed, count, clean_from, ..Vpin::default() };
    for _ in 0..len {
        let imbalance = from.u64()?;
        vpin.sum += u128::from(imbalance);
        vpin.full.push_back(imbalance);
    }
    Ok(vpin)
}

struct Writer(Vec<u8>);

impl Writer {
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn i128(&mut self, value: i128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }
    fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }
    fn doubles(&mut self, values: &[f64]) {
        self.u64(values.len() as u64);
        values.iter().for_each(|&value| self.f64(value));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn malformed(&self) -> StateError {
        StateError::Malformed { offset: self.at }
    }
    fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..len)).ok_or(self.malformed())?;
        self.at += len;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let malformed = self.malformed();
        self.take(N)?.try_into().map_err(|_| malformed)
    }
    fn u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn i64(&mut self) -> Result<i64, StateError> {
        Ok(i64::from_le_bytes(self.array()?))
    }
    fn i128(&mut self) -> Result<i128, StateError> {
        Ok(i128::from_le_bytes(self.array()?))
    }
    fn f64(&mut self) -> Result<f64, StateError> {
        Ok(f64::from_bits(self.u64()?))
    }
    fn flag(&mut self) -> Result<bool, StateError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.malformed()),
        }
    }
    /// A count of things that take at least `each` bytes, so that no more is believed than there can be.
    fn count(&mut self, each: usize) -> Result<usize, StateError> {
        let count = self.u64()?;
        let room = (self.bytes.len() - self.at) / each;
        usize::try_from(count).ok().filter(|&count| count <= room).ok_or(self.malformed())
    }
    fn doubles(&mut self) -> Result<Vec<f64>, StateError> {
        let count = self.count(8)?;
        (0..count).map(|_| self.f64()).collect()
    }
}
