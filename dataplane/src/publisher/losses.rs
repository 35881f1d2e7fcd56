//! What was lost of each channel, remembered in a bounded space however long it goes on, to be declared
//! exactly when there is room again.

use tick::{GapReason, Tick};

/// One channel's loss: a range of the count that its readers know, and, when the channel was cleared
/// meanwhile, the last clear and a range of the new count.
#[derive(Clone, Debug)]
struct Loss {
    publisher_id: u16,
    channel_id: u16,
    ts_recv: u64,
    before: Option<(u64, u64)>,
    clear: Option<Tick>,
    after: Option<(u64, u64)>,
}

/// The losses of all channels, since they were last declared.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    channels: Vec<Loss>,
}

impl Losses {
    /// Adds a record that is given up: a tick, a declared gap or a clear.
    pub(super) fn note(&mut self, record: &Tick) {
        let place = self.channels.iter().position(|loss| loss.channel_id == record.channel_id);
        let place = place.unwrap_or_else(|| {
            self.channels.push(Loss {
                publisher_id: record.publisher_id,
                channel_id: record.channel_id,
                ts_recv: record.ts_recv,
                before: None,
                clear: None,
                after: None,
            });
            self.channels.len() - 1
        });
        let loss = &mut self.channels[place];
        if bus::is_channel_clear(record) {
            // Counts that began and ended in the loss are gone without a trace that anyone could use.
            loss.clear = Some(*record);
            loss.after = None;
            return;
        }
        let (from, to) =
            record.as_gap().map_or((record.sequence, record.sequence), |(from, to, _)| (from, to));
        let range = if loss.clear.is_some() { &mut loss.after } else { &mut loss.before };
        *range = Some(range.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The records that declare the losses, channel by channel, each in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Tick> + '_ {
        self.channels.iter().flat_map(|loss| {
            let gap = |range: (u64, u64)| {
                let why = GapReason::SpoolFull;
                Tick::gap(loss.publisher_id, loss.channel_id, range.0, range.1, loss.ts_recv, why)
            };
            loss.before.map(gap).into_iter().chain(loss.clear).chain(loss.after.map(gap))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(channel_id: u16, sequence: u64) -> Tick {
        Tick { channel_id, sequence, ..Tick::EMPTY }
    }

    #[test]
    fn a_channels_losses_are_one_range() {
        let mut losses = Losses::default();
        for record in [tick(1, 5), tick(2, 90), tick(1, 6), Tick::gap(0, 1, 7, 9, 0, GapReason::Lost)] {
            losses.note(&record);
        }
        let gaps: Vec<_> = losses.records().map(|gap| (gap.channel_id, gap.as_gap().unwrap())).collect();
        assert_eq!(gaps, [(1, (5, 9, GapReason::SpoolFull)), (2, (90, 90, GapReason::SpoolFull))]);
    }

    #[test]
    fn a_clear_in_the_loss_is_kept_between_the_two_counts() {
        let mut losses = Losses::default();
        for record in [
            tick(1, 50),
            Tick::channel_clear(0, 1, 1, 7),
            tick(1, 1),
            Tick::channel_clear(0, 1, 10, 8),
            tick(1, 10),
            tick(1, 11),
        ] {
            losses.note(&record);
        }
        let records: Vec<_> = losses.records().collect();
        assert_eq!(records[0].as_gap().unwrap().1, 50);
        assert_eq!(records[1], Tick::channel_clear(0, 1, 10, 8));
        assert_eq!(records[2].as_gap().unwrap(), (10, 11, GapReason::SpoolFull));
        assert_eq!(records.len(), 3);
    }
}
