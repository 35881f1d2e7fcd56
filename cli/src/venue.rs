//! `feedplane venue`: a whole exchange for others to trade on: its feed on two lines, its order entry on a port.
//!
//! The glue between the command line and `venue::live`; what the exchange does is there.

mod files;

use crate::play::{feeds_file, parse_time, stop_on_signals};
use anyhow::{Result, bail};
use files::{ReportFile, write_atomically};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use venue::background::Background;
use venue::exchange::{ExchangeSpec, FlowSpec};
use venue::impair::{Impairment, LineImpairment};
use venue::live::{Live, LiveSpec};
use venue::live_report::LiveReport;
use venue::new_york;
use venue::order_entry::User;
use venue::send::{Outlet, RawOutlet, RawTarget, UdpOutlet};

/// From the begin to the open, ns: receivers see the directory before anything trades.
const PRE_OPEN_NS: u64 = 100_000_000;

const NOTES: &str = "\
The order entry speaks OUCH 5.0 over SoupBinTCP 3.00. Its port, and the name of the session, are printed and
written to the ready file as soon as it listens. Each start is a new session: its messages begin at 1 again.
Impairments are written as for `feedplane play`. The report has the account of the feed, what each user did with
positions and cash, and the books with digests; it is written again each second, always whole.
Ctrl-C or SIGTERM closes the market: orders are cancelled, the feed ends, clients are told the end of session.

Examples:
  feedplane venue --udp --user alice:secret --feeds-out feeds.yaml --ready-file ready.json --report venue.json
  feedplane venue --interface-a veth0 --interface-b veth1 --symbols 20 --rate 50000 --duration 600s \\
      --user gw1:secret --cancel-on-disconnect --order-port 26400 --impair both:loss=0.001
  feedplane venue --udp --background 12302019.NASDAQ_ITCH50 --user alice:secret";

/// Runs an exchange: takes orders, matches them with each other and with made-up ones, and sends its feed.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
#[group(skip)]
pub(crate) struct Args {
    /// Symbols S1, S2, …, each less busy than the one before.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "background")]
    symbols: u16,
    /// Decides the made-up orders and the impairments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages a second of the feed that made-up orders cause, over all symbols; 0: nobody trades but the users.
    #[arg(long, value_name = "MESSAGES", conflicts_with_all = ["activity", "background"])]
    rate: Option<f64>,
    /// How busy made-up orders are; 1: about 75 messages a second in the first symbol.
    #[arg(long, default_value_t = 1.0, conflicts_with = "background")]
    activity: f64,
    /// Instead of made-up orders, play those of a capture of ITCH 5.0, or of a file of Nasdaq's (gzip too).
    #[arg(long, value_name = "FILE")]
    background: Option<PathBuf>,
    /// Close after so much time; else when told to stop.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<u64>,
    #[command(flatten)]
    entry: Entry,
    #[command(flatten)]
    feed: FeedLines,
    /// Write the feeds file that a data plane needs to receive the feed.
    #[arg(long, value_name = "FILE")]
    feeds_out: Option<PathBuf>,
    /// Write the port, the session and the addresses as JSON as soon as orders are taken.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Write the report as JSON, each second and at the end.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Order entry")]
struct Entry {
    /// Take orders on this port; 0: one that is free.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    order_port: u16,
    /// Take orders on this address.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    order_address: Ipv4Addr,
    /// Who may log in: up to 6 and up to 10 characters. Once for each.
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Vec<User>,
    /// Cancel a user's orders when its connection is lost or logs out. A newer login of the same user cancels nothing.
    #[arg(long)]
    cancel_on_disconnect: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Feed")]
struct FeedLines {
    /// Send line A as raw frames on this interface (CAP_NET_RAW).
    #[arg(long, value_name = "INTERFACE", conflicts_with = "udp")]
    interface_a: Option<String>,
    /// Send line B as raw frames on this interface.
    #[arg(long, value_name = "INTERFACE", conflicts_with = "udp")]
    interface_b: Option<String>,
    /// Send by UDP sockets, from the interface with this address; one for both lines, or two with a comma.
    #[arg(long, value_name = "ADDRESS[,ADDRESS]", num_args = 0..=1, default_missing_value = "127.0.0.1",
          value_delimiter = ',', required_unless_present_any = ["interface_a", "interface_b"])]
    udp: Option<Vec<Ipv4Addr>>,
    /// VLAN id to tag raw frames with.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094), conflicts_with = "udp")]
    vlan: Option<u16>,
    /// Where line A is sent.
    #[arg(long, default_value = "239.77.1.1:31001", value_name = "ADDRESS:PORT")]
    group_a: SocketAddrV4,
    /// Where line B is sent.
    #[arg(long, default_value = "239.77.2.1:32001", value_name = "ADDRESS:PORT")]
    group_b: SocketAddrV4,
    /// What is done to a line; see `feedplane play --help`. Once for each line.
    #[arg(long, value_name = "LINE:WHAT")]
    impair: Vec<LineImpairment>,
}

/// What others need to begin.
#[derive(Serialize)]
struct Ready<'a> {
    pid: u32,
    order_address: SocketAddr,
    order_port: u16,
    session: String,
    users: Vec<&'a str>,
    symbols: Vec<&'a str>,
    group_a: Option<SocketAddrV4>,
    group_b: Option<SocketAddrV4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feeds: Option<&'a Path>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let FeedLines { interface_a, interface_b, udp, vlan, .. } = &args.feed;
    let Some(addresses) = udp else {
        let interfaces = [interface_a.clone(), interface_b.clone()];
        return run_on(args, RawOutlet::new(&RawTarget { interfaces, vlan: *vlan, ttl: 1 })?);
    };
    let interfaces = match addresses[..] {
        [both] => [both, both],
        [a, b] => [a, b],
        _ => bail!("--udp takes one address, or one for each line"),
    };
    run_on(args, UdpOutlet::new(interfaces, 1)?)
}

