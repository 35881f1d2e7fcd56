//! What the streams and keys are called, and which shard an instrument is in.

/// The stream of ticks, when it is not sharded.
pub const RAW_MARKET_DATA: &str = "raw_market_data";

/// The stream of calculated features. One for each shard of the ticks, named alike.
pub const CALCULATED_FEATURES: &str = "calculated_features";

/// The stream of orders to be sent.
pub const ORDER_INSTRUCTIONS: &str = "order_instructions";

/// The stream of what became of them.
pub const EXECUTION_REPORTS: &str = "execution_reports";

/// The stream of every message that a gateway sent and received, as bytes.
pub const DROP_COPY: &str = "drop_copy";

/// The stream whose last entry says whether there is trading ([`TradingState`](crate::TradingState)).
pub const TRADING_STATE: &str = "trading_state";

/// The stream of models' scores ([`Score`](crate::Score)).
pub const MODEL_SCORES: &str = "model_scores";

/// The stream that tells of a new version of a document.
pub const CONFIG_CHANGES: &str = "config_changes";

/// The hash of the newest version of a service's document ([`ConfigVersion`](crate::control::ConfigVersion)).
pub fn config_key(service: &str) -> String {
    format!("config:{service}")
}

/// The hash of what a service's processes run: member → JSON ([`ProcessReport`](crate::control::ProcessReport)).
pub fn processes_key(service: &str) -> String {
    format!("processes:{service}")
}

/// The hash of a model's versions: version → SHA-256 of the ONNX file, 64 hexadecimal digits.
pub fn model_versions_key(model: &str) -> String {
    format!("models:{model}")
}

/// The hash of one version of a model: `card` (JSON) and `onnx` (bytes).
pub fn model_key(model: &str, version: u64) -> String {
    format!("model:{model}:{version}")
}

/// The hash that holds, for every venue, how far its gateway's reports are in this stream of them: field = venue,
/// value = `token:n`, the lease of the gateway that wrote last and the number of its last report.
pub fn report_numbers_key(stream: &str) -> String {
    format!("{stream}:numbers")
}

/// The hash of feature schemas: schema id (hexadecimal) → JSON ([`FeatureSchema`](crate::FeatureSchema)).
pub const FEATURE_SCHEMAS: &str = "calculated_features:schemas";

/// The hash of an instrument's latest features: for each feature set its latest record's fields, as
/// `<set>.<field>`.
pub fn latest_features_key(publisher_id: u16, instrument_id: u32) -> String {
    format!("latest_features:{publisher_id}:{instrument_id}")
}

/// Most shards that one stream is divided into.
pub const SHARDS_MAX: u16 = 256;

/// The stream of a shard: the plain name when there is one shard, `name:{i}` otherwise. The braces are
/// Redis Cluster's hash tag.
///
/// ```
/// assert_eq!(bus::names::shard_stream("raw_market_data", 0, 1), "raw_market_data");
/// assert_eq!(bus::names::shard_stream("raw_market_data", 2, 4), "raw_market_data:{2}");
/// ```
pub fn shard_stream(stream: &str, shard: u16, shards: u16) -> String {
    if shards <= 1 { stream.to_owned() } else { format!("{stream}:{{{shard}}}") }
}

/// The shard that an instrument's ticks are in: `(instrument_id × 2654435769 mod 2³²) × shards / 2³²`.
///
/// Gaps and channel clears are in every shard; ticks about no instrument (id 0) are in shard 0.
#[inline]
pub const fn shard_of(instrument_id: u32, shards: u16) -> u16 {
    let spread = instrument_id.wrapping_mul(2_654_435_769) as u64;
    ((spread * shards as u64) >> 32) as u16
}

/// The hash that holds, for every channel, how far the stream goes: field = channel id,
/// value = [`crate::Position`].
pub fn positions_key(stream: &str) -> String {
    format!("{stream}:positions")
}

/// The hash of a venue's instruments: field = instrument id, value = JSON.
pub fn instruments_key(publisher_id: u16) -> String {
    format!("instruments:{publisher_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_share_and_none_beyond_the_last() {
        for shards in [1u16, 2, 3, 7, 256] {
            let mut seen = vec![0u32; usize::from(shards)];
            for id in 0..100_000u32 {
                seen[usize::from(shard_of(id, shards))] += 1;
            }
            let fair = 100_000 / u32::from(shards);
            assert!(seen.iter().all(|&n| n > fair * 9 / 10 && n < fair * 11 / 10), "{shards}: {seen:?}");
        }
        assert_eq!(shard_of(u32::MAX, 256), 97);
        assert_eq!(shard_of(0, 256), 0);
    }

    #[test]
    fn the_keys_are_those_of_the_contract() {
        assert_eq!(positions_key(RAW_MARKET_DATA), "raw_market_data:positions");
        assert_eq!(instruments_key(2), "instruments:2");
    }
}
