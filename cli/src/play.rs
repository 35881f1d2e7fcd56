//! `feedplane play`: sends a capture or a made-up session on two lines, impaired as asked, and gives an exact
//! account of what was withheld.
//!
//! The glue between the command line, feeds files and the venue; what is sent and when is the venue's.

pub(crate) mod feeds_file;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use venue::account::Report;
use venue::capture::Capture;
use venue::impair::{Impairment, LineImpairment, parse_time_ns};
use venue::play::{RealClock, VirtualClock, play};
use venue::recorded::Recorded;
use venue::script::{Pace, Script};
use venue::send::{FileOutlet, RawOutlet, RawTarget, UdpOutlet};
use venue::session::{Channel, Protocol, Source};
use venue::synthetic::{SESSION_BEGIN_NS, SessionEnd, Synthetic, SyntheticSpec};

const NOTES: &str = "\
Impairments, comma-separated after the line that they are for (a:, b: or both:), each decided by the seed:
  loss=P                   each packet is lost with probability P
  burst=P/PACKETS          a packet begins a loss of so many in a row
  duplicate=P              sent twice
  reorder=P/PACKETS[/TIME] held back until so many packets overtook it, at most TIME (1ms)
  skew=TIME                the whole line is later by this
  jitter=TIME              each packet is later by up to this; the line stays in order
  corrupt=P                bits flipped under the old checksum (raw frames and files only)
  truncate=P               payload cut short, with a right checksum
  silence=TIME..TIME       nothing is sent between these times of the session; may stand more than once
TIME is a number with ns, us, ms or s. The packets that end a made-up session are never withheld.

Examples:
  feedplane play --capture day.pcap --feeds feeds.yaml --interface-a veth0 --interface-b veth1
  feedplane play --synthetic itch50 --rate 100000 --duration 30s --udp \\
      --impair both:loss=0.01 --impair b:skew=200us,reorder=0.05/3 --feeds-out feeds.yaml --report sent.json";

/// Sends a capture or a made-up session on two lines, impaired as asked.
///
/// At the end, or on Ctrl-C, it prints what was sent on each line, what was withheld and why, and the
/// sequence numbers that no line delivered: exactly those must a receiver declare lost.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
#[group(skip)]
pub(crate) struct PlayArgs {
    #[command(flatten)]
    what: What,
    /// Feeds file: which of the capture's destinations are sent, and on which line.
    #[arg(long, value_name = "FILE", requires = "capture")]
    feeds: Option<PathBuf>,
    /// The session's own timing (1), a multiple of it (2.5), so many packets a second (50000pps) or `flat`
    /// out.
    #[arg(long, default_value = "1", value_name = "SPEED", value_parser = parse_speed)]
    speed: Pace,
    /// What is done to a line; see below. Once for each line.
    #[arg(long, value_name = "LINE:WHAT")]
    impair: Vec<LineImpairment>,
    /// Decides the impairments and the made-up session.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the feeds file that a data plane needs to receive this session; for a made-up MDP 3.0 session
    /// also the template file that it names.
    #[arg(long, value_name = "FILE")]
    feeds_out: Option<PathBuf>,
    /// CME's SBE template XML, to be named in the feeds file written for a capture of MDP 3.0.
    #[arg(long, value_name = "FILE", requires = "feeds_out")]
    schema: Option<PathBuf>,
    /// Write the account as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    made_up: MadeUp,
    #[command(flatten)]
    way: Way,
    /// VLAN id to tag raw frames with.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094), conflicts_with = "udp")]
    vlan: Option<u16>,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Play this capture (pcap or pcapng, gzip too).
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Make a session up.
    #[arg(long, value_name = "PROTOCOL")]
    synthetic: Option<SyntheticProtocol>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SyntheticProtocol {
    /// Nasdaq TotalView-ITCH 5.0 over MoldUDP64.
    Itch50,
    /// CME MDP 3.0.
    Mdp3,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Made-up session")]
struct MadeUp {
    /// Channels.
    #[arg(long, default_value_t = 1, conflicts_with = "capture")]
    channels: u16,
    /// Symbols on each channel.
    #[arg(long, default_value_t = 100, conflicts_with = "capture")]
    symbols: u16,
    /// Messages a second, over all channels.
    #[arg(long, default_value_t = 10_000.0, value_name = "MESSAGES", conflicts_with = "capture")]
    rate: f64,
    /// Messages in a packet, on average.
    #[arg(long, default_value_t = 3.0, value_name = "MESSAGES", conflicts_with = "capture")]
    messages_per_packet: f64,
    /// End after so many messages over all channels.
    #[arg(long, conflicts_with_all = ["capture", "duration"])]
    messages: Option<u64>,
    /// End after so much time of the session.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_time, conflicts_with = "capture")]
    duration: u64,
    /// Where line A of the first channel is sent; further channels count up.
    #[arg(long, default_value = "239.77.1.1:31001", value_name = "ADDRESS:PORT", conflicts_with = "capture")]
    group_a: SocketAddrV4,
    /// Where line B of the first channel is sent.
    #[arg(long, default_value = "239.77.2.1:32001", value_name = "ADDRESS:PORT", conflicts_with = "capture")]
    group_b: SocketAddrV4,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "Way out")]
struct Way {
    /// Send line A as raw frames on this interface (CAP_NET_RAW).
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["udp", "write"])]
    interface_a: Option<String>,
    /// Send line B as raw frames on this interface.
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["udp", "write"])]
    interface_b: Option<String>,
    /// Send by UDP sockets, from the interface with this address; one for both lines, or two with a comma.
    #[arg(long, value_name = "ADDRESS[,ADDRESS]", num_args = 0..=1, default_missing_value = "127.0.0.1",
          value_delimiter = ',', conflicts_with = "write")]
    udp: Option<Vec<Ipv4Addr>>,
    /// Send nothing: write both lines to a pcap file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

