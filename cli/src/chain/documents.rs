//! The documents of a chain: which features, how the model is trained, how it trades.

use super::Args;
use super::publish::Recording;
use anyhow::{Context, Result, ensure};
use bus::config::{FeatureSet, FeaturesDocument, PriceText};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// The name of the model, of its feature set and of its strategy.
pub(super) const NAME: &str = "chain";
/// How far the model looks ahead, ms. The middle of a liquid future seldom moves within one second in quiet hours.
const HORIZON_MS: u64 = 5_000;

/// The documents, and what is the same in several.
pub(super) struct Documents {
    pub(super) sets: Vec<FeatureSet>,
    features: String,
    symbol: String,
    window: [u64; 2],
    dbn: PathBuf,
    tick_size: String,
    multiplier: String,
}

impl Documents {
    pub(super) fn new(args: &Args, recording: &Recording) -> Result<Documents> {
        let text = |price: PriceText| String::from(price);
        let half_tick = args.tick_size.0.0 as f64 / 2e9;
        let features = features(half_tick);
        let sets = FeaturesDocument::parse(features.as_bytes()).context("the feature sets")?.sets;
        let dbn = recording.path.clone();
        let quoted = [dbn.to_str().context("the file's path is not UTF-8")?, &recording.row.symbol];
        ensure!(!quoted.iter().any(|text| text.contains('\'')), "a path or symbol with a quotation mark");
        Ok(Documents {
            sets,
            features,
            symbol: recording.row.symbol.clone(),
            window: recording.times_ns(),
            dbn,
            tick_size: text(args.tick_size),
            multiplier: text(args.multiplier),
        })
    }

    /// Writes `train.yaml` for this database. The trainer keeps it in the model's folder.
    pub(super) fn write_for_training(&self, database: &str, path: &Path) -> Result<()> {
        // The trainer takes whole seconds: from the first one on, up to and without the one after the last.
        let [first, last] = [self.window[0] / 1_000_000_000, self.window[1] / 1_000_000_000 + 1];
        let document = format!(
            "database: {database}
name: {NAME}
version: 1
data:
  instruments: ['{symbol}']
  set: {NAME}
  features: [spread, imbalance_1, imbalance_5, imbalance_10, ofi_1_1000ms, ofi_10_1000ms, trade_imbalance_10_1000ms,
             realised_volatility_30_1000ms]
  begin: {begin}
  end: {end}
  # Bars without trades are none: a quiet minute is no end of a session.
  silence_max_ms: 60000
  rows_min: 2000
label: {{horizon_ms: {HORIZON_MS}}}
# A short recording: three folds, and the last quarter set aside.
validation: {{folds: 3, final_fraction: 0.25}}
model: {{trees: 100, leaves: 7, learning_rate: 0.05, leaf_rows_min: 200}}
",
            symbol = self.symbol,
            begin = utc(first)?,
            end = utc(last)?,
        );
        std::fs::write(path, document).with_context(|| path.display().to_string())
    }

    /// Writes `features.yaml`, `strategy.yaml` and `backtest.yaml` beside the model.
    pub(super) fn write_for_backtest(&self, out: &Path, trade_from_ns: u64) -> Result<()> {
        let write = |name: &str, text: &str| {
            std::fs::write(out.join(name), text).with_context(|| out.join(name).display().to_string())
        };
        write("features.yaml", &self.features)?;
        write("strategy.yaml", &self.strategy())?;
        let backtest = format!(
            "source: {{dbn: {{path: '{dbn}'}}}}
features: features.yaml
strategy: strategy.yaml
models: [model]
instruments: {{'{symbol}': {{tick_size: '{tick_size}', multiplier: '{multiplier}'}}}}
# The first row that the model was not trained on.
trade_from_ns: {trade_from_ns}
execution:
  order_latency_us: 200
  report_latency_us: 200
  feature_latency_us: 50
  queue: by_order
  fees: {{maker_per_unit: '0.35', taker_per_unit: '1.18'}}
",
            dbn = self.dbn.display(),
            symbol = self.symbol,
            tick_size = self.tick_size,
            multiplier = self.multiplier,
        );
        write("backtest.yaml", &backtest)
    }

    fn strategy(&self) -> String {
        format!(
            "redis: unix:///run/redis/redis.sock
health: {{listen: '127.0.0.1:9104'}}
risk:
  total: {{position_max: 100, exposure_max: 1000000000, open_orders_max: 10, messages_per_second: 100, message_burst: 100,
          drawdown_max: 10000000}}
  default: {{collar_basis_points: 100, collar_price: '1000', order_quantity_max: 10, order_notional_max: 100000000,
            position_max: 10, exposure_max: 1000000000, open_orders_max: 10, messages_per_second: 100, message_burst: 100,
            duplicate_window_ms: 0, quote_age_max_ms: 60000, drawdown_max: 10000000}}
  sessions:
    - {{days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}}
strategies:
  - name: {NAME}
    venue: sim
    instruments: ['{symbol}']
    model:
      acting: {{name: {NAME}, version: 1}}
      # Crossing the spread and back costs more than half a basis point: a position is held for the horizon, unless the
      # score turns round.
      enter_bps: 0.25
      exit_bps: -0.25
      clip: 1
      position: 1
      hold_ms: {HORIZON_MS}
      pause_ms: 100
      feature_age_max_ms: {HORIZON_MS}
",
            symbol = self.symbol,
        )
    }
}

/// A record with every change of the middle, so that labels are exact, and one a second at least.
fn features(half_tick: f64) -> String {
    format!(
        "redis: unix:///run/redis/redis.sock
health: {{listen: '127.0.0.1:9102'}}
sets:
  - name: {NAME}
    bars: {{time_ms: 1000}}
    publish: {{every_ms: 250, on_change: [{{value: mid, by: {half_tick}}}]}}
    features: [mid, spread, imbalance: {{levels: 1}}, imbalance: {{levels: 5}}, imbalance: {{levels: 10}}, ofi: {{bars: 1}},
      ofi: {{bars: 10}}, trade_imbalance: {{bars: 10}}, realised_volatility: {{bars: 30}}]
"
    )
}

/// A time in whole seconds as RFC 3339, UTC.
fn utc(seconds: u64) -> Result<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds)?)?;
    let (hour, minute, second) = time.to_hms();
    Ok(format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date()))
}
