//! What was decided, what became of it, and what the exchange's own books say of it.

use super::look;
use super::world::World;
use anyhow::{Result, anyhow};
use bus::{Instruction, OrderSide, Report, ReportKind};
use hdrhistogram::Histogram;
use redis::{Connection, Value as Reply};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use venue::live_report::LiveReport;

/// Entries read by one XRANGE.
const PAGE: usize = 1_000;
/// How long the last answers may take after the close.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The reason of an answer to what was published again.
const REPEATED: &str = "repeated";
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// One strategy's orders.
#[derive(Default)]
struct Orders {
    instructions: u64,
    denied: u64,
    sent: u64,
    rejected: u64,
    replaced: u64,
    cancelled: u64,
    fills: u64,
    bought: u64,
    sold: u64,
}

/// What the streams say.
struct Streams {
    instructions: Vec<Instruction>,
    reports: Vec<Report>,
    repeated: Vec<Report>,
}

/// Prints the account of orders; whether it adds up.
pub(super) fn print(world: &World, exchange: &LiveReport) -> Result<bool> {
    let streams = wait_for_the_last_answer(&mut look::connect(world)?)?;
    by_strategy(&streams);
    let mut good = every_instruction_is_answered(&streams);
    good &= positions(&streams, exchange);
    latency(&streams)?;
    Ok(good)
}

