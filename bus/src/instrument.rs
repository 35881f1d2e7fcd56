//! The row of the instrument table: a field of the hash `instruments:<publisher>`.

use serde::{Deserialize, Serialize};
use tick::{Instrument, Price};

/// What the table says about one instrument, as JSON. Decimals are integers in 1e-9 units, as prices are
/// in ticks, so that no reader rounds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentRow {
    /// The symbol; empty when not known.
    pub symbol: String,
    /// Smallest price step, 1e-9 units; `null` when the venue does not say.
    pub tick_size: Option<i64>,
    /// Units of the underlying in one contract, 1e-9 units; `null` when the venue does not say.
    pub multiplier: Option<i64>,
    /// Shares or contracts in a round lot; 0 when the venue does not say.
    pub lot_size: u32,
    /// `equity`, `future`, `option`, `spread` or `unknown`.
    pub kind: String,
    /// Product group or asset; empty when not known.
    pub group: String,
    /// ISO 4217; empty when not known.
    pub currency: String,
    /// The channel its definition came on.
    pub channel_id: u16,
}

impl From<&Instrument> for InstrumentRow {
    fn from(instrument: &Instrument) -> InstrumentRow {
        let defined = |price: Price| (price != Price::UNDEFINED).then_some(price.0);
        InstrumentRow {
            symbol: instrument.symbol().to_owned(),
            tick_size: defined(instrument.tick_size),
            multiplier: defined(instrument.multiplier),
            lot_size: instrument.lot_size,
            kind: instrument.kind.name().to_owned(),
            group: instrument.group().to_owned(),
            currency: instrument.currency().to_owned(),
            channel_id: instrument.channel_id,
        }
    }
}

impl InstrumentRow {
    /// The JSON that is stored.
    pub fn to_json(&self) -> String {
        // Strings, integers and options: nothing in it can fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_what_is_known_and_says_null_for_what_is_not() {
        let mut instrument = Instrument::new(2, 3, 4);
        instrument.set_symbol(b"AAPL    ");
        instrument.tick_size = Price(10_000_000);
        let json = InstrumentRow::from(&instrument).to_json();
        assert_eq!(
            json,
            r#"{"symbol":"AAPL","tick_size":10000000,"multiplier":null,"lot_size":0,"kind":"unknown","group":"","currency":"","channel_id":3}"#
        );
        let back: InstrumentRow = serde_json::from_str(&json).unwrap();
        assert_eq!(back, InstrumentRow::from(&instrument));
    }
}
