//! `feedplane demo`: `feedplane up` in a network namespace of its own, with an exchange that is traded on and further
//! channels (or a capture) on two bad lines, and at the end a report that must add up: from what was sent to what is
//! in the archive, and from what was decided to what the exchange's own books say.
//!
//! ```text
//!  exchange ─ feed A, B ─► data plane ─► Redis ─► features, strategy ─► gateway ─ OUCH ─► exchange
//!  session  ─ feed A, B ─►                   └──► archive
//! ```
//!
//! A control plane runs beside it: while the market is open, the console shows all of it and changes it. On a terminal the
//! market is open until it is told to close; then comes the report.
//!
//! Nothing is left behind: the namespace, the services, their databases and the folder end with this
//! process, also on Ctrl-C. (After SIGKILL the folder stays.)

#![allow(clippy::print_stdout, reason = "printing is what a demo does")]

mod account;
mod archive;
mod book_view;
mod door;
mod exchange;
mod look;
mod orders;
mod table;
mod world;

use crate::play::feeds_file;
use anyhow::{Context, Result, ensure};
use bus::config::FeedsDocument;
use exchange::Exchange;
use lab::network::Network;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use table::Table;
use venue::account::{ChannelReport, Report};
use venue::capture::Capture;
use venue::impair::{Impairment, LineImpairment};
use venue::live_report::LiveReport;
use venue::play::{RealClock, play};
use venue::recorded::Recorded;
use venue::script::{Pace, Script};
use venue::send::{Outlet, RawOutlet, RawTarget, UdpOutlet};
use venue::session::{Channel, Source};
use venue::synthetic::{SessionEnd, Synthetic, SyntheticSpec};
use world::World;

/// How long the market is open on a terminal, s, unless it is told to close before: the account is made of all that was sent,
/// in memory, some 300 KB a second.
const OPEN_SECONDS_MAX: u64 = 1_800;
/// Says how long the market is open, s.
const OPEN_SECONDS: &str = "FEEDPLANE_DEMO_SECONDS";
/// Between two looks at the data plane.
const TURN: Duration = Duration::from_millis(500);
/// What is done to the lines unless said otherwise: 1 % and 2 % lost, some twice, late, overtaken, damaged.
const IMPAIR_A: &str = "a:loss=0.01,duplicate=0.001,reorder=0.01/3,corrupt=0.0005";
const IMPAIR_B: &str = "b:loss=0.02,burst=0.0002/20,skew=150us,jitter=50us,corrupt=0.0005";

/// Runs an exchange and plays further channels on two impaired lines, takes them off the wire by XDP, publishes to a
/// private Redis, calculates features, trades by three strategies, archives everything, shows it live and proves at
/// the end that it adds up.
///
/// As root it works in a network namespace with veth pairs of its own. Without the rights it runs on kernel
/// sockets over loopback, and says so.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play this capture (pcap or pcapng, gzip too) instead of a made-up session.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// CME's SBE template XML, for a capture of MDP 3.0.
    #[arg(long, value_name = "FILE", requires = "capture")]
    schema: Option<PathBuf>,
    /// Channels beside the exchange's, of a made-up session.
    #[arg(long, default_value_t = 2, conflicts_with = "capture")]
    channels: u16,
    /// Messages a second of the made-up session, over all its channels.
    #[arg(long, default_value_t = 60_000.0, conflicts_with = "capture")]
    rate: f64,
    /// Messages a second of the exchange, which take more time than those of a session: they are matched.
    #[arg(long, default_value_t = 4_000.0, conflicts_with = "capture")]
    exchange_rate: f64,
    /// Seconds that the made-up session lasts. The exchange stays open until Ctrl-C, or for $FEEDPLANE_DEMO_SECONDS;
    /// without a terminal it closes with the session.
    #[arg(long, default_value_t = 15, conflicts_with = "capture")]
    seconds: u64,
    /// Packets a second at which a capture is played; its own timing when left out.
    #[arg(long, value_name = "PPS", requires = "capture")]
    pps: Option<f64>,
    /// Decides the session and what is lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is done to a line, as in `feedplane play`; once for each line. The exchange's line B loses nothing.
    #[arg(long, value_name = "LINE:WHAT", default_values = [IMPAIR_A, IMPAIR_B])]
    impair: Vec<LineImpairment>,
}

