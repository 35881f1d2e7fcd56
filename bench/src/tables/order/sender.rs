//! The sender of table (j): a session at an even rate of ticks on both lines, stamped as the packets leave.

use crate::processes::sleep_exactly;
use crate::session::{Session, day_begins_ns, write_time};
use crate::world::{GROUPS, PORT, VENUE_ENDS};
use anyhow::Result;
use lab::network::Network;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use venue::script::Dispatch;
use venue::send::{Outlet, RawOutlet, RawTarget};
use venue::session::{Line, LineAddress};

/// What was sent.
pub(super) struct Sent {
    /// When each packet was handed to the kernel, ns since the epoch.
    pub(super) stamps_ns: Vec<u64>,
    /// By how much the latest packet was late, ns.
    pub(super) latest_ns: u64,
}

/// Between the opening of the day and trading: the strategies learn what is listed.
pub(super) const OPENING: Duration = Duration::from_millis(1_500);

/// Sends the session, so many ticks a second. It sleeps between packets, because it shares the cores with what is measured;
/// what is due when it wakes is sent in one system call, stamped before it, line A before line B packet by packet.
pub(super) fn send(network: &Network, session: &Session, rate: u64) -> Result<Sent> {
    network.run(|| {
        sleep_exactly();
        let interfaces = VENUE_ENDS.map(|name| Some(name.to_owned()));
        let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 16 })?;
        let day_ns = day_begins_ns(now_ns()?)?;
        let mut sent = Sent { stamps_ns: Vec::with_capacity(session.packets.len()), latest_ns: 0 };
        let mut began = Instant::now();
        let (mut due_ns, mut waiting) = (0, false);
        for (at, packet) in session.packets.iter().enumerate() {
            if at == session.opening {
                outlet.flush()?;
                std::thread::sleep(OPENING);
                (began, due_ns) = (Instant::now(), 0);
            }
            let mut passed_ns = began.elapsed().as_nanos() as u64;
            while passed_ns < due_ns {
                if std::mem::take(&mut waiting) {
                    outlet.flush()?;
                }
                std::thread::sleep(Duration::from_nanos(due_ns - passed_ns));
                passed_ns = began.elapsed().as_nanos() as u64;
            }
            sent.latest_ns = sent.latest_ns.max(passed_ns - due_ns);
            let mut payload = packet.payload.clone();
            let stamp_ns = now_ns()?;
            write_time(&mut payload, stamp_ns - day_ns);
            sent.stamps_ns.push(stamp_ns);
            for line in Line::BOTH {
                let at = line.index();
                let source = SocketAddrV4::new(Ipv4Addr::new(10, 91 + at as u8, 0, 1), 40_000);
                let address = LineAddress { destination: SocketAddrV4::new(GROUPS[at], PORT), source };
                outlet.send(&Dispatch { due_ns: 0, line, address, payload: &payload, damage: None })?;
            }
            waiting = true;
            due_ns += u64::from(packet.ticks) * 1_000_000_000 / rate;
        }
        outlet.flush()?;
        Ok(sent)
    })
}

fn now_ns() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64)
}
