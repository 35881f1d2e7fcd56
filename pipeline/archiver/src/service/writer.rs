//! The writing side: takes work from the queue and does it, however often the database has to be asked.

use super::{Condition, Event, Work};
use crate::catalogue::News;
use crate::follow::{Batch, Kind};
use crate::store::{Store, StoreError, Stored};
use bus::consumer::Lease;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use vitals::Stop;

/// Shortest and longest wait before the database is asked again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often an idle database is asked whether it is there.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How often old rows are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(3_600);
/// Rows of instruments in one transaction.
const INSTRUMENTS: usize = 500;
/// How long the database may refuse after the stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    store: Store,
    queue: Receiver<Work>,
    tell: Sender<Event>,
    database: Condition,
    stop: Stop,
    retain_due: Instant,
    stop_by: Option<Instant>,
}

/// The stop was asked for, and the database does not take what is left. It is not lost: the place in the archive
/// is where it was.
struct GaveUp;

impl Writer {
    pub(super) fn new(
        store: Store,
        queue: Receiver<Work>,
        tell: Sender<Event>,
        database: Condition,
        stop: Stop,
    ) -> Writer {
        Writer { store, queue, tell, database, stop, retain_due: Instant::now(), stop_by: None }
    }

    /// Works until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        loop {
            match timeout(CHECK_EVERY, self.queue.recv()).await {
                Ok(Some(work)) => {
                    if let Err(GaveUp) = self.work(work).await {
                        tracing::warn!(
                            "ending without the database: what was not stored is read again by the next"
                        );
                        return;
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    let checked = self.store.check().await;
                    self.note(checked);
                }
            }
            self.retain().await;
        }
    }

    async fn work(&mut self, work: Work) -> Result<(), GaveUp> {
        let event = match work {
            Work::Claim { kind, lease } => {
                let place = self.insist(async |store| store.claim(kind, &lease).await).await?;
                Event::Claimed { lease, place }
            }
            Work::Store { kind, lease, batch } => self.batch(kind, lease, &batch).await?,
            Work::News(News { instruments, schemas, .. }) => {
                for part in instruments.chunks(INSTRUMENTS) {
                    self.insist(async |store| store.store_instruments(part).await).await?;
                }
                self.insist(async |store| store.store_schemas(&schemas).await).await?;
                return Ok(());
            }
        };
        // The reader hears it or has ended.
        let _ = self.tell.send(event);
        Ok(())
    }

    async fn batch(&mut self, kind: Kind, lease: Lease, batch: &Batch) -> Result<Event, GaveUp> {
        let began = Instant::now();
        let stored = self.insist(async |store| store.store(kind, &lease, batch).await).await?;
        if stored == Stored::NotOurs {
            metrics::counter!("feedplane_archiver_batches_refused_total").increment(1);
            return Ok(Event::NotOurs { lease });
        }
        metrics::histogram!("feedplane_archiver_store_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("feedplane_archiver_batches_total").increment(1);
        metrics::counter!("feedplane_archiver_rows_total", "table" => kind.name()).increment(batch.rows);
        if batch.repeats > 0 {
            metrics::counter!("feedplane_archiver_repeats_left_out_total").increment(batch.repeats);
        }
        for (&reason, &count) in &batch.gap_counts {
            metrics::counter!("feedplane_archiver_gaps_total", "reason" => reason).increment(count);
        }
        Ok(Event::Stored { lease, to: batch.to.entry, entries: batch.entries })
    }

    /// Asks the database until it does what is asked, with growing pauses.
    async fn insist<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, GaveUp> {
        let mut pause = RETRY.0;
        loop {
            let error = match work(&mut self.store).await {
                Ok(done) => {
                    self.database.is_good();
                    return Ok(done);
                }
                Err(error) => error,
            };
            metrics::counter!("feedplane_archiver_retries_total").increment(1);
            self.database.is_bad(error.to_string());
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.stop.is_asked()
                    && Instant::now() >= *self.stop_by.get_or_insert_with(|| Instant::now() + STOP_WITHIN)
                {
                    return Err(GaveUp);
                }
                sleep(RETRY.0).await;
            }
            pause = (pause * 2).min(RETRY.1);
        }
    }

    fn note<T>(&mut self, asked: Result<T, StoreError>) -> Option<T> {
        match asked {
            Ok(done) => {
                self.database.is_good();
                Some(done)
            }
            Err(error) => {
                self.database.is_bad(error.to_string());
                None
            }
        }
    }

    async fn retain(&mut self) {
        if Instant::now() < self.retain_due || self.store.edition().is_none() {
            return;
        }
        let retained = self.store.retain().await;
        match self.note(retained) {
            // There may be more; it is taken in turns with the rows that come.
            Some(done) if !done.is_empty() => tracing::info!("retention: {}", done.join(", ")),
            _ => self.retain_due = Instant::now() + RETAIN_EVERY,
        }
    }
}