pub(crate) fn run(args: &PlayArgs) -> Result<()> {
    let impairments = impairments(args)?;
    let report = match (&args.what.capture, args.what.synthetic) {
        (Some(path), _) => {
            let open = || Capture::open(path).with_context(|| path.display().to_string());
            let channels = feeds_file::channels(args.feeds.as_deref(), path)?;
            if let Some(feeds_out) = &args.feeds_out {
                let firsts = feeds_file::first_sequences(Recorded::new(open()?, channels.clone()));
                if args.schema.is_none() && channels.iter().any(|channel| channel.protocol == Protocol::Mdp3)
                {
                    bail!("a feeds file for MDP 3.0 names CME's template file; pass it with --schema");
                }
                // In the file, a path is relative to the file.
                let schema = args
                    .schema
                    .as_deref()
                    .map(|path| std::fs::canonicalize(path).with_context(|| path.display().to_string()));
                feeds_file::write(feeds_out, &channels, schema.transpose()?.as_deref(), &firsts)?;
                feeds_file::wait_longer_than_the_skew(feeds_out, &impairments)?;
            }
            let begin_ns = feeds_file::begin_ns(Recorded::new(open()?, channels.clone()));
            send(args, Recorded::new(open()?, channels), begin_ns, impairments)?
        }
        (None, Some(protocol)) => {
            let source = Synthetic::new(&spec(args, protocol))?;
            if let Some(feeds_out) = &args.feeds_out {
                feeds_file::write_for_synthetic(feeds_out, source.channels())?;
                feeds_file::wait_longer_than_the_skew(feeds_out, &impairments)?;
            }
            send(args, source, SESSION_BEGIN_NS, impairments)?
        }
        (None, None) => bail!("nothing to play"),
    };
    if let Some(path) = &args.report {
        let mut json = serde_json::to_vec_pretty(&report)?;
        json.push(b'\n');
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    write!(std::io::stdout().lock(), "{report}")?;
    match &report.source_error {
        Some(error) => bail!("the capture was played up to its damage {error}"),
        None => Ok(()),
    }
}

fn impairments(args: &PlayArgs) -> Result<[Impairment; 2]> {
    let mut lines: [Option<Impairment>; 2] = [None, None];
    for LineImpairment { lines: wanted, impairment } in &args.impair {
        if args.way.udp.is_some() && impairment.corrupt > 0.0 {
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

fn spec(args: &PlayArgs, protocol: SyntheticProtocol) -> SyntheticSpec {
    let MadeUp { channels, symbols, rate, messages_per_packet, messages, duration, group_a, group_b } =
        args.made_up;
    let end = messages.map_or(SessionEnd::Duration(duration), SessionEnd::Messages);
    let raw = args.way.udp.is_none() && args.way.write.is_none();
    let line = |to, interface: &Option<String>| (!raw || interface.is_some()).then_some(to);
    SyntheticSpec {
        protocol: match protocol {
            SyntheticProtocol::Itch50 => Protocol::Itch50,
            SyntheticProtocol::Mdp3 => Protocol::Mdp3,
        },
        channels,
        symbols,
        messages_per_s: rate,
        messages_per_packet,
        destinations: [line(group_a, &args.way.interface_a), line(group_b, &args.way.interface_b)],
        ..SyntheticSpec::new(end, args.seed)
    }
}

/// Plays a session the way that the command line chose. A file gets the times that the session had.
fn send<S: Source>(
    args: &PlayArgs,
    source: S,
    begin_ns: u64,
    impairments: [Impairment; 2],
) -> Result<Report> {
    let stop = stop_on_signals()?;
    let channels = source.channels().to_vec();
    let mut script = Script::new(source, args.speed, impairments, args.seed);
    if let Some(path) = &args.way.write {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut outlet = FileOutlet::new(BufWriter::new(file), begin_ns, args.vlan)?;
        let report = play(&mut script, &mut outlet, &mut VirtualClock::default(), &stop)?;
        outlet.finish()?;
        return Ok(report);
    }
    if let Some(addresses) = &args.way.udp {
        let interfaces = match addresses[..] {
            [both] => [both, both],
            [a, b] => [a, b],
            _ => bail!("--udp takes one address, or one for each line"),
        };
        let mut outlet = UdpOutlet::new(interfaces, 1)?;
        return Ok(play(&mut script, &mut outlet, &mut RealClock::start(), &stop)?);
    }
    let interfaces = [args.way.interface_a.clone(), args.way.interface_b.clone()];
    refuse_lines_without_interface(&channels, &interfaces)?;
    let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: args.vlan, ttl: 1 })?;
    Ok(play(&mut script, &mut outlet, &mut RealClock::start(), &stop)?)
}

fn refuse_lines_without_interface(channels: &[Channel], interfaces: &[Option<String>; 2]) -> Result<()> {
    for (line, name) in [(0, "a"), (1, "b")] {
        if interfaces[line].is_none()
            && let Some(channel) = channels.iter().find(|channel| channel.lines[line].is_some())
        {
            bail!("{} has a line {name}: name its interface with --interface-{name}", channel.name);
        }
    }
    Ok(())
}

/// Set by the first SIGINT or SIGTERM; a second one ends the process at once.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn parse_speed(text: &str) -> Result<Pace, String> {
    let number = |text: &str| f64::from_str(text).ok().filter(|number| number.is_finite() && *number > 0.0);
    let pace = match text.strip_suffix("pps") {
        Some(rate) => number(rate).map(Pace::PacketsPerSecond),
        None if text == "flat" => Some(Pace::FlatOut),
        None => number(text).map(|speed| Pace::Recorded { speed }),
    };
    pace.ok_or_else(|| "a number above 0, such a number with pps, or flat".to_owned())
}

pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    parse_time_ns(text).ok_or_else(|| "a number with ns, us, ms or s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_multiple_a_rate_or_flat_out() {
        assert_eq!(parse_speed("1"), Ok(Pace::Recorded { speed: 1.0 }));
        assert_eq!(parse_speed("2.5"), Ok(Pace::Recorded { speed: 2.5 }));
        assert_eq!(parse_speed("50000pps"), Ok(Pace::PacketsPerSecond(50_000.0)));
        assert_eq!(parse_speed("flat"), Ok(Pace::FlatOut));
        for wrong in ["", "0", "-1", "NaN", "inf", "fast", "pps", "0pps"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
