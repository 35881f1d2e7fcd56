//! `feedplane decode FILE`: a capture through the same core as live packets, offline.
//!
//! Standard output holds one thing: the report, or with `--ticks` the ticks. What else there is to say goes
//! to standard error. Memory does not grow with the file: packets are read one by one. What grows is the
//! list of losses to report.

mod dbn_file;
mod feeds;
mod guess;
mod input;
mod outputs;
mod progress;
mod reorder;
mod replay;
mod report;
mod rows;

use anyhow::{Context, Result, anyhow, bail};
use bus::config::{FeedProtocol, FeedsDocument};
use guess::Guess;
pub(crate) use guess::GuessedFeed;
use input::{Damage, FrameCounts, Input};
use outputs::Outputs;
pub(crate) use outputs::Taker;
use reorder::Reorder;
use replay::Replay;
use report::{CaptureReport, Report};
use rows::RowFormat;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const NOTES: &str = "\
The report, for each channel (with --json the keys of one object in `channels`):
  packets      packets that arrived on line a and line b
  won          packets that brought at least one sequence number first
  duplicates   packets that brought nothing new
  missing      sequence numbers that this line never brought while the other
               did, from the line's first packet on (with `first_sequence` in
               the feeds file: from there on)
  gaps         sequence numbers that no line brought, declared lost
  resets       times the sender started over
  heartbeats   MDP 3.0: after arbitration, as each has a sequence number;
               MoldUDP64: packets on both lines
  late         packets wholly behind, of which something was declared lost
  stale        packets left over from a session or count that is over
  unconfirmed  packets far off the sequence that no second packet confirmed
  malformed    packets and messages that were refused
  messages     messages after arbitration, by type or template id
  ticks        ticks made of them (the rows of --ticks also hold declared gaps
               and the clears of a restart)

Exit codes:
  0  Decoded. A file that ends inside a packet is decoded to its last whole one
     and a warning names the place. Also when the reader of standard output
     went away.
  1  An error: no capture, no recognisable feed, a file that cannot be read or
     written. A file that is damaged in the middle is decoded and reported up
     to there.
  2  The command line was not understood.";

/// Decodes a packet capture (pcap or pcapng, gzip too) offline.
///
/// By the code that the data plane runs, both lines of each channel are arbitrated, messages become ticks, and
/// what happened is reported. Receive times are the capture's own, and they drive the gap timeouts too.
///
/// Without --feeds the feeds are guessed from the packets, which reads the file twice, and the feeds file that
/// was assumed is printed.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The capture file.
    file: PathBuf,
    /// Feeds file: which channels there are and on which lines.
    #[arg(long, value_name = "FILE")]
    feeds: Option<PathBuf>,
    /// CME's SBE template XML, for guessed MDP 3.0 feeds; with --feeds it replaces the files named there.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long, conflicts_with = "ticks")]
    json: bool,
    /// Print every tick on standard output, one a line; the report goes to standard error.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "csv")]
    ticks: Option<RowFormat>,
    /// Write the ticks as a DBN file (Databento's binary encoding) of the schema mbo, which has no record for
    /// declared gaps and status changes.
    #[arg(long, value_name = "FILE")]
    dbn: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let document = match &args.feeds {
        Some(path) => FeedsDocument::load(path).with_context(|| path.display().to_string())?,
        None => assume_feeds(args)?,
    };
    let channels = feeds::channels_from(&document, args.schema.as_deref())?;
    let mut input = open(&args.file, "decoding")?;
    let outputs = Outputs::open(args.ticks, args.dbn.as_deref())?;
    let replay = replay_of(&mut input, Replay::new(&document, channels, outputs));
    let counts = input.counts();
    let damage = input.damage();
    let (channels, unmatched) = replay.finish()?;
    let capture = capture_report(counts, unmatched, damage.as_ref());
    print_report(args, &Report { capture, channels })?;
    warn_or_fail(args, counts, damage)
}

