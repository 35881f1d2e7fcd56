//! What is known of the pipeline, and how old it is.

use super::channels::Channels;
use crate::client::Event;
use crate::output::{cell, one_line};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What is older is marked.
pub(super) const STALE: Duration = Duration::from_secs(2);

/// Something new.
#[derive(Debug)]
pub(super) enum Update {
    Status(Value),
    Trading(Value),
    Orders(Value),
    Positions(Value),
    Denials(Value),
    Config(Value),
    /// A sign of life.
    Alive,
    /// The stream of events is lost, for this reason.
    Lost(String),
}

impl Update {
    /// What an event brings; nothing when it is of a kind that is not shown.
    pub(super) fn of_event(event: Event) -> Option<Update> {
        match event.topic.as_str() {
            "status" => Some(Update::Status(event.data)),
            "trading" => Some(Update::Trading(event.data)),
            _ => None,
        }
    }
}

/// The picture.
pub(super) struct Picture {
    pub(super) address: String,
    pub(super) status: Value,
    pub(super) trading: Value,
    pub(super) orders: Value,
    pub(super) positions: Value,
    pub(super) denials: Value,
    pub(super) config: Value,
    pub(super) channels: Channels,
    /// Why the stream is lost, while it is.
    pub(super) lost: Option<String>,
    /// When the last status came.
    status_at: Option<Instant>,
    begun: Instant,
}

impl Picture {
    pub(super) fn new(address: &str) -> Picture {
        Picture {
            address: one_line(address),
            status: Value::Null,
            trading: Value::Null,
            orders: Value::Null,
            positions: Value::Null,
            denials: Value::Null,
            config: Value::Null,
            channels: Channels::default(),
            lost: None,
            status_at: None,
            begun: Instant::now(),
        }
    }

    pub(super) fn take(&mut self, update: Update) {
        let now = Instant::now();
        match update {
            Update::Status(status) => {
                self.channels.take(&status["dataplane"]["status"], now);
                self.trading = status["trading"].clone();
                self.status = status;
                self.status_at = Some(now);
                self.lost = None;
            }
            Update::Trading(trading) => self.trading = trading,
            Update::Orders(orders) => self.orders = orders,
            Update::Positions(positions) => self.positions = positions,
            Update::Denials(denials) => self.denials = denials,
            Update::Config(config) => self.config = config,
            Update::Alive => self.lost = None,
            Update::Lost(why) => self.lost = Some(one_line(&why)),
        }
    }

    /// How old the picture is, when that must be said.
    pub(super) fn stale(&self, now: Instant) -> Option<Duration> {
        let age = now.duration_since(self.status_at.unwrap_or(self.begun));
        (age > STALE).then_some(age)
    }

    /// The trading mode in capitals.
    pub(super) fn mode(&self) -> String {
        self.trading["mode"]
            .as_str()
            .map_or_else(|| "UNKNOWN".to_owned(), |mode| one_line(mode).to_uppercase())
    }

    /// A figure of the status, as text.
    pub(super) fn figure(&self, group: &str, name: &str) -> String {
        match &self.status[group][name] {
            Value::Number(number) => number.as_f64().map_or_else(|| cell(&self.status[group][name]), count),
            other => cell(other),
        }
    }

    /// Sequence numbers lost and gaps, over all channels.
    pub(super) fn losses(&self) -> (u64, u64) {
        let sum = |of: fn(&super::channels::Channel) -> u64| {
            self.channels.all.iter().map(of).fold(0_u64, u64::saturating_add)
        };
        (sum(|channel| channel.lost), sum(|channel| channel.gaps))
    }

    /// The documents that do not yet run everywhere; nothing while it is not known.
    pub(super) fn unconverged(&self) -> Option<Vec<String>> {
        let documents = self.config["items"].as_array()?;
        let waiting = documents.iter().filter(|document| document["convergence"]["converged"] == false);
        Some(waiting.map(|document| cell(&document["service"])).collect())
    }

    /// Everything on a line.
    pub(super) fn line(&self, now: Instant) -> String {
        let stale = match (self.stale(now), &self.lost) {
            (_, Some(why)) => format!("  STALE: {why}"),
            (Some(age), None) => format!("  STALE: {} s old", age.as_secs()),
            (None, None) => String::new(),
        };
        let (lost, gaps) = self.losses();
        let open =
            self.orders["items"].as_array().map_or_else(|| "?".to_owned(), |items| items.len().to_string());
        format!(
            "{}  ticks/s {}  lag ms features {} strategy {} archiver {}  gaps {gaps}  lost {lost}  open orders {open}{stale}",
            self.mode(),
            self.figure("rates", "ticks_per_s"),
            self.figure("lags_ms", "features"),
            self.figure("lags_ms", "strategy"),
            self.figure("lags_ms", "archiver"),
        )
    }
}

/// A number short enough for a column.
pub(super) fn count(number: f64) -> String {
    match number.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 1e9 => format!("{:.2} G", number / 1e9),
        size if size >= 1e7 => format!("{:.1} M", number / 1e6),
        size if size >= 1e4 => format!("{:.1} k", number / 1e3),
        size if size >= 100.0 || number.fract() == 0.0 => format!("{number:.0}"),
        _ => format!("{number:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_without_news_says_how_old_it_is() {
        let mut picture = Picture::new("http://x");
        let begin = Instant::now();
        assert_eq!(picture.stale(begin), None);
        assert!(picture.stale(begin + STALE * 2).is_some());
        picture
            .take(Update::Status(json!({"trading": {"mode": "active"}, "rates": {"ticks_per_s": 26_556.2}})));
        let line = picture.line(Instant::now());
        assert!(line.starts_with("ACTIVE  ticks/s 26.6 k") && !line.contains("STALE"), "{line}");
        // A sign of life is no status.
        picture.take(Update::Alive);
        let line = picture.line(Instant::now() + Duration::from_secs(3));
        assert!(line.contains("STALE: 3 s old"), "{line}");
        picture.take(Update::Lost("the stream of events is lost: it was ended".into()));
        assert!(picture.line(Instant::now()).contains("STALE: the stream of events is lost"));
    }

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (1.25, "1.2"),
            (999.9, "1000"),
            (12_345.0, "12.3 k"),
            (1.5e7, "15.0 M"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn news_of_any_shape_are_no_panic() {
        let mut picture = Picture::new("http://x");
        for odd in [
            json!(null),
            json!(5),
            json!([]),
            json!({"items": 5}),
            json!({"items": [5, null, {"convergence": {"converged": false}}]}),
        ] {
            for update in [
                Update::Status,
                Update::Trading,
                Update::Orders,
                Update::Positions,
                Update::Denials,
                Update::Config,
            ] {
                picture.take(update(odd.clone()));
            }
            assert!(picture.line(Instant::now()).starts_with("UNKNOWN"));
            let _ = picture.unconverged();
        }
    }
}
