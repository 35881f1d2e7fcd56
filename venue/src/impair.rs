//! What a bad network does to one line, decided packet by packet: the same seed, the same fate.
//!
//! Pure: no socket, no clock. Every packet draws the same count of random numbers whatever is switched on,
//! so that changing one probability does not move the others' choices.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::ops::Range;
use std::str::FromStr;

use crate::session::Line;

/// The longest time that a reordered packet is held back when no other follows it, ns, unless said otherwise.
/// Well under the usual gap timeout, so that holding back is never taken for loss.
pub const DEFAULT_HOLD_NS: u64 = 1_000_000;

/// What is done to one line. All zero: nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Impairment {
    /// Probability that a packet is lost, each on its own.
    pub loss: f64,
    /// Losses in a row.
    pub burst: Option<Burst>,
    /// Probability that a packet is sent twice.
    pub duplicate: f64,
    /// Packets sent after later ones.
    pub reorder: Option<Reorder>,
    /// Delay of the whole line, ns.
    pub skew_ns: u64,
    /// Most that is added to the delay, evenly spread, ns. A line is a queue: jitter alone never reorders.
    pub jitter_ns: u64,
    /// Probability that bits are flipped after the checksum was computed. Raw frames only.
    pub corrupt: f64,
    /// Probability that the payload is cut, with lengths and checksum right for what is left.
    pub truncate: f64,
    /// Session times in which the line says nothing, ns.
    pub silence: Vec<Range<u64>>,
}

/// Losses in a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Burst {
    /// Probability that a packet begins a burst.
    pub probability: f64,
    /// How many packets it takes.
    pub packets: u32,
}

/// Packets sent after later ones.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reorder {
    /// Probability that a packet is held back.
    pub probability: f64,
    /// How many later packets of the line overtake it.
    pub packets: u32,
    /// It is sent after this time even when fewer came, ns.
    pub hold_ns: u64,
}

/// Why a line did not deliver a packet whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withheld {
    /// Lost, alone or in a burst.
    Loss,
    /// The line was silent.
    Silence,
    /// Sent with flipped bits: the receiver's checksum refuses it.
    Corrupt,
    /// Sent cut: the receiver's framing check refuses it.
    Truncate,
}

/// What becomes of one packet on one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Why it is not delivered whole; `None` = it is.
    pub withheld: Option<Withheld>,
    /// Sent a second time, right after.
    pub duplicated: bool,
    /// Held back until so many later packets of the line have gone; 0 = sent in its turn.
    pub overtaken_by: u32,
    /// Delay by jitter, ns.
    pub jitter_ns: u64,
    /// Random bits that choose what is flipped or how much is cut.
    pub damage: u64,
}

impl Fate {
    /// Delivered once, in its turn, without jitter.
    pub const CLEAN: Fate =
        Fate { withheld: None, duplicated: false, overtaken_by: 0, jitter_ns: 0, damage: 0 };

    /// Whether anything goes out on the wire.
    pub fn is_sent(&self) -> bool {
        !matches!(self.withheld, Some(Withheld::Loss | Withheld::Silence))
    }
}

/// Decides the fates of one line's packets, one after the other.
#[derive(Clone, Debug)]
pub struct Impairer {
    impairment: Impairment,
    random: ChaCha8Rng,
    burst_left: u32,
}

