//! `feedplane top`: the pipeline live, as the control plane's events tell it.
//!
//! ```text
//!  events (thread) ─┐
//!                   ├─ updates (bounded) ─► picture ─► screen (terminal), or a line a second (elsewhere)
//!  lists  (thread) ─┘
//! ```
//!
//! What is older than two seconds is marked as that. The terminal is given back as it was, however this ends.

mod channels;
mod draw;
mod feed;
mod picture;
mod screen;

use crate::client::Api;
use crate::output::{now_ns, utc};
use anyhow::{Context, Result};
use feed::Feed;
use picture::Picture;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(50);

/// Shows the pipeline live: trading, processes, lines A and B of each channel, orders, positions, denials.
///
/// Keys: q ends; 1 to 4 or Tab choose what is shown large; ↑ ↓ scroll; Space holds the picture. Where standard output is no
/// terminal, a line a second.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    api: Api,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let feed = Feed::start(args.api.find()?)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // Also a second one: the terminal is given back first, which takes no time.
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals")?;
    }
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        screen::run(&feed, &stop)
    } else {
        lines(&feed, &stop)
    }
}

fn lines(feed: &Feed, stop: &AtomicBool) -> Result<()> {
    let mut picture = Picture::new(feed.address());
    let mut due = Instant::now() + LINE_EVERY;
    while !stop.load(Ordering::Relaxed) {
        feed.take_into(&mut picture);
        if Instant::now() >= due {
            due += LINE_EVERY;
            writeln!(std::io::stdout(), "{}  {}", utc(now_ns()), picture.line(Instant::now()))?;
        }
        std::thread::sleep(TURN);
    }
    Ok(())
}
