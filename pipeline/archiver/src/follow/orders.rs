//! Reports: numbered by each venue's gateway, so that what is missing shows and what comes again is left out.
//!
//! A gateway publishes its reports again, numbered as before, when Redis has lost its memory. A number that is not
//! above the last one of its venue is one of two things: the same report again (its time is not later than the last
//! one's), which is in the archive and is left out; or a count that began anew (its time is later), which is kept.
//!
//! Invariant: of each venue and count, every number is archived once, or a row of gaps says that it is missing.

use super::Follower;
use crate::order_rows;
use crate::rows::GapRow;
use bus::consumer::WhyMissing;
use bus::{Report, StreamId};

/// Most venues whose numbers are followed in one stream, some 100 bytes each. Reports of one more are refused: a gateway
/// has at most 64 sessions.
const VENUES_MAX: usize = 1_024;
/// Largest hole that is believed. A number further off is refused: it would make all that follow look old.
const HOLE_MAX: u64 = 1_000_000_000;

/// The last report of a venue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// When the gateway knew, ns since the epoch.
    pub time_ns: u64,
}

impl Follower {
    pub(super) fn report(
        &mut self,
        id: StreamId,
        report: &Report,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) -> Result<(), String> {
        // A strategy's own denial has no number.
        if report.number > 0 && !self.is_next(id, report, why)? {
            self.batch.repeats += 1;
            return Ok(());
        }
        self.row(|out, stream, row| order_rows::push_report(out, stream, row, report));
        Ok(())
    }

    /// Whether a report is one that was not there before. Tells what is missing before it.
    fn is_next(
        &mut self,
        id: StreamId,
        report: &Report,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) -> Result<bool, String> {
        let Report { venue, number, time_ns, .. } = report;
        let venues = &self.batch.to.venues;
        let known = venues.get(venue).copied();
        if known.is_none() && venues.len() >= VENUES_MAX {
            return Err(format!("field `venue`: the reports of at most {VENUES_MAX} venues are followed"));
        }
        let before = known.unwrap_or_default();
        let restarts = *number <= before.number && *time_ns > before.time_ns;
        if *number <= before.number && !restarts {
            self.last_reports.insert(venue.clone(), id);
            return Ok(false);
        }
        let expected = if restarts { 1 } else { before.number + 1 };
        if number - expected > HOLE_MAX {
            return Err(format!("field `n`: {number} is not believed after {}", before.number));
        }
        if restarts {
            let detail = format!("the count went back from {} to {number}", before.number);
            self.venue_gap(id, venue, None, "restarted", &detail);
        }
        if *number > expected {
            let reason = self.why_behind(self.last_reports.get(venue).copied(), why);
            self.venue_gap(id, venue, Some((expected, number - 1)), reason, "");
        }
        self.last_reports.insert(venue.clone(), id);
        self.batch.to.venues.insert(venue.clone(), Told { number: *number, time_ns: *time_ns });
        Ok(true)
    }