/// Reads both streams until no order is open: the exchange has cancelled all at its close.
fn wait_for_the_last_answer(redis: &mut Connection) -> Result<Streams> {
    let end = Instant::now() + ANSWERS_WITHIN;
    loop {
        let streams = read(redis)?;
        if open_orders(&streams.reports) == 0 || Instant::now() > end {
            return Ok(streams);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Orders of which the last report says that something may still trade.
fn open_orders(reports: &[Report]) -> usize {
    let mut leaves = HashMap::new();
    for report in reports {
        match (report.kind, report.id, report.of) {
            // A cancel that somebody asked for has an id of its own.
            (ReportKind::Cancelled, _, Some(of)) => leaves.insert(of, report.leaves),
            (ReportKind::Replaced, Some(id), Some(of)) => {
                leaves.insert(of, 0);
                leaves.insert(id, report.leaves)
            }
            (_, Some(id), _) => leaves.insert(id, report.leaves),
            _ => None,
        };
    }
    leaves.values().filter(|leaves| **leaves > 0).count()
}

fn read(redis: &mut Connection) -> Result<Streams> {
    let mut streams = Streams { instructions: Vec::new(), reports: Vec::new(), repeated: Vec::new() };
    for_each(redis, bus::names::ORDER_INSTRUCTIONS, |fields| {
        streams.instructions.push(Instruction::parse(fields.iter().copied())?);
        Ok(())
    })?;
    for_each(redis, bus::names::EXECUTION_REPORTS, |fields| {
        let report = Report::parse(fields.iter().copied())?;
        // The answer to an instruction that was published again tells how it stands, nothing new.
        if report.reason == REPEATED {
            streams.repeated.push(report);
        } else {
            streams.reports.push(report);
        }
        Ok(())
    })?;
    Ok(streams)
}

fn for_each(
    redis: &mut Connection,
    stream: &str,
    mut take: impl FnMut(&[(&[u8], &[u8])]) -> Result<()>,
) -> Result<()> {
    let mut from = "-".to_owned();
    loop {
        let mut range = redis::cmd("XRANGE");
        range.arg(stream).arg(&from).arg("+").arg("COUNT").arg(PAGE);
        let reply: Reply = range.query(redis)?;
        let records = bus::records_of_range(&reply)?;
        let Some(last) = records.last() else { return Ok(()) };
        from = format!("({}", last.id);
        for record in &records {
            let fields =
                record.fields.as_ref().map_err(|error| anyhow!("{stream} {}: {error}", record.id))?;
            take(fields)?;
        }
    }
}

fn by_strategy(streams: &Streams) {
    let mut strategies = BTreeMap::<&str, Orders>::new();
    let mut denied = BTreeMap::<&str, u64>::new();
    for instruction in &streams.instructions {
        strategies.entry(&instruction.strategy).or_default().instructions += 1;
    }
    for report in &streams.reports {
        let orders = strategies.entry(&report.strategy).or_default();
        match report.kind {
            ReportKind::Denied => {
                orders.denied += 1;
                *denied.entry(&report.reason).or_default() += 1;
            }
            ReportKind::Sent => orders.sent += 1,
            ReportKind::Rejected => orders.rejected += 1,
            ReportKind::Replaced => orders.replaced += 1,
            ReportKind::Cancelled => orders.cancelled += 1,
            ReportKind::Filled => {
                orders.fills += 1;
                match report.side {
                    Some(OrderSide::Buy) => orders.bought += report.last_quantity,
                    _ => orders.sold += report.last_quantity,
                }
            }
            _ => {}
        }
    }
    println!("\nOrders, by strategy (from the streams)");
    println!(
        "  {:<12}{:>13}{:>9}{:>9}{:>9}{:>10}{:>10}{:>8}{:>9}{:>9}",
        "strategy",
        "instructions",
        "denied",
        "sent",
        "refused",
        "replaced",
        "cancelled",
        "fills",
        "bought",
        "sold"
    );
    for (name, orders) in &strategies {
        println!(
            "  {name:<12}{:>13}{:>9}{:>9}{:>9}{:>10}{:>10}{:>8}{:>9}{:>9}",
            orders.instructions,
            orders.denied,
            orders.sent,
            orders.rejected,
            orders.replaced,
            orders.cancelled,
            orders.fills,
            orders.bought,
            orders.sold
        );
    }
    let told: Vec<String> = denied.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    println!("  denied, by reason: {}", if told.is_empty() { "none".into() } else { told.join(", ") });
}

/// Each instruction has at least one report, and none was sent twice.
fn every_instruction_is_answered(streams: &Streams) -> bool {
    let mut sent = HashMap::new();
    let mut answered = HashMap::new();
    for report in &streams.reports {
        let Some(id) = report.id else { continue };
        answered.insert(id, ());
        if report.kind == ReportKind::Sent {
            *sent.entry(id).or_insert(0_u32) += 1;
        }
    }
    answered.extend(streams.repeated.iter().filter_map(|report| Some((report.id?, ()))));
    let silent = streams.instructions.iter().filter(|made| !answered.contains_key(&made.id)).count();
    let twice = sent.values().filter(|times| **times > 1).count();
    let open = open_orders(&streams.reports);
    println!(
        "  {} instructions without an answer, {twice} sent twice, {open} orders open after the close",
        silent
    );
    silent == 0 && twice == 0 && open == 0
}

/// The sums of the fills against the exchange's own.
fn positions(streams: &Streams, exchange: &LiveReport) -> bool {
    let mut ours = BTreeMap::<&str, i64>::new();
    for report in &streams.reports {
        let quantity = report.last_quantity as i64;
        let sign = if report.side == Some(OrderSide::Buy) { 1 } else { -1 };
        match report.kind {
            ReportKind::Filled => *ours.entry(&report.symbol).or_default() += sign * quantity,
            ReportKind::Broken => *ours.entry(&report.symbol).or_default() -= sign * quantity,
            _ => {}
        }
    }
    let Some(user) = exchange.users.first() else { return false };
    println!("\nPositions: the sums of our fills, and the exchange's own account");
    println!("  {:<12}{:>12}{:>12}{:>14}{:>14}  agrees", "symbol", "ours", "exchange's", "bought", "sold");
    let mut good = ours.keys().all(|symbol| user.symbols.contains_key(*symbol));
    for (symbol, ledger) in &user.symbols {
        let position = ours.get(symbol.as_str()).copied().unwrap_or(0);
        let agrees = position == ledger.position;
        good &= agrees;
        println!(
            "  {symbol:<12}{position:>12}{:>12}{:>14}{:>14}  {}",
            ledger.position,
            ledger.orders.shares_bought,
            ledger.orders.shares_sold,
            if agrees { "yes" } else { "NO" }
        );
    }
    println!(
        "  the exchange saw {} order ids twice and {} numbers twice; {} orders are open there",
        user.cl_ord_ids_repeated, user.user_ref_nums_repeated, user.open_orders
    );
    good && user.cl_ord_ids_repeated == 0 && user.user_ref_nums_repeated == 0 && user.open_orders == 0
}

/// From the arrival of the packet that caused an order to the order's way out.
fn latency(streams: &Streams) -> Result<()> {
    let made: HashMap<_, _> = streams.instructions.iter().map(|made| (made.id, made)).collect();
    let (mut decided, mut sent) = (histogram()?, histogram()?);
    for report in streams.reports.iter().filter(|report| report.kind == ReportKind::Sent) {
        let Some(instruction) = report.id.and_then(|id| made.get(&id)) else { continue };
        if instruction.cause_ns == 0 {
            continue;
        }
        decided.saturating_record(instruction.created_ns.saturating_sub(instruction.cause_ns));
        sent.saturating_record(report.time_ns.saturating_sub(instruction.cause_ns));
    }
    if sent.is_empty() {
        println!("\nNo order was sent that a tick caused");
        return Ok(());
    }
    println!("\nTick to order, from the packet's arrival to the order's way out ({} orders)", sent.len());
    let most = sent.iter_log(1_000, 2.0).map(|step| step.count_since_last_iteration()).max().unwrap_or(1);
    for step in sent.iter_log(1_000, 2.0).filter(|step| step.count_since_last_iteration() > 0) {
        let count = step.count_since_last_iteration();
        let bar = "█".repeat((count * 50).div_ceil(most) as usize);
        println!("  ≤ {:>9.1} µs {count:>8}  {bar}", step.value_iterated_to() as f64 / 1e3);
    }
    for (what, histogram) in [("decided", &decided), ("sent", &sent)] {
        let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1e3;
        println!(
            "  {what:<8} p50 {:.0} µs   p90 {:.0} µs   p99 {:.0} µs   p99.9 {:.0} µs",
            at(50.0),
            at(90.0),
            at(99.0),
            at(99.9)
        );
    }
    Ok(())
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(LATENCY_MAX_NS, 3)?)
}