fn run_on(args: &Args, outlet: impl Outlet) -> Result<()> {
    let stop = stop_on_signals()?;
    let (spec, background) = spec(args)?;
    let mut live = Live::new(&spec, background, outlet)?;
    if let Some(path) = &args.feeds_out {
        feeds_file::write_for_synthetic(path, live.channels())?;
        feeds_file::wait_longer_than_the_skew(path, &spec.impairments)?;
    }
    announce(args, &spec, live.address())?;
    let report_file = args.report.as_deref().map(ReportFile::start).transpose()?;
    let report = live.run(&stop, |report| {
        if let Some(file) = &report_file {
            file.offer(report);
        }
    })?;
    if let Some(file) = report_file {
        file.finish(&report)?;
    }
    summary(&report);
    Ok(())
}

/// Says where orders are taken, on standard error and in the ready file.
fn announce(args: &Args, spec: &LiveSpec, address: SocketAddr) -> Result<()> {
    let session = String::from_utf8_lossy(spec.exchange.feed_session.trim_ascii()).into_owned();
    eprintln!("feedplane: takes orders on {address}, session {session}");
    let Some(path) = &args.ready_file else { return Ok(()) };
    let ready = Ready {
        pid: std::process::id(),
        order_address: address,
        order_port: address.port(),
        session,
        users: spec.users.iter().map(|user| user.name.as_str()).collect(),
        symbols: spec.exchange.listings.iter().map(|listing| listing.spec.name.as_str()).collect(),
        group_a: spec.exchange.destinations[0],
        group_b: spec.exchange.destinations[1],
        feeds: args.feeds_out.as_deref(),
    };
    write_atomically(path, &ready)
}

fn spec(args: &Args) -> Result<(LiveSpec, Option<Background>)> {
    let mut exchange = ExchangeSpec::new(args.symbols, args.seed);
    let mut background = None;
    if let Some(path) = &args.background {
        exchange.listings = Background::listings(path)?;
        exchange.flow = None;
        background = Some(Background::open(path, &exchange.listings, PRE_OPEN_NS)?);
    }
    exchange.flow = exchange.flow.and_then(|flow| flow_of(args, flow, &exchange.listings));
    exchange.pre_open_ns = PRE_OPEN_NS;
    exchange.duration_ns = args.duration.map(|duration_ns| PRE_OPEN_NS + duration_ns);
    exchange.begin_of_day_ns = new_york::since_midnight_ns();
    // Another session at each start, so that receivers and clients notice.
    let started_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    exchange.feed_session = wire::itch50::alpha(&format!("{started_s:010}"));
    let FeedLines { interface_a, interface_b, udp, group_a, group_b, .. } = &args.feed;
    let line = |to, interface: &Option<String>| (udp.is_some() || interface.is_some()).then_some(to);
    exchange.destinations = [line(*group_a, interface_a), line(*group_b, interface_b)];
    let mut users = args.entry.user.clone();
    for user in &mut users {
        user.cancel_on_disconnect = args.entry.cancel_on_disconnect;
    }
    let listen = SocketAddrV4::new(args.entry.order_address, args.entry.order_port);
    Ok((LiveSpec { exchange, impairments: impairments(args)?, listen, users }, background))
}

fn flow_of(args: &Args, flow: FlowSpec, listings: &[venue::exchange::Listing]) -> Option<FlowSpec> {
    let activity: f64 = listings.iter().map(|listing| listing.activity).sum();
    match args.rate {
        Some(rate) => (rate != 0.0).then(|| flow.with_events_per_s(rate, activity)),
        None => (args.activity != 0.0).then_some(FlowSpec { speed: args.activity, ..flow }),
    }
}

fn impairments(args: &Args) -> Result<[Impairment; 2]> {
    let mut lines: [Option<Impairment>; 2] = [None, None];
    for LineImpairment { lines: wanted, impairment } in &args.feed.impair {
        if args.feed.udp.is_some() && impairment.corrupt > 0.0 {
            bail!("a UDP socket computes a right checksum over flipped bits: corruption needs raw frames");
        }
        for (line, wanted) in lines.iter_mut().zip(wanted) {
            if *wanted && line.replace(impairment.clone()).is_some() {
                bail!("--impair is given twice for one line; write all of it in one, separated by commas");
            }
        }
    }
    Ok(lines.map(Option::unwrap_or_default))
}

/// In a few lines on standard error: the report has it all.
fn summary(report: &LiveReport) {
    let feed = &report.feed;
    eprintln!(
        "feedplane: closed after {:.1} s; {} messages of the feed, {} packets sent",
        feed.duration_s, feed.messages, feed.packets_sent
    );
    for user in &report.users {
        let orders = &user.total.orders;
        let rejected: u64 = orders.rejected.values().sum();
        eprintln!(
            "feedplane: {}: {} orders entered, {} accepted, {rejected} refused, {} executions, {} shares bought, {} \
             sold",
            user.user,
            orders.entered,
            orders.accepted,
            orders.executions,
            orders.shares_bought,
            orders.shares_sold
        );
    }
    if let Some(error) = report.background.as_ref().and_then(|background| background.error.as_ref()) {
        eprintln!("feedplane: the background's file was played up to its damage: {error}");
    }
}