    pub(super) fn venue_gap(
        &mut self,
        entry: StreamId,
        venue: &str,
        range: Option<(u64, u64)>,
        reason: &'static str,
        detail: &str,
    ) {
        let before_row = self.batch.to.next_row;
        self.push_gap(&GapRow {
            entry,
            before_row,
            channel_id: None,
            range,
            reason,
            detail,
            venue: Some(venue),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Kind, Place};
    use super::*;
    use bus::{Record, ReportKind, TradingMode, TradingState};

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn report(venue: &str, number: u64, time_ns: u64) -> Fields {
        let report = Report { venue: venue.into(), number, ..Report::new(ReportKind::Sent, time_ns) };
        let mut fields = Vec::new();
        report.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        fields
    }

    fn push(follower: &mut Follower, ms: u64, fields: &Fields) -> Option<String> {
        let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let record = Record { id: StreamId { ms, seq: 0 }, fields: Ok(fields) };
        follower.push(record, &mut |_| Some(WhyMissing::Trimmed))
    }

    fn follow(entries: &[Fields]) -> (Batch, Vec<String>) {
        let mut follower = Follower::new(Kind::Reports, Place::beginning(3));
        let pushed = entries.iter().zip(1..).filter_map(|(fields, ms)| push(&mut follower, ms, fields));
        let refused = pushed.collect();
        (follower.take(), refused)
    }

    fn gaps(batch: Batch) -> Vec<(&'static str, u64)> {
        batch.gap_counts.into_iter().collect()
    }

    #[test]
    fn the_numbers_of_each_venue_are_followed_on_their_own() {
        let entries = [("A", 1), ("B", 1), ("A", 2), ("B", 2), ("B", 5), ("A", 3)];
        let (batch, refused) = follow(&entries.map(|(venue, number)| report(venue, number, number)));
        assert!(refused.is_empty());
        assert_eq!((batch.rows, batch.to.next_row), (6, 7));
        assert_eq!(batch.to.venues["B"], Told { number: 5, time_ns: 5 });
        assert_eq!(gaps(batch), [("trimmed", 1)]);
    }

    #[test]
    fn reports_that_are_published_again_are_left_out_and_what_is_new_behind_them_is_kept() {
        let told = (1..=4).map(|number| report("A", number, 10 * number));
        let again = (1..=6).map(|number| report("A", number, 10 * number));
        let (batch, _) = follow(&told.chain(again).collect::<Vec<_>>());
        assert_eq!((batch.rows, batch.repeats, batch.to.venues["A"].number), (6, 4, 6));
        assert!(gaps(batch).is_empty());
    }

    #[test]
    fn a_count_that_begins_anew_is_kept_and_told() {
        let entries = [report("A", 7, 70), report("A", 1, 80), report("A", 2, 90), report("A", 1, 100)];
        let (batch, _) = follow(&entries);
        assert_eq!((batch.rows, batch.repeats), (4, 0));
        assert_eq!(gaps(batch), [("restarted", 2), ("trimmed", 1)]);
    }

    #[test]
    fn a_strategys_own_denial_has_no_number_and_is_kept() {
        let (batch, _) =
            follow(&[report("A", 1, 1), report("A", 0, 2), report("A", 0, 2), report("A", 2, 3)]);
        assert_eq!((batch.rows, batch.gaps.len()), (4, 0));
    }

    #[test]
    fn a_number_that_cannot_be_and_a_venue_too_many_are_refused() {
        let mut entries = vec![report("A", 1, 1), report("A", u64::MAX, u64::MAX), report("A", 2, 2)];
        entries.extend((0..VENUES_MAX as u64).map(|at| report(&format!("V{at}"), 1, at)));
        let (batch, refused) = follow(&entries);
        assert_eq!(batch.rows, 2 + VENUES_MAX as u64 - 1);
        assert_eq!(refused.len(), 2);
        assert!(refused[0].contains("18446744073709551615 is not believed after 1"), "{refused:?}");
        assert!(refused[1].contains("at most 1024 venues"), "{refused:?}");
    }

    #[test]
    fn a_refused_report_is_what_is_missing_behind_the_last_one() {
        let mut cut = report("A", 2, 2);
        cut.retain(|(name, _)| name != b"kind");
        let (batch, refused) = follow(&[report("A", 1, 1), cut, report("A", 3, 3)]);
        assert_eq!(refused, ["entry 2-0: field `kind` is missing"]);
        assert_eq!(gaps(batch), [("malformed", 2)]);
    }

    #[test]
    fn a_lost_stream_without_numbers_leaves_a_row_before_its_next_entry() {
        let mut follower = Follower::new(Kind::Trading, Place::beginning(0));
        let state =
            TradingState { mode: TradingMode::Active, by: "a".into(), reason: "b".into(), time_ns: 1 };
        let mut fields = Vec::new();
        state.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        push(&mut follower, 1, &fields);
        follower.lost();
        assert!(
            follower.gathered().gaps.is_empty(),
            "it is told with the next entry, so that it is told once"
        );
        push(&mut follower, 2, &fields);
        push(&mut follower, 3, &fields);
        let batch = follower.take();
        assert_eq!(batch.rows, 3);
        assert_eq!(gaps(batch), [("redis_lost", 1)]);
    }
}
