//! Synthetic sessions: what two lines bring, and in which order, all from one seed.
//!
//! The truth is known: each packet says of which count (epoch) it is, with numbers that do not wrap. What
//! the arbiter gets to see is only the bytes.

use super::support::{Wire, identity};
use feed::{Line, PacketKind};

/// SplitMix64: small, seedable, good enough to choose losses.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A packet that arrives, with the truth about it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub line: Line,
    pub recv_ns: u64,
    pub send_ns: u64,
    /// Which count of the sender, from 0.
    pub epoch: usize,
    /// First number, not wrapped.
    pub first: u64,
    pub count: u64,
    pub kind: PacketKind,
    pub reset: bool,
}

impl Packet {
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The bytes, as this kind of sender writes them.
    pub fn write(&self, kind: Kind, bytes: &mut Vec<u8>) {
        let epoch = self.epoch as u64 + 1;
        let messages = (self.first..self.end()).map(|sequence| identity(epoch, sequence)).collect();
        let (session, send_ns) = match kind {
            Kind::Mold => (epoch, 0),
            Kind::Mdp => (0, self.send_ns),
        };
        bytes.clear();
        Wire { session, first: self.first, send_ns, kind: self.kind, reset: self.reset, messages }
            .write(bytes);
    }
}

/// Which of the made-up protocols the sender speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Mold,
    Mdp,
}

/// Everything about one run.
#[derive(Debug)]
pub struct Session {
    pub kind: Kind,
    pub window_packets: usize,
    pub gap_timeout_ns: u64,
    pub next_sequence: Option<u64>,
    /// Window and time are large enough that nothing that arrives is ever given up.
    pub ample: bool,
    /// In order of arrival.
    pub packets: Vec<Packet>,
}

/// Longest way of a packet on a line, ns.
const DELAY_MAX_NS: u64 = 80_000;
/// Longer than one line can be behind the other: its way, and the pauses in which it gathers up to five
/// messages for a packet.
const AMPLE_NS: u64 = 5_000_000;

/// A packet as sent, before the lines do to it what they do.
struct Sent {
    first: u64,
    count: u64,
    send_ns: u64,
    kind: PacketKind,
    reset: bool,
}

impl Session {
    pub fn new(seed: u64) -> Session {
        let mut dice = Dice::new(seed);
        let kind = if dice.once_in(2) { Kind::Mold } else { Kind::Mdp };
        let loss_per_mille = [1, 10, 100][(seed % 3) as usize];
        let ample = dice.once_in(2);
        let first = match dice.below(4) {
            0 => 1,
            1 => dice.between(2, 100_000),
            // So far below the wrap that the first packet seen is below it, too.
            2 if kind == Kind::Mdp => (1 << 32) - dice.between(30, 40),
            _ => dice.between(1_000_000, 4_000_000_000),
        };
        let next_sequence = match dice.below(3) {
            0 => Some(first),
            1 => Some(first.saturating_sub(dice.below(3)).max(1)),
            _ => None,
        };
        let mut session = Session {
            kind,
            window_packets: if ample { 1024 } else { dice.between(1, 12) as usize },
            gap_timeout_ns: if ample { AMPLE_NS } else { dice.between(1_000, 100_000) },
            next_sequence,
            ample,
            packets: Vec::new(),
        };
        session.send_all(&mut dice, first, loss_per_mille);
        session.packets.sort_by_key(|packet| (packet.recv_ns, packet.line.index()));
        session
    }

    fn send_all(&mut self, dice: &mut Dice, mut first: u64, loss_per_mille: u64) {
        let lines = Line::BOTH.map(|line| Way::new(line, loss_per_mille, dice));
        let mut now_ns = 1_000_000_000;
        for epoch in 0..dice.between(1, 3) as usize {
            let messages = dice.between(64, 110);
            let times: Vec<u64> = (0..messages).map(|_| later(&mut now_ns, dice)).collect();
            let reset_at = (self.kind == Kind::Mdp && dice.once_in(3))
                .then(|| if dice.once_in(2) { 0 } else { dice.below(messages) });
            for way in &lines {
                for sent in self.cut(dice, first, &times, reset_at) {
                    way.carry(epoch, &sent, dice, &mut self.packets);
                }
            }
            now_ns += dice.between(1_000, 60_000);
            first = 1;
        }
    }

    /// Cuts messages into the packets of one line.
    fn cut(&self, dice: &mut Dice, first: u64, times: &[u64], reset_at: Option<u64>) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut at = 0;
        while at < times.len() {
            let count = if self.kind == Kind::Mold { dice.between(1, 5) as usize } else { 1 };
            let count = count.min(times.len() - at);
            let send_ns = times[at + count - 1];
            sent.push(Sent {
                first: first + at as u64,
                count: count as u64,
                send_ns,
                // MDP-like: a heartbeat has a number of its own. Which ones are, both lines agree on.
                kind: if self.kind == Kind::Mdp && send_ns.is_multiple_of(16) {
                    PacketKind::Heartbeat
                } else {
                    PacketKind::Data
                },
                reset: reset_at == Some(at as u64),
            });
            at += count;
            if self.kind == Kind::Mold && dice.once_in(8) {
                let beat = PacketKind::Heartbeat;
                sent.push(Sent {
                    first: first + at as u64,
                    count: 0,
                    send_ns: send_ns + 1,
                    kind: beat,
                    reset: false,
                });
            }
        }
        if self.kind == Kind::Mold {
            let last = if dice.once_in(2) { PacketKind::EndOfSession } else { PacketKind::Heartbeat };
            let end = first + times.len() as u64;
            for repetition in 0..dice.below(4) {
                let send_ns = times[times.len() - 1] + 10 + repetition * 500;
                sent.push(Sent { first: end, count: 0, send_ns, kind: last, reset: false });
            }
        }
        sent
    }
}

/// The time of the next message: mostly soon, at times in a burst, seldom after a pause.
fn later(now_ns: &mut u64, dice: &mut Dice) -> u64 {
    *now_ns += match dice.below(40) {
        0 => dice.between(50_000, 400_000),
        1..=10 => dice.between(1, 50),
        _ => dice.between(100, 5_000),
    };
    *now_ns
}

/// What one line does to packets.
struct Way {
    line: Line,
    loss_per_mille: u64,
    delay_ns: u64,
    jitter_ns: u64,
    /// Sent in this time, nothing arrives.
    silent: std::ops::Range<u64>,
}

impl Way {
    fn new(line: Line, loss_per_mille: u64, dice: &mut Dice) -> Way {
        let jitter_ns = if dice.once_in(2) { 1 } else { dice.between(100, 30_000) };
        let from = 1_000_000_000 + dice.below(400_000);
        let silent = if dice.once_in(6) { from..from + dice.below(30_000) } else { 0..0 };
        Way { line, loss_per_mille, delay_ns: dice.below(DELAY_MAX_NS - 30_000), jitter_ns, silent }
    }

    fn carry(&self, epoch: usize, sent: &Sent, dice: &mut Dice, arrivals: &mut Vec<Packet>) {
        let copies = 1 + u64::from(dice.once_in(100));
        for _ in 0..copies {
            let lost = dice.below(1000) < self.loss_per_mille || self.silent.contains(&sent.send_ns);
            let recv_ns = sent.send_ns + self.delay_ns + dice.below(self.jitter_ns);
            if !lost {
                arrivals.push(Packet {
                    line: self.line,
                    recv_ns,
                    send_ns: sent.send_ns,
                    epoch,
                    first: sent.first,
                    count: sent.count,
                    kind: sent.kind,
                    reset: sent.reset,
                });
            }
        }
    }
}
