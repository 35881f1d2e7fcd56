//! The sender of table (e): packets at an even rate on both lines, stamped as they leave.

use crate::book::{self, Entry};
use crate::processes::sleep_exactly;
use crate::world::{GROUPS, PORT, VENUE_ENDS};
use anyhow::Result;
use lab::network::Network;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use venue::script::Dispatch;
use venue::send::{Outlet, RawOutlet, RawTarget};
use venue::session::{Line, LineAddress};

/// Sends `packets` packets, `rate` a second, and gives by how much the latest of them was late, ns.
///
/// It sleeps between them, because it shares the cores with what is measured; what is due when it wakes is
/// sent in one system call, stamped before it, line A before line B packet by packet.
pub(super) fn send(network: &Network, rate: u64, packets: u64) -> Result<u64> {
    network.run(|| {
        sleep_exactly();
        let interfaces = VENUE_ENDS.map(|name| Some(name.to_owned()));
        let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 16 })?;
        let began = Instant::now();
        let (mut sent, mut latest_ns) = (0, 0);
        while sent < packets {
            let now_ns = began.elapsed().as_nanos() as u64;
            let due = (now_ns * rate / 1_000_000_000 + 1).min(packets);
            if sent == due {
                let next_ns = sent * 1_000_000_000 / rate;
                std::thread::sleep(Duration::from_nanos(next_ns.saturating_sub(now_ns)));
                continue;
            }
            latest_ns = latest_ns.max(now_ns.saturating_sub(sent * 1_000_000_000 / rate));
            while sent < due {
                sent += 1;
                send_one(&mut outlet, u32::try_from(sent)?)?;
            }
            outlet.flush()?;
        }
        Ok(latest_ns)
    })
}

fn send_one(outlet: &mut RawOutlet, sequence: u32) -> Result<()> {
    let entry = Entry {
        price: 42_000_000_000 + i64::from(sequence % 64) * 2_500_000,
        size: 10,
        security_id: 1_000 + (sequence % 16).cast_signed(),
        rpt_seq: sequence,
        orders: 3,
        level: 1,
        action: 1,
        kind: b'0',
    };
    let sent_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let payload = book::encode(sequence, sent_ns, &[entry]);
    for line in Line::BOTH {
        let at = line.index();
        let source = SocketAddrV4::new(Ipv4Addr::new(10, 91 + at as u8, 0, 1), 40_000);
        let address = LineAddress { destination: SocketAddrV4::new(GROUPS[at], PORT), source };
        outlet.send(&Dispatch { due_ns: 0, line, address, payload: &payload, damage: None })?;
    }
    Ok(())
}
