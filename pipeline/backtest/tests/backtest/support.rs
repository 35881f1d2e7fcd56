//! Documents and ticks for tests, and a watcher that keeps all that it sees.

use backtest::document::LoadError;
use backtest::market::{RecordedMarket, Told};
use backtest::source::Source;
use backtest::{Backtest, Outcome, RunError, Watch, lines, run};
use bus::{Instruction, Score};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// 1e-9 units in one.
pub(crate) const UNIT: i64 = 1_000_000_000;

/// Says that a test cannot run here, past the harness's capture of output.
pub(crate) fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {why}\n").as_bytes());
}

/// The real file of one future, where the captures are.
pub(crate) fn es_file() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        skip("FEEDPLANE_CAPTURES is not set");
        return None;
    };
    Some(Path::new(&folder).join("databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"))
}

/// Keeps all that it sees, as the lines of the files.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) instructions: String,
    pub(crate) reports: String,
    pub(crate) scores: String,
    pub(crate) told: Vec<Told>,
    pub(crate) made: Vec<Instruction>,
}

impl Watch for Kept {
    fn instruction(&mut self, instruction: &Instruction) {
        self.instructions.push_str(&lines::instruction(instruction));
        self.made.push(instruction.clone());
    }

    fn report(&mut self, told: &Told) {
        self.reports.push_str(&lines::report(told));
        self.told.push(told.clone());
    }

    fn score(&mut self, score: &Score) {
        self.scores.push_str(&lines::score(score));
    }
}

/// Runs a backtest in the recorded market.
pub(crate) fn run_kept(backtest: &Backtest, source: &mut impl Source) -> Result<(Outcome, Kept), RunError> {
    let mut kept = Kept::default();
    let mut market = RecordedMarket::new(backtest.document.execution.queue);
    let outcome = run(backtest, source, &mut market, &mut kept)?;
    Ok((outcome, kept))
}

const RISK: &str = "
  total: {position_max: 100000, exposure_max: 1000000000, open_orders_max: 1000, messages_per_second: 1000, message_burst: 1000, drawdown_max: 100000000}
  default:
    collar_basis_points: 10000
    collar_price: '1000000'
    order_quantity_max: 10000
    order_notional_max: 1000000000
    position_max: 100000
    exposure_max: 1000000000
    open_orders_max: 1000
    messages_per_second: 1000
    message_burst: 1000
    duplicate_window_ms: 0
    quote_age_max_ms: 3600000
    drawdown_max: 100000000
  sessions: [{days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}]";

/// Writes documents into a folder and reads them: `strategies` and `backtest` are YAML, `features` too, if any.
pub(crate) fn backtest(strategies: &str, features: Option<&str>, document: &str) -> Backtest {
    try_backtest(strategies, features, document).unwrap()
}

/// The same, when it may be refused.
pub(crate) fn try_backtest(
    strategies: &str,
    features: Option<&str>,
    document: &str,
) -> Result<Backtest, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let head = "redis: unix:///nowhere\nhealth: {listen: '127.0.0.1:0'}\n";
    write("strategy.yaml", format!("{head}answer_within_ms: 60000\nrisk: {RISK}\nstrategies:\n{strategies}"));
    let mut document = format!("strategy: strategy.yaml\n{document}");
    if let Some(features) = features {
        write("features.yaml", format!("{head}{features}"));
        document.push_str("\nfeatures: features.yaml\n");
    }
    write("backtest.yaml", document);
    Backtest::load(&folder.path().join("backtest.yaml"))
}

/// Adds everything up again from the reports alone, in integers of 1e-9 (× 1e-9 for money), and compares. `multiplier` is of every
/// instrument.
pub(crate) fn recompute(backtest: &Backtest, outcome: &Outcome, kept: &Kept, multiplier: i128) {
    /// Position, cash (1e-9), fees (1e-9).
    #[derive(Default)]
    struct Sum {
        position: i128,
        cash: i128,
        fees: i128,
    }
    let fees = backtest.document.execution.fees;
    let mut sums: BTreeMap<(String, u32), Sum> = BTreeMap::new();
    let (mut fills, mut quantity, mut turnover, mut trips, mut won) = (0, 0, 0i128, 0, 0);
    let mut trip_from: BTreeMap<(String, u32), i128> = BTreeMap::new();
    for line in kept.reports.lines() {
        let report: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        if report["kind"] != "filled" {
            continue;
        }
        let key = (report["strategy"].clone(), report["instrument"].parse().unwrap());
        let last: i128 = report["last_quantity"].parse().unwrap();
        let price = i128::from(report["last_price"].parse::<tick::Price>().unwrap().0);
        let fee = if report["liquidity"] == "maker" { fees.maker_per_unit } else { fees.taker_per_unit };
        let signed = if report["side"] == "buy" { last } else { -last };
        let sum = sums.entry(key.clone()).or_default();
        // One share or contract after the other: the plainest way to find where a round trip ends.
        for _ in 0..last {
            let unit = signed.signum();
            let closes = sum.position.signum() == -unit;
            sum.position += unit;
            sum.cash -= unit * price * multiplier;
            sum.fees += i128::from(fee.0.0);
            if closes && sum.position == 0 {
                let from = trip_from.insert(key.clone(), sum.cash - sum.fees).unwrap_or(0);
                trips += 1;
                won += u64::from(sum.cash - sum.fees > from);
            }
        }
        fills += 1;
        quantity += last as u64;
        turnover += last * price.abs() * multiplier;
    }
    let mut gross = 0;
    for holding in &outcome.holdings {
        let sum = &sums[&(holding.strategy.clone(), holding.instrument_id)];
        assert_eq!(i128::from(holding.position), sum.position);
        let mark = holding.mark.as_ref().map_or(0, |mark| i128::from(mark.parse::<tick::Price>().unwrap().0));
        let its = sum.cash + sum.position * mark * multiplier;
        assert_eq!((holding.gross.0, holding.fees.0), (its * i128::from(UNIT), sum.fees * i128::from(UNIT)));
        gross += its;
    }
    assert_eq!(outcome.holdings.len(), sums.len());
    let paid: i128 = sums.values().map(|sum| sum.fees).sum();
    let scaled = |value: i128| value * i128::from(UNIT);
    let money = &outcome.money;
    assert_eq!(
        (money.gross.0, money.fees.0, money.net.0),
        (scaled(gross), scaled(paid), scaled(gross - paid))
    );
    assert_eq!(money.turnover.0, scaled(turnover));
    let trades = &outcome.trades;
    assert_eq!((trades.fills, trades.quantity), (fills, quantity));
    assert_eq!((trades.round_trips, trades.round_trips_won), (trips, won));
    let last = outcome.curve.last().unwrap();
    assert_eq!((last.net, last.gross, last.fees), (money.net, money.gross, money.fees));
    assert!(outcome.curve.iter().all(|point| point.net.0 == point.gross.0 - point.fees.0));
    // The curve does not show every moment, so the drawdown of the whole is at least its own.
    let (mut high, mut drawdown) = (0, 0);
    for point in &outcome.curve {
        high = high.max(point.net.0);
        drawdown = drawdown.max(high - point.net.0);
    }
    assert!(money.drawdown_max.0 >= drawdown);
    let lines = outcome.instructions_checksum.clone();
    let fnv = kept.instructions.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(lines, format!("{fnv:016x}"));
}