/// How long the market is open, and with it the console.
fn open_seconds(args: &Args) -> Result<u64> {
    let least = if args.capture.is_some() { 0 } else { args.seconds };
    match std::env::var(OPEN_SECONDS) {
        Ok(text) => text.parse().with_context(|| format!("${OPEN_SECONDS} is {text:?}; give seconds")),
        Err(_) if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => {
            Ok(OPEN_SECONDS_MAX.max(least))
        }
        Err(_) => Ok(least),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let open_seconds = open_seconds(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends it at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).context("signals")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals")?;
    }
    let mut world = World::new()?;
    let feeds = world.path("feeds.yaml");
    match &args.capture {
        Some(path) => {
            let open = || Capture::open(path).with_context(|| path.display().to_string());
            let channels = feeds_file::channels(None, path)?;
            let firsts = feeds_file::first_sequences(Recorded::new(open()?, channels.clone()));
            let schema = args.schema.as_ref().map(std::path::absolute).transpose()?;
            feeds_file::write(&feeds, &channels, schema.as_deref(), &firsts)?;
            wait_longer(&feeds)?;
            let pace = args.pps.map_or(Pace::Recorded { speed: 1.0 }, Pace::PacketsPerSecond);
            show(args, world, Recorded::new(open()?, channels), pace, None, open_seconds, &stop)
        }
        None => {
            let session = Synthetic::new(&spec(args, args.seconds.min(open_seconds), &world))?;
            let exchange = exchange::open(args, open_seconds, &mut world, &stop)?;
            let channels = [session.channels(), exchange.channels()].concat();
            feeds_file::write_for_synthetic(&feeds, &channels)?;
            wait_longer(&feeds)?;
            exchange::publish_apart(&feeds)?;
            show(args, world, session, Pace::Recorded { speed: 1.0 }, Some(exchange), open_seconds, &stop)
        }
    }
}

/// The venue sends both lines from one thread of a machine that it shares with everything else: when it is
/// held up, a line is late by what no network does. So the demo waits longer for the other line than a
/// trading desk would.
fn wait_longer(feeds: &Path) -> Result<()> {
    let mut document = FeedsDocument::load(feeds)?;
    for feed in &mut document.feeds {
        feed.gap_timeout_us = 200_000;
        feed.window_packets = 16_384;
    }
    Ok(std::fs::write(feeds, serde_saphyr::to_string(&document)?)?)
}

fn spec(args: &Args, seconds: u64, world: &World) -> SyntheticSpec {
    let end = SessionEnd::Duration(seconds * 1_000_000_000);
    let mut spec = SyntheticSpec::new(end, args.seed);
    spec.channels = args.channels;
    spec.messages_per_s = args.rate;
    if !world.is_private() {
        spec.destinations = loopback([31_001, 32_001]);
    }
    spec
}

/// Where lines go over loopback; groups need a network of one's own.
fn loopback(ports: [u16; 2]) -> [Option<SocketAddrV4>; 2] {
    ports.map(|port| Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))
}

/// What was played.
struct Played {
    channels: Vec<ChannelReport>,
    /// What the exchange says of itself.
    exchange: Option<LiveReport>,
}

fn show<S: Source + Send>(
    args: &Args,
    mut world: World,
    session: S,
    pace: Pace,
    exchange: Option<Exchange>,
    open_seconds: u64,
    stop: &AtomicBool,
) -> Result<()> {
    let trades = exchange.is_some();
    let exchange_channels = exchange.as_ref().map_or(&[][..], |exchange| exchange.channels());
    let channels = [session.channels(), exchange_channels].concat();
    let impairments = impairments(args, world.is_private());
    println!("feedplane demo");
    println!("  network     {}", world.describe());
    println!("  lines       A: {}\n              B: {}", told(&impairments[0]), told(&impairments[1]));
    println!("  archive     {}", world.describe_archive());
    if let Some(exchange) = &exchange {
        println!("  exchange    takes orders on {}, OUCH 5.0 over SoupBinTCP", exchange.address());
    }
    world.start(stop)?;
    if stop.load(Ordering::Relaxed) {
        println!("\nstopped before it began, as asked");
        return Ok(());
    }
    println!("  data plane  {}", world.describe_dataplane()?);
    let (console, token) = world.console()?;
    println!("  console     {console}/   token {token}");
    println!(
        "              export FEEDPLANE_API={console} FEEDPLANE_TOKEN={token}   for `feedplane top` and others"
    );
    let seconds = if std::io::stdin().is_terminal() { ", or until Ctrl-C" } else { "" };
    println!("              open for {open_seconds} s{seconds}; then comes the report");
    println!();
    let script = Script::new(session, pace, impairments, args.seed);
    let open_until = Instant::now() + Duration::from_secs(open_seconds);
    let played = play_and_watch(&mut world, script, exchange, open_until, stop)?;
    let status = world.stop_dataplane()?;
    world.catch_up()?;
    let stream = look::read_stream(&world)?;
    let mut adds_up = account::print(&played.channels, &stream, &status)?;
    if let Some(exchange) = &played.exchange {
        adds_up &= orders::print(&world, exchange)?;
    }
    match world.archive()? {
        Ok(url) => {
            let mut redis = look::connect(&world)?;
            adds_up &= archive::print(url, &mut redis, &stream, &channels, trades)?;
        }
        Err(why) => println!("\nNo archive: {why}"),
    }
    look::latency(&status);
    look::stream(&world, &stream, &channels)?;
    let their_books = played.exchange.as_ref().map(|report| &report.books);
    adds_up &= book_view::print(&mut look::connect(&world)?, &stream, their_books)?;
    if stop.load(Ordering::Relaxed) {
        println!("\nstopped early, as asked; everything above is of what was sent until then");
    }
    world.stop();
    println!(
        "\nnothing is left behind: the namespace, the services and their data are gone with this process"
    );
    ensure!(adds_up, "the report does not add up");
    Ok(())
}

