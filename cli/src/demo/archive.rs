//! What is in the stream against what is in the archive, channel by channel: counted by SQL.

use super::look::{Kept, Record};
use super::name_of;
use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection, Row};
use std::collections::BTreeMap;
use venue::session::Channel;

/// Of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    ticks: u64,
    /// Sequence numbers declared lost.
    lost: u64,
}

/// What the archive says.
#[derive(Debug, Default)]
struct Archive {
    channels: BTreeMap<u16, Sums>,
    /// Rows of ticks less the different row numbers: what is there twice.
    twice: u64,
    features: u64,
    /// Different numbers of feature records.
    feature_numbers: u64,
    instructions: u64,
    reports: u64,
}

/// Prints the reconciliation; whether it adds up.
pub(super) fn print(
    url: &str,
    redis: &mut redis::Connection,
    stream: &[Record],
    channels: &[Channel],
    trades: bool,
) -> Result<bool> {
    let archive = read(url).context("the archive")?;
    let published = of_stream(stream);
    println!("\nWhat is in the stream, and what is in the archive (counted by SQL)");
    println!(
        "  {:<16}{:>14}{:>14}{:>15}{:>15}  adds up",
        "channel", "ticks, stream", "archive", "lost, stream", "archive"
    );
    let mut all_good = archive.twice == 0 && archive.channels.keys().all(|id| published.contains_key(id));
    for (id, stream) in &published {
        let archived = archive.channels.get(id).copied().unwrap_or_default();
        let good = archived == *stream;
        all_good &= good;
        println!(
            "  {:<16}{:>14}{:>14}{:>15}{:>15}  {}",
            name_of(channels, *id),
            stream.ticks,
            archived.ticks,
            stream.lost,
            archived.lost,
            if good { "yes" } else { "NO" }
        );
    }
    let counted = [
        ("feature records", bus::names::CALCULATED_FEATURES, archive.features, true),
        ("instructions", bus::names::ORDER_INSTRUCTIONS, archive.instructions, trades),
        ("reports", bus::names::EXECUTION_REPORTS, archive.reports, trades),
    ];
    for (what, stream, archived, _) in counted.into_iter().filter(|(.., there)| *there) {
        let records: u64 = redis::cmd("XLEN").arg(stream).query(redis)?;
        let good = records == archived;
        all_good &= good;
        println!("  {what:<16}{records:>14}{archived:>14}{:>30}  {}", "", if good { "yes" } else { "NO" });
    }
    all_good &= archive.features == archive.feature_numbers;
    println!(
        "  every published tick is in the archive {}",
        if archive.twice == 0 {
            "exactly once".into()
        } else {
            format!("but {} are there twice", archive.twice)
        }
    );
    Ok(all_good)
}

fn of_stream(stream: &[Record]) -> BTreeMap<u16, Sums> {
    let mut channels = BTreeMap::<u16, Sums>::new();
    for record in stream {
        let sums = channels.entry(record.channel_id).or_default();
        match &record.content {
            Kept::Ticks(ticks) => sums.ticks += ticks.len() as u64,
            Kept::Gap(_) => sums.lost += record.last - record.first + 1,
        }
    }
    channels
}

fn read(url: &str) -> Result<Archive> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        let mut archive = Archive::default();
        let ticks = "SELECT channel_id, count(*) FROM feedplane.ticks GROUP BY channel_id";
        for row in sqlx::query(ticks).fetch_all(&mut connection).await? {
            archive.channels.entry(channel(&row)?).or_default().ticks = number(&row, 1)?;
        }
        let lost = "SELECT channel_id, sum(last - first + 1)::bigint FROM feedplane.gaps \
                    WHERE channel_id IS NOT NULL GROUP BY channel_id";
        for row in sqlx::query(lost).fetch_all(&mut connection).await? {
            archive.channels.entry(channel(&row)?).or_default().lost = number(&row, 1)?;
        }
        let twice = "SELECT count(*) - count(DISTINCT (stream, row)) FROM feedplane.ticks";
        archive.twice = number(&sqlx::query(twice).fetch_one(&mut connection).await?, 0)?;
        let features = "SELECT count(*), count(DISTINCT (stream, number)) FROM feedplane.features";
        let row = sqlx::query(features).fetch_one(&mut connection).await?;
        (archive.features, archive.feature_numbers) = (number(&row, 0)?, number(&row, 1)?);
        let instructions = "SELECT count(*) FROM feedplane.order_instructions";
        archive.instructions = number(&sqlx::query(instructions).fetch_one(&mut connection).await?, 0)?;
        let reports = "SELECT count(*) FROM feedplane.execution_reports";
        archive.reports = number(&sqlx::query(reports).fetch_one(&mut connection).await?, 0)?;
        Ok(archive)
    })
}

fn channel(row: &sqlx::postgres::PgRow) -> Result<u16> {
    Ok(u16::try_from(row.try_get::<i32, _>(0)?)?)
}

fn number(row: &sqlx::postgres::PgRow, column: usize) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?)?)
}
