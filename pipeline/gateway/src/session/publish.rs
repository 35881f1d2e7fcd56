//! Publishes reports and copies of messages, on a thread of its own. Redis may be gone for as long as it likes: the journal has
//! all reports.
//!
//! Invariant: a report is in its stream once, behind the one with the number before it. The script asks how far the stream
//! is and who wrote it; whoever has an older lease is refused.

use super::figures;
use super::outbox::{Copy, Outbox};
use crate::journal::{Extent, read_reports};
use bus::Report;
use bus::consumer::{ConsumerError, Link};
use bus::names::{DROP_COPY, EXECUTION_REPORTS, report_numbers_key, shard_stream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Reports in one write: about a millisecond of Redis.
const REPORTS_A_WRITE: usize = 128;
/// Reports that are read from the journal at once: about 40 MB.
const REPORTS_A_READ: usize = 65_536;
/// Copies in one write.
const COPIES_A_WRITE: usize = 256;
/// How often the stream is looked at, whether it still has what was published.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a publisher that is to end tries to publish what waits.
const END_WITHIN: Duration = Duration::from_secs(3);

/// KEYS stream, numbers; ARGV venue, token, number to begin with when none is known, entries_max, number before the first
/// report, number of the last, then for each report how many names and values it has, and these. Gives 0 and the last number, -1 when a later owner
/// has written, -2 and the last number when another report is the next.
const PUBLISH: &str = "local call = redis.call
local seen = call('HGET', KEYS[2], ARGV[1])
local token, last = ARGV[2], ARGV[3]
if seen then
  token, last = string.match(seen, '^(%d+):(%d+)$')
  if not token then return redis.error_reply('ERR ' .. KEYS[2] .. ' ' .. ARGV[1] .. ' is not token:number') end
  if tonumber(token) > tonumber(ARGV[2]) then return {-1, last} end
end
if #ARGV > 6 then
  if last ~= ARGV[5] then return {-2, last} end
  local a = 7
  while a < #ARGV do
    local to = a + tonumber(ARGV[a])
    call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, a + 1, to))
    a = to + 1
  end
  last = ARGV[6]
end
call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. last)
return {0, last}";

/// KEYS stream; ARGV entries_max, venue, protocol, time, how many found no room, then for each way, time and bytes.
const COPY: &str = "local call = redis.call
if ARGV[5] ~= '0' then
  call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'venue', ARGV[2], 'protocol', ARGV[3], 'way', 'lost', 'time_ns', ARGV[4],
    'lost', ARGV[5], 'bytes', '')
end
for a = 6, #ARGV, 3 do
  call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'venue', ARGV[2], 'protocol', ARGV[3], 'way', ARGV[a],
    'time_ns', ARGV[a + 1], 'bytes', ARGV[a + 2])
end
return 0";

/// The journal files whose reports may have to be published, oldest first: of a day that is over, and of this one.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) day: PathBuf,
    pub(super) extents: Vec<Extent>,
    /// This owner's own file, as far as it is on disk now.
    pub(super) own: Option<(u64, Arc<AtomicU64>)>,
}

impl Source {
    fn extents(&self) -> Vec<Extent> {
        let own = self.own.iter();
        let own = own.map(|(token, bytes)| Extent { token: *token, bytes: bytes.load(Ordering::Acquire) });
        self.extents.iter().copied().chain(own).collect()
    }
}

/// How the stream of a shard's reports is known to be.
pub(super) struct Publishing {
    pub(super) venue: String,
    pub(super) protocol: &'static str,
    pub(super) token: u64,
    pub(super) shards: u16,
    pub(super) entries_max: u64,
    pub(super) copies_max: u64,
    pub(super) link: Link,
    /// The number before the day's first report, for each shard.
    pub(super) base: Vec<u64>,
}

/// What the stream said.
enum Answer {
    Is(u64),
    LaterOwner,
    Differs(u64),
}

impl Publishing {
    /// Says to a shard's stream who publishes from now on, and asks for its last number. Nothing when a later owner does.
    pub(super) fn claim(&mut self, shard: u16) -> Result<Option<u64>, ConsumerError> {
        Ok(match self.write(shard, 0, &[])? {
            Answer::Is(last) | Answer::Differs(last) => Some(last),
            Answer::LaterOwner => None,
        })
    }

    fn write(&mut self, shard: u16, before: u64, reports: &[Report]) -> Result<Answer, ConsumerError> {
        let stream = shard_stream(EXECUTION_REPORTS, shard, self.shards);
        let mut publish = redis::cmd("EVAL");
        publish.arg(PUBLISH).arg(2).arg(&stream).arg(report_numbers_key(&stream));
        publish.arg(&self.venue).arg(self.token).arg(self.base[usize::from(shard)]);
        publish.arg(self.entries_max).arg(before).arg(reports.last().map_or(0, |report| report.number));
        for report in reports {
            // Empty fields are left out: not every report has as many.
            let mut count = 0;
            report.for_each_field(|_, _| count += 2);
            publish.arg(count);
            report.for_each_field(|name, value| {
                publish.arg(name).arg(value);
            });
        }
        let (code, last): (i64, String) = self.link.ask(&publish)?;
        let last = last.parse().unwrap_or(0);
        Ok(match code {
            0 => Answer::Is(last),
            -1 => Answer::LaterOwner,
            _ => Answer::Differs(last),
        })
    }