impl Impairer {
    /// The fates of `line` for this seed; the two lines of one seed are independent.
    pub fn new(impairment: Impairment, seed: u64, line: Line) -> Impairer {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1 + line.index() as u64);
        Impairer { impairment, random, burst_left: 0 }
    }

    /// What is done to the line.
    pub fn impairment(&self) -> &Impairment {
        &self.impairment
    }

    /// The fate of the next packet, which is sent at session time `at_ns`.
    pub fn decide(&mut self, at_ns: u64) -> Fate {
        let [loss, burst, duplicate, reorder, corrupt, truncate] = std::array::from_fn(|_| self.unit());
        let (jitter, damage) = (self.unit(), self.random.next_u64());
        let impairment = &self.impairment;
        let in_burst = self.burst_left > 0;
        self.burst_left = self.burst_left.saturating_sub(1);
        let mut bursting = in_burst;
        if let Some(Burst { probability, packets }) = impairment.burst
            && !in_burst
            && burst < probability
        {
            self.burst_left = packets.saturating_sub(1);
            bursting = packets > 0;
        }
        let withheld = if impairment.silence.iter().any(|silence| silence.contains(&at_ns)) {
            Some(Withheld::Silence)
        } else if bursting || loss < impairment.loss {
            Some(Withheld::Loss)
        } else if corrupt < impairment.corrupt {
            Some(Withheld::Corrupt)
        } else if truncate < impairment.truncate {
            Some(Withheld::Truncate)
        } else {
            None
        };
        let held = impairment.reorder.filter(|held| withheld.is_none() && reorder < held.probability);
        Fate {
            withheld,
            duplicated: withheld.is_none() && duplicate < impairment.duplicate,
            overtaken_by: held.map_or(0, |held| held.packets),
            jitter_ns: (jitter * impairment.jitter_ns as f64) as u64,
            damage,
        }
    }

    /// A number in 0 .. 1, from 53 random bits.
    fn unit(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How many bytes of a payload are left when it is cut: 1 to 9 fewer. That is less than the smallest message
/// of either protocol, so the cut never falls between two messages, and the receiver can tell.
pub fn cut_length(payload_bytes: usize, damage: u64) -> usize {
    payload_bytes.saturating_sub(1 + (damage % 9) as usize)
}

/// Flips one to three bits that lie next to each other: always caught by a 16-bit checksum (RFC 1071).
pub fn flip_bits(payload: &mut [u8], damage: u64) {
    if payload.is_empty() {
        return;
    }
    let at = (damage >> 8) as usize % payload.len();
    payload[at] ^= match damage % 3 {
        0 => 0b1,
        1 => 0b11_0000,
        _ => 0b1110,
    };
}

/// An impairment as it is written on a command line, and the lines that it is for.
#[derive(Clone, PartialEq, Debug)]
pub struct LineImpairment {
    /// Whether it is for line A and line B.
    pub lines: [bool; 2],
    /// What is done to them.
    pub impairment: Impairment,
}

/// What is wrong with a written impairment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}; write for example a:loss=0.01,burst=0.001/20,reorder=0.05/3,skew=200us")]
pub struct ImpairmentError(String);

impl FromStr for LineImpairment {
    type Err = ImpairmentError;

    /// `a:…`, `b:…` or `both:…`, then an [`Impairment`].
    fn from_str(text: &str) -> Result<LineImpairment, ImpairmentError> {
        let (lines, rest) = text.split_once(':').unwrap_or(("", text));
        let lines = match lines {
            "a" => [true, false],
            "b" => [false, true],
            "both" => [true, true],
            _ => return Err(ImpairmentError(format!("{text:?} does not begin with a:, b: or both:"))),
        };
        Ok(LineImpairment { lines, impairment: rest.parse()? })
    }
}

impl FromStr for Impairment {
    type Err = ImpairmentError;

    /// Comma-separated: `loss=P`, `burst=P/PACKETS`, `duplicate=P`, `reorder=P/PACKETS[/TIME]`,
    /// `skew=TIME`, `jitter=TIME`, `corrupt=P`, `truncate=P`, `silence=TIME..TIME` (may stand more than once).
    /// P is a probability from 0 to 1, TIME a number with `ns`, `us`, `ms` or `s`.
    fn from_str(text: &str) -> Result<Impairment, ImpairmentError> {
        let mut impairment = Impairment::default();
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| ImpairmentError(format!("{part:?} is not a name and a value")))?;
            if key != "silence" && seen.contains(&key) {
                return Err(ImpairmentError(format!("{key} stands twice")));
            }
            seen.push(key);
            impairment
                .set(key, value)
                .ok_or_else(|| ImpairmentError(format!("{part:?} is not understood")))?;
        }
        Ok(impairment)
    }
}

impl Impairment {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "loss" => self.loss = probability(value)?,
            "duplicate" => self.duplicate = probability(value)?,
            "corrupt" => self.corrupt = probability(value)?,
            "truncate" => self.truncate = probability(value)?,
            "skew" => self.skew_ns = parse_time_ns(value)?,
            "jitter" => self.jitter_ns = parse_time_ns(value)?,
            "burst" => {
                let (chance, packets) = value.split_once('/')?;
                self.burst = Some(Burst { probability: probability(chance)?, packets: count(packets)? });
            }
            "reorder" => {
                let (chance, rest) = value.split_once('/')?;
                let (packets, hold) = match rest.split_once('/') {
                    Some((packets, hold)) => (packets, parse_time_ns(hold)?),
                    None => (rest, DEFAULT_HOLD_NS),
                };
                let (probability, packets) = (probability(chance)?, count(packets)?);
                self.reorder = Some(Reorder { probability, packets, hold_ns: hold });
            }
            "silence" => {
                let (from, to) = value.split_once("..")?;
                let silence = parse_time_ns(from)?..parse_time_ns(to)?;
                if silence.is_empty() {
                    return None;
                }
                self.silence.push(silence);
            }
            _ => return None,
        }
        Some(())
    }
}

fn probability(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value| (0.0..=1.0).contains(value))
}

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&count| (1..=1_000_000).contains(&count))
}

/// A time as it is written on a command line: `250ns`, `200us`, `1.5ms`, `2s`.
pub fn parse_time_ns(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit_ns = match &text[digits..] {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    let ns = text[..digits].parse::<f64>().ok()? * unit_ns;
    (0.0..=1e18).contains(&ns).then_some(ns.round() as u64)
}
