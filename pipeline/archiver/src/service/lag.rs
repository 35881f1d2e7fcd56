//! How far the archive is behind its streams.

use bus::StreamId;
use bus::consumer::StreamInfo;

/// How far the archive is behind one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Lag {
    /// Entries that are not archived yet. Exact from when the stream's end was reached for the first time (and
    /// with Redis 7); at most the stream's length before.
    pub(super) entries: u64,
    /// From the last archived entry to the newest, ms by Redis's clock.
    pub(super) ms: u64,
}

/// Follows one stream's lag.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LagMeter {
    archived: StreamId,
    entries: u64,
    /// When the end was reached: entries that were ever added, entries archived by us.
    end: Option<(u64, u64)>,
}

impl LagMeter {
    pub(super) fn new(archived: StreamId) -> LagMeter {
        LagMeter { archived, ..LagMeter::default() }
    }

    /// Entries were archived, up to this one.
    pub(super) fn stored(&mut self, to: StreamId, entries: u64) {
        self.archived = to;
        self.entries += entries;
    }

    /// The lag behind a stream of this length.
    pub(super) fn behind(&mut self, info: &StreamInfo) -> Lag {
        if self.archived >= info.last {
            self.end = info.added.map(|added| (added, self.entries));
            return Lag::default();
        }
        let since_the_end = self.end.zip(info.added).and_then(|((added_then, entries_then), added)| {
            added.checked_sub(added_then)?.checked_sub(self.entries - entries_then)
        });
        if since_the_end.is_none() {
            self.end = None;
        }
        let never_archived = self.archived == StreamId::default();
        Lag {
            entries: since_the_end.unwrap_or(info.length),
            ms: if never_archived { 0 } else { info.last.ms.saturating_sub(self.archived.ms) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(last_ms: u64, entries: u64, added: u64) -> StreamInfo {
        StreamInfo { length: entries, added: Some(added), last: StreamId { ms: last_ms, seq: 0 } }
    }

    #[test]
    fn entries_are_counted_from_the_last_time_that_the_end_was_reached() {
        let mut meter = LagMeter::new(StreamId { ms: 100, seq: 0 });
        assert_eq!(meter.behind(&info(150, 40, 90)), Lag { entries: 40, ms: 50 }, "at most its length");
        meter.stored(StreamId { ms: 150, seq: 0 }, 7);
        assert_eq!(meter.behind(&info(150, 40, 90)), Lag::default());
        assert_eq!(meter.behind(&info(160, 50, 100)), Lag { entries: 10, ms: 10 });
        meter.stored(StreamId { ms: 156, seq: 0 }, 6);
        assert_eq!(meter.behind(&info(160, 50, 100)), Lag { entries: 4, ms: 4 });
    }

    #[test]
    fn a_stream_that_redis_has_lost_is_measured_anew() {
        let mut meter = LagMeter::new(StreamId { ms: 100, seq: 0 });
        meter.behind(&info(100, 40, 90));
        assert_eq!(meter.behind(&info(170, 3, 3)), Lag { entries: 3, ms: 70 });
    }
}
