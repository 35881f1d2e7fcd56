//! Lines A and B of each channel, from the data plane's own status: counts now, and how fast they grow.

use crate::output::one_line;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Instant;

/// One line of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) packets: u64,
    pub(super) packets_per_s: f64,
    pub(super) won: u64,
    pub(super) duplicates: u64,
    pub(super) missing: u64,
    pub(super) malformed: u64,
    pub(super) lead_p50_ns: u64,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) a: Line,
    pub(super) b: Line,
    pub(super) gaps: u64,
    pub(super) lost: u64,
}

impl Channel {
    /// Of the packets that came first, how many of a hundred came on line A.
    pub(super) fn won_by_a(&self) -> Option<u64> {
        let all = self.a.won + self.b.won;
        (all > 0).then(|| (u128::from(self.a.won) * 100 / u128::from(all)) as u64)
    }
}

/// The channels of the last status, with what is needed for the rates of the next.
#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) all: Vec<Channel>,
    before: HashMap<String, [u64; 2]>,
    at: Option<Instant>,
}

impl Channels {
    /// Takes a status of the data plane; one that is none leaves no channels.
    pub(super) fn take(&mut self, status: &Value, now: Instant) {
        let seconds = self.at.map(|at| now.duration_since(at).as_secs_f64()).filter(|seconds| *seconds > 0.0);
        let workers = status["workers"].as_array().into_iter().flatten();
        let channels = workers.filter_map(|worker| worker["channels"].as_array()).flatten();
        self.all = channels.map(|channel| self.channel(channel, seconds)).collect();
        let packets = |channel: &Channel| (channel.name.clone(), [channel.a.packets, channel.b.packets]);
        self.before = self.all.iter().map(packets).collect();
        self.at = Some(now);
    }

    fn channel(&self, channel: &Value, seconds: Option<f64>) -> Channel {
        let name = one_line(channel["name"].as_str().unwrap_or("?"));
        let [mut a, mut b] = ["a", "b"].map(|line| of_line(&channel[line]));
        if let (Some(seconds), Some(before)) = (seconds, self.before.get(&name)) {
            for (line, before) in [&mut a, &mut b].into_iter().zip(before) {
                // A data plane that was started again counts anew.
                line.packets_per_s = line.packets.saturating_sub(*before) as f64 / seconds;
            }
        }
        let number = |field: &str| channel[field].as_u64().unwrap_or(0);
        Channel { name, a, b, gaps: number("gaps"), lost: number("lost") }
    }
}

fn of_line(line: &Value) -> Line {
    let number = |field: &str| line[field].as_u64().unwrap_or(0);
    Line {
        packets: number("packets"),
        packets_per_s: 0.0,
        won: number("won"),
        duplicates: number("duplicates"),
        missing: number("missing"),
        malformed: number("malformed").saturating_add(number("malformed_messages")),
        lead_p50_ns: line["lead_ns"]["p50"].as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn rates_are_of_what_has_grown_between_two_looks() {
        let status = |a: u64| json!({"workers": [{"channels": [{"name": "x", "a": {"packets": a, "won": 3}, "b": {"won": 1}, "gaps": 2}]}]});
        let mut channels = Channels::default();
        let begin = Instant::now();
        channels.take(&status(100), begin);
        assert_eq!((channels.all[0].a.packets_per_s, channels.all[0].gaps), (0.0, 2));
        channels.take(&status(300), begin + Duration::from_secs(2));
        assert_eq!(channels.all[0].a.packets_per_s, 100.0);
        assert_eq!(channels.all[0].won_by_a(), Some(75));
        channels.take(&status(5), begin + Duration::from_secs(3));
        assert_eq!(channels.all[0].a.packets_per_s, 0.0);
        channels.take(&json!({"workers": [5, {"channels": [null, 5]}]}), begin);
        assert_eq!(channels.all.len(), 2);
    }
}