/// All of a capture through its channels.
fn replay_of<'a, T: Taker>(input: &mut Input, mut replay: Replay<'a, T>) -> Replay<'a, T> {
    let mut reorder = Reorder::default();
    input.for_each(|ts_ns, datagram| {
        reorder.push(ts_ns, datagram);
        while let Some(due) = reorder.pop_due() {
            if !replay.take(due) {
                return false;
            }
        }
        true
    });
    while let Some(held) = reorder.pop() {
        replay.take(held);
    }
    replay
}

/// Gives the ticks of a capture to `taker`. A file that ends inside a packet is read to its last whole one.
///
/// # Errors
/// It cannot be read, is damaged in its middle, or the taker failed.
pub(crate) fn replay(path: &Path, document: &FeedsDocument, taker: impl Taker) -> Result<()> {
    let channels = feeds::channels_from(document, None)?;
    let mut input = open(path, "decoding")?;
    replay_of(&mut input, Replay::new(document, channels, taker)).finish()?;
    match input.damage() {
        Some(damage) if !damage.is_truncation() => Err(anyhow!("{damage}")),
        _ => Ok(()),
    }
}

fn open(path: &Path, doing: &'static str) -> Result<Input> {
    Input::open(path, doing).with_context(|| path.display().to_string())
}

/// The feeds that a capture file seems to hold, at least one.
pub(crate) fn guess_feeds(path: &Path) -> Result<Vec<GuessedFeed>> {
    let mut input = open(path, "looking for feeds")?;
    let is_file = std::fs::metadata(path).with_context(|| path.display().to_string())?.is_file();
    if !is_file {
        bail!("{}: guessing feeds reads a file twice, and this is none; pass --feeds", path.display());
    }
    let mut guess = Guess::default();
    input.for_each(|_, datagram| {
        guess.look(datagram.destination, datagram.payload);
        true
    });
    let feeds = guess.feeds();
    if feeds.is_empty() {
        let because =
            input.damage().map_or_else(String::new, |damage| format!(" (reading stopped {damage})"));
        bail!("{}: no feed recognised, neither MDP 3.0 nor ITCH 5.0 in MoldUDP64{because}", path.display());
    }
    if guess.dropped_destinations() {
        eprintln!("warning: more destinations carry feeds than are looked at; the first {} are", feeds.len());
    }
    Ok(feeds)
}

/// Guesses the feeds and prints what was assumed.
fn assume_feeds(args: &Args) -> Result<FeedsDocument> {
    let path = &args.file;
    let feeds = guess_feeds(path)?;
    if args.schema.is_none() && feeds.iter().any(|feed| feed.protocol == FeedProtocol::Mdp3) {
        bail!(
            "{}: holds CME MDP 3.0, which is decoded by CME's own template file; pass it with --schema",
            path.display()
        );
    }
    let text = guess::feeds_file(&feeds, args.schema.as_deref());
    if args.json || args.ticks.is_some() {
        eprint!("{text}");
    } else {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
    }
    FeedsDocument::parse(text.as_bytes()).context("the assumed feeds file is not right")
}

fn capture_report(counts: FrameCounts, unmatched: u64, damage: Option<&Damage>) -> CaptureReport {
    CaptureReport {
        records: counts.records,
        other: counts.other + unmatched,
        cut: counts.cut,
        bad_checksum: counts.bad_checksum,
        damage: damage.map(Damage::to_string),
    }
}

fn print_report(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        let mut out = BufWriter::new(io::stdout().lock());
        report.write_json(&mut out)?;
        out.flush()?;
    } else if args.ticks.is_some() {
        report.write_text(&mut io::stderr().lock())?;
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        report.write_text(&mut out)?;
        out.flush()?;
    }
    Ok(())
}

fn warn_or_fail(args: &Args, counts: FrameCounts, damage: Option<Damage>) -> Result<()> {
    if counts.cut > 0 {
        eprintln!(
            "warning: {} frames were cut by the capture's snapshot length and are not decoded",
            counts.cut
        );
    }
    match damage {
        Some(damage) if damage.is_truncation() => {
            eprintln!("warning: {}: {damage}", args.file.display());
            Ok(())
        }
        Some(damage) => Err(anyhow!("{}: {damage}", args.file.display())),
        None => Ok(()),
    }
}
