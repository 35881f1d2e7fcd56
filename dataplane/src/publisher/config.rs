//! The publisher's settings. Each says its unit and what goes wrong when it is too small or too large.

use super::PublisherError;
use bus::config::{PublisherSection, WaitStrategy};
use std::path::{Path, PathBuf};

/// What the publisher is to do.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// `redis://[user:password@]host[:port][/db]` or `unix:///path[?db=&user=&pass=]`.
    pub redis_url: String,
    /// The stream's name; shards add `:{i}`.
    pub stream: String,
    /// Streams that the ticks are spread over, by instrument: 1 to [`bus::names::SHARDS_MAX`].
    pub shards: u16,
    /// Entries kept in each stream (`MAXLEN ~`). Worst case in memory is this × (`batch_ticks_max` × 64 B
    /// + 150 B). Too small: a reader that pauses misses data (and sees it).
    pub entries_max: u64,
    /// Most ticks in one write and so in one entry. Too small: a burst costs more CPU per tick; too large:
    /// the first tick of a burst waits for a longer write.
    pub batch_ticks_max: usize,
    /// Where ticks wait while Redis is slow or gone.
    pub spool: SpoolConfig,
    /// What the thread does while there is nothing to do.
    pub wait: WaitStrategy,
    /// The core to pin to.
    pub core: Option<usize>,
}

/// Where ticks wait while Redis is slow or gone. What does not fit is lost, counted and declared.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Ticks kept in memory, 64 B each.
    pub memory_ticks: usize,
    /// A file for what memory cannot take, and the most bytes that it may grow to.
    pub disk: Option<(PathBuf, u64)>,
}

impl Default for PublisherConfig {
    fn default() -> PublisherConfig {
        PublisherConfig {
            redis_url: "redis://127.0.0.1:6379".to_owned(),
            stream: bus::names::RAW_MARKET_DATA.to_owned(),
            shards: 1,
            entries_max: 131_072,
            batch_ticks_max: PublisherConfig::BATCH_TICKS,
            spool: SpoolConfig { memory_ticks: 1 << 20, disk: None },
            wait: WaitStrategy::Adaptive,
            core: None,
        }
    }
}

impl PublisherConfig {
    /// The usual `batch_ticks_max`: 32 KiB, the size from which Redis takes an argument without copying it.
    pub const BATCH_TICKS: usize = 512;

    /// From the data plane's document; a relative spool path begins in `directory`.
    pub fn from_section(section: &PublisherSection, directory: &Path) -> PublisherConfig {
        let disk =
            section.spool_file.as_ref().map(|file| (directory.join(file), section.spool_file_bytes_max));
        PublisherConfig {
            redis_url: section.redis.clone(),
            shards: section.shards,
            entries_max: section.entries_max,
            spool: SpoolConfig { memory_ticks: section.spool_ticks as usize, disk },
            wait: section.wait,
            core: section.core,
            ..PublisherConfig::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), PublisherError> {
        let rule = |setting, value: u64, low: u64, high: u64, rule| {
            let fits = (low..=high).contains(&value);
            if fits { Ok(()) } else { Err(PublisherError::Setting { setting, value, rule }) }
        };
        let shards_max = u64::from(bus::names::SHARDS_MAX);
        rule("shards", self.shards.into(), 1, shards_max, "choose 1 to 256")?;
        rule("entries_max", self.entries_max, 1, u64::MAX, "keep at least one entry")?;
        rule("batch_ticks_max", self.batch_ticks_max as u64, 1, 16_384, "choose 1 to 16384")?;
        rule("memory_ticks", self.spool.memory_ticks as u64, 1, 1 << 32, "choose 1 to 4294967296")?;
        if let Some((_, bytes_max)) = &self.spool.disk {
            let block = super::disk::BLOCK_BYTES as u64;
            rule("spool file bytes", *bytes_max, block, 1 << 44, "choose 256 KiB to 16 TiB")?;
        }
        Ok(())
    }
}
