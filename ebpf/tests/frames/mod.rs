//! Ethernet frames for tests, right by default and wrong wherever a test wants them to be.

use std::net::Ipv4Addr;

/// A UDP packet in an Ethernet frame. Lengths and checksums are right unless set.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) vlans: Vec<(u16, u16)>,
    pub(crate) ethertype: u16,
    pub(crate) version: u8,
    pub(crate) ihl_words: Option<u8>,
    pub(crate) options: Vec<u8>,
    pub(crate) total_bytes: Option<u16>,
    pub(crate) fragment: u16,
    pub(crate) protocol: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) udp_bytes: Option<u16>,
    pub(crate) payload: Vec<u8>,
    pub(crate) padding_bytes: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            vlans: vec![],
            ethertype: 0x0800,
            version: 4,
            ihl_words: None,
            options: vec![],
            total_bytes: None,
            fragment: 0x4000,
            protocol: 17,
            source: Ipv4Addr::new(10, 1, 2, 3),
            destination: Ipv4Addr::new(233, 54, 12, 111),
            port: 26400,
            udp_bytes: None,
            payload: (0..58).collect(),
            padding_bytes: 0,
        }
    }
}

impl Frame {
    pub(crate) fn ipv4_offset(&self) -> usize {
        14 + 4 * self.vlans.len()
    }

    pub(crate) fn payload_offset(&self) -> usize {
        self.ipv4_offset() + 20 + self.options.len() + 8
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let udp_bytes = self.udp_bytes.unwrap_or((8 + self.payload.len()) as u16);
        let header_bytes = 20 + self.options.len();
        let total = self.total_bytes.unwrap_or((header_bytes + 8 + self.payload.len()) as u16);
        let ihl = self.ihl_words.unwrap_or((header_bytes / 4) as u8);
        let mut out = vec![0x01, 0x00, 0x5e, 0x36, 0x0c, 0x6f, 2, 0, 0, 0, 0, 1];
        for (tpid, tag) in &self.vlans {
            out.extend(tpid.to_be_bytes());
            out.extend(tag.to_be_bytes());
        }
        out.extend(self.ethertype.to_be_bytes());
        let mut ip = vec![self.version << 4 | ihl, 0];
        ip.extend(total.to_be_bytes());
        ip.extend([0x12, 0x34]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([16, self.protocol, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(&self.options);
        out.extend(&ip);
        out.extend(4321u16.to_be_bytes());
        out.extend(self.port.to_be_bytes());
        out.extend(udp_bytes.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.payload);
        out.extend(std::iter::repeat_n(0, self.padding_bytes));
        out
    }
}