    fn copy(&mut self, copies: &[Copy], lost: u64, now_ns: u64) -> Result<(), ConsumerError> {
        let mut copy = redis::cmd("EVAL");
        copy.arg(COPY).arg(1).arg(DROP_COPY).arg(self.copies_max);
        copy.arg(&self.venue).arg(self.protocol).arg(now_ns).arg(lost);
        for message in copies {
            copy.arg(if message.sent { "sent" } else { "received" });
            copy.arg(message.time_ns).arg(&message.bytes);
        }
        self.link.ask::<i64>(&copy).map(|_| ())
    }
}

/// The publisher of a session.
pub(super) struct Publisher {
    pub(super) publishing: Publishing,
    pub(super) sources: Vec<Source>,
    pub(super) outbox: Arc<Outbox>,
    /// The last number in each stream, as far as is known.
    pub(super) published: Vec<u64>,
}

impl Publisher {
    /// Publishes until the outbox ends and is empty, or a later owner publishes.
    pub(super) fn run(mut self) {
        let mut said = None;
        let mut looked = Instant::now();
        let mut ends = None;
        loop {
            self.outbox.wait(LOOK_EVERY);
            // Before the turn: what was given until then is published by it.
            let ending = self.outbox.is_ending();
            let look = looked.elapsed() >= LOOK_EVERY;
            match self.turn(look) {
                Ok(()) => {
                    if said.take().is_some() {
                        info!(venue = self.publishing.venue, "publishing again");
                    }
                    if look {
                        looked = Instant::now();
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        error!(venue = self.publishing.venue, "publishing reports: {text}; they wait");
                        said = Some(text);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            if self.outbox.is_refused() {
                return;
            }
            if ending {
                let ends = ends.get_or_insert_with(|| Instant::now() + END_WITHIN);
                if said.is_none() || Instant::now() > *ends {
                    return;
                }
            }
        }
    }

    fn turn(&mut self, look: bool) -> Result<(), ConsumerError> {
        for shard in 0..self.publishing.shards {
            if look {
                self.look(shard)?;
            }
            self.reports(shard)?;
            self.outbox.let_go(shard, self.published[usize::from(shard)]);
        }
        loop {
            let (copies, lost) = self.outbox.copies(COPIES_A_WRITE);
            if copies.is_empty() && lost == 0 {
                return Ok(());
            }
            figures::drop_copy_lost(&self.publishing.venue, lost);
            let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now_ns = time.map_or(0, |time| time.as_nanos() as u64);
            // Best effort: what does not arrive is counted, and told with the next.
            if let Err(error) = self.publishing.copy(&copies, lost, now_ns) {
                figures::drop_copy_lost(&self.publishing.venue, copies.len() as u64);
                return Err(error);
            }
        }
    }

    /// Whether the stream still has what was published. Redis may have lost it.
    fn look(&mut self, shard: u16) -> Result<(), ConsumerError> {
        match self.publishing.claim(shard)? {
            None => self.outbox.refuse(),
            Some(last) => {
                let published = &mut self.published[usize::from(shard)];
                if last < *published {
                    warn!(
                        venue = self.publishing.venue,
                        shard, published, last, "Redis has lost reports: publishing them again"
                    );
                }
                *published = last;
            }
        }
        Ok(())
    }

    fn reports(&mut self, shard: u16) -> Result<(), ConsumerError> {
        let at = usize::from(shard);
        let mut from_journal = Vec::new().into_iter();
        let mut differed = false;
        while self.published[at] < self.outbox.last(shard) && !self.outbox.is_refused() {
            let published = self.published[at];
            let mut batch: Vec<Report> = from_journal.by_ref().take(REPORTS_A_WRITE).collect();
            if batch.is_empty() {
                batch = self.outbox.behind(shard, published, REPORTS_A_WRITE);
            }
            if batch.first().is_none_or(|first| first.number != published + 1) {
                from_journal = self.journalled(shard, published).into_iter();
                let read: Vec<Report> = from_journal.by_ref().take(REPORTS_A_WRITE).collect();
                if read.is_empty() && batch.is_empty() {
                    // Not on disk yet, and not in memory: the session's next commit brings it.
                    return Ok(());
                }
                if !read.is_empty() {
                    batch = read;
                }
            }
            let first = batch.first().map_or(0, |report| report.number);
            if first != published + 1 {
                error!(shard, from = published + 1, to = first - 1, "reports are missing in the journal");
            }
            match self.publishing.write(shard, published, &batch)? {
                Answer::Is(last) => {
                    self.published[at] = last;
                    differed = false;
                }
                Answer::LaterOwner => self.outbox.refuse(),
                // The write before this one had arrived after all, or Redis has lost some.
                Answer::Differs(last) if !differed => {
                    (self.published[at], differed) = (last, true);
                    from_journal = Vec::new().into_iter();
                }
                Answer::Differs(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reports behind a number, from the journal.
    fn journalled(&self, shard: u16, after: u64) -> Vec<Report> {
        let mut found = Vec::new();
        for source in &self.sources {
            let most = REPORTS_A_READ - found.len();
            match read_reports(&source.day, &source.extents(), shard, after, most) {
                Ok(reports) => found.extend(reports),
                Err(error) => error!("reading reports back: {error}"),
            }
        }
        found
    }
}