fn play_and_watch<S: Source + Send>(
    world: &mut World,
    mut script: Script<S>,
    exchange: Option<Exchange>,
    open_until: Instant,
    stop: &AtomicBool,
) -> Result<Played> {
    let network = world.network();
    std::thread::scope(|scope| {
        let session = scope.spawn(|| -> Result<Report> {
            let mut outlet = outlet(network.as_ref())?;
            Ok(play(&mut script, &mut outlet, &mut RealClock::start(), stop)?)
        });
        let exchange = exchange.map(Exchange::begin);
        let mut table = Table::new();
        let mut due = Instant::now();
        let closed = || match &exchange {
            // It closes by its own clock.
            Some(thread) => thread.is_finished(),
            None => Instant::now() >= open_until || stop.load(Ordering::Relaxed),
        };
        let ended = || session.is_finished() && closed();
        let mut watched = Ok(());
        while !ended() && watched.is_ok() {
            if Instant::now() >= due {
                due += TURN;
                watched = world.status().and_then(|status| table.show(&status, &world.describe_services()?));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if watched.is_err() {
            // Both must end for this process to end.
            stop.store(true, Ordering::Relaxed);
        }
        let session = session.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let exchange =
            exchange.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        watched?;
        let exchange = exchange.transpose()?;
        let mut channels = session?.channels;
        channels.extend(exchange.iter().flat_map(|report| report.feed.channels.clone()));
        Ok(Played { channels, exchange })
    })
}

/// The venue's way out, for the calling thread, which is in the network from now on: onto its ends of the veth pairs, or
/// over loopback.
fn outlet(network: Option<&Network>) -> Result<Box<dyn Outlet>> {
    Ok(match network {
        Some(network) => {
            network.enter_current_thread()?;
            let interfaces = world::VENUE_ENDS.map(|name| Some(name.to_owned()));
            Box::new(RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 1 })?)
        }
        None => Box::new(UdpOutlet::new([Ipv4Addr::LOCALHOST; 2], 1)?),
    })
}

fn impairments(args: &Args, raw: bool) -> [Impairment; 2] {
    let mut lines = [Impairment::default(), Impairment::default()];
    for LineImpairment { lines: wanted, impairment } in &args.impair {
        for (line, _) in lines.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted) {
            *line = impairment.clone();
            if !raw {
                // A UDP socket would compute a right checksum over flipped bits.
                line.corrupt = 0.0;
            }
        }
    }
    lines
}

/// An impairment in words.
fn told(impairment: &Impairment) -> String {
    let percent = |what: &str, probability: f64| {
        (probability > 0.0).then(|| format!("{:.4} % {what}", probability * 100.0).replace("00 %", " %"))
    };
    let parts = [
        percent("lost", impairment.loss),
        impairment
            .burst
            .and_then(|burst| percent(&format!("begin a burst of {}", burst.packets), burst.probability)),
        percent("sent twice", impairment.duplicate),
        impairment.reorder.and_then(|reorder| percent("overtaken", reorder.probability)),
        (impairment.skew_ns > 0).then(|| format!("{} µs late", impairment.skew_ns / 1_000)),
        percent("corrupted", impairment.corrupt),
        percent("cut", impairment.truncate),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "clean".into() } else { parts.join(", ") }
}

/// The name of a channel by its number.
fn name_of(channels: &[Channel], channel_id: u16) -> &str {
    channels.iter().find(|channel| channel.channel_id == channel_id).map_or("?", |channel| &channel.name)
}
