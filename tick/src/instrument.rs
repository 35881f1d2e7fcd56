//! What a venue says about an instrument; the row of the instrument table.

use crate::Price;

/// The kind of an instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum InstrumentKind {
    /// Not said.
    Unknown = 0,
    /// A share or an exchange-traded product.
    Equity = 1,
    /// A future.
    Future = 2,
    /// An option.
    Option = 3,
    /// A spread or another combination of instruments.
    Spread = 4,
}

impl InstrumentKind {
    /// The name in the instrument table.
    pub const fn name(self) -> &'static str {
        match self {
            InstrumentKind::Unknown => "unknown",
            InstrumentKind::Equity => "equity",
            InstrumentKind::Future => "future",
            InstrumentKind::Option => "option",
            InstrumentKind::Spread => "spread",
        }
    }
}

/// One instrument of one venue. Plain and of fixed size, so that a worker can hand it over a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instrument {
    /// Venue and dataset (DBN publisher id).
    pub publisher_id: u16,
    /// The channel its definition came on.
    pub channel_id: u16,
    /// The venue's own id.
    pub instrument_id: u32,
    /// Smallest price step in 1e-9 units; undefined when the venue does not say.
    pub tick_size: Price,
    /// Units of the underlying in one contract, in 1e-9 units; undefined when the venue does not say.
    pub multiplier: Price,
    /// Shares or contracts in a round lot; 0 when the venue does not say.
    pub lot_size: u32,
    /// The kind.
    pub kind: InstrumentKind,
    symbol: [u8; Instrument::SYMBOL_BYTES],
    group: [u8; Instrument::GROUP_BYTES],
    currency: [u8; Instrument::CURRENCY_BYTES],
}

impl Instrument {
    /// Longest symbol kept, bytes. CME's is 20, Nasdaq's 8.
    pub const SYMBOL_BYTES: usize = 24;
    /// Longest product group or asset code kept, bytes.
    pub const GROUP_BYTES: usize = 8;
    /// ISO 4217 code, bytes.
    pub const CURRENCY_BYTES: usize = 4;

    /// An instrument of which only the id is known.
    pub const fn new(publisher_id: u16, channel_id: u16, instrument_id: u32) -> Instrument {
        Instrument {
            publisher_id,
            channel_id,
            instrument_id,
            tick_size: Price::UNDEFINED,
            multiplier: Price::UNDEFINED,
            lot_size: 0,
            kind: InstrumentKind::Unknown,
            symbol: [0; Instrument::SYMBOL_BYTES],
            group: [0; Instrument::GROUP_BYTES],
            currency: [0; Instrument::CURRENCY_BYTES],
        }
    }

    /// Sets the symbol from wire bytes: trailing spaces and NULs are dropped, the rest is cut to
    /// [`Instrument::SYMBOL_BYTES`].
    pub fn set_symbol(&mut self, wire: &[u8]) {
        copy_trimmed(&mut self.symbol, wire);
    }

    /// Sets the product group or asset from wire bytes.
    pub fn set_group(&mut self, wire: &[u8]) {
        copy_trimmed(&mut self.group, wire);
    }

    /// Sets the currency from wire bytes.
    pub fn set_currency(&mut self, wire: &[u8]) {
        copy_trimmed(&mut self.currency, wire);
    }

    /// The symbol; empty when unknown or not ASCII.
    pub fn symbol(&self) -> &str {
        text(&self.symbol)
    }

    /// The product group or asset; empty when unknown.
    pub fn group(&self) -> &str {
        text(&self.group)
    }

    /// The currency; empty when unknown.
    pub fn currency(&self) -> &str {
        text(&self.currency)
    }
}

fn copy_trimmed<const N: usize>(to: &mut [u8; N], wire: &[u8]) {
    let end = wire.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    let kept = end.min(N);
    *to = [0; N];
    to[..kept].copy_from_slice(&wire[..kept]);
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    match core::str::from_utf8(&bytes[..end]) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_loses_its_padding_and_is_cut_at_the_bound() {
        let mut instrument = Instrument::new(1, 2, 3);
        instrument.set_symbol(b"AAPL    ");
        assert_eq!(instrument.symbol(), "AAPL");
        instrument.set_symbol(&[b'X'; 40]);
        assert_eq!(instrument.symbol().len(), Instrument::SYMBOL_BYTES);
        instrument.set_symbol(b"        ");
        assert_eq!(instrument.symbol(), "");
    }

    #[test]
    fn a_symbol_with_control_bytes_is_not_shown() {
        let mut instrument = Instrument::new(1, 2, 3);
        instrument.set_symbol(b"A\x1b[2J");
        assert_eq!(instrument.symbol(), "");
    }
}
