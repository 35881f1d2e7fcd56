//! The indicators against TA-Lib and numpy on the same series.

use crate::session::*;
use bus::config::{Bars, Feature};
use features::Engine;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::process::Command;
use tick::Side;

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/oracle.py");

/// Prices that wander, with pauses and jumps; about half of the trades bought.
fn wandering_market(seed: u64, trades: usize) -> Market {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut market = Market::new();
    let mut price = 480_000;
    for _ in 0..trades {
        price += random.random_range(-30..=30) * i64::from(random.random_range(0..3u32) > 0);
        let side = [Side::Bid, Side::Ask, Side::Bid, Side::Ask, Side::None][random.random_range(0..5)];
        market.wait(random.random_range(0..900) * MS);
        market.trade(cents(price), random.random_range(1..200), side);
    }
    market
}

fn features() -> Vec<Feature> {
    let mut features = Vec::new();
    for bars in [3, 14, 50] {
        features.extend([
            Feature::Sma { bars },
            Feature::Ema { bars },
            Feature::Rsi { bars },
            Feature::Bollinger { bars, deviations: 2.5 },
            Feature::RealisedVolatility { bars },
            Feature::Vwap { bars },
            Feature::TradeImbalance { bars },
            Feature::KyleLambda { bars },
            Feature::Amihud { bars },
        ]);
    }
    features.push(Feature::Vpin { bucket: 700, buckets: 20 });
    features.push(Feature::VwapSession { start_s: 0 });
    features
}

/// The session as a table: time, price, size, side; then after each trade the values.
fn table(bars: Bars, market: &Market) -> String {
    let sets = [set(Some(bars), &features())];
    let mut engine = Engine::new(&sets, limits());
    let mut text = match bars {
        Bars::Trades(n) => format!("trades {n}\n"),
        Bars::TimeMs(n) => format!("time_ms {n}\n"),
        Bars::Volume(n) => format!("volume {n}\n"),
    };
    let names: Vec<String> = engine.schemas()[0].features.iter().map(|value| value.name.clone()).collect();
    text.push_str(&names.join(" "));
    text.push('\n');
    for tick in &market.ticks {
        let record = feed(&mut engine, std::slice::from_ref(tick)).pop();
        let Some(record) = record else { continue };
        let _ = write!(text, "{} {} {} {}", tick.ts_recv, tick.price, tick.size, char::from(tick.side.0));
        for value in record.values() {
            let _ = write!(text, " {value:e}");
        }
        text.push('\n');
    }
    text
}

#[test]
fn indicators_agree_with_talib_and_numpy_over_every_kind_of_bar() {
    let Some(python) = std::env::var_os("FEEDPLANE_PYTHON") else {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set, no TA-Lib to compare with");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (seed, bars) in
        [(1, Bars::Trades(1)), (2, Bars::Trades(7)), (3, Bars::TimeMs(2_000)), (4, Bars::Volume(900))]
    {
        let path = folder.path().join("table.txt");
        std::fs::write(&path, table(bars, &wandering_market(seed, 3_000))).unwrap();
        let output = Command::new(&python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(ORACLE)
            .arg(&path)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{bars:?}: {out}{err}");
        assert!(out.contains("35 features agree"), "{bars:?}: {out}");
    }
}
