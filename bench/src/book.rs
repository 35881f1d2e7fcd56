//! Packets of MDP 3.0 book refreshes, written and read by the code that `sbe_gen` generated from
//! `schema/book.xml`: the decoder that table (c) compares with, and the packets that other tables send.

use std::hint::black_box;

#[allow(warnings, missing_docs, clippy::all, clippy::unwrap_used, clippy::cast_lossless)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/book.rs"));
}

use generated::md_incremental_refresh_book32 as book;
use generated::message_header::MessageHeader;

/// The schema that both decoders are made from.
pub const SCHEMA: &str = include_str!("../schema/book.xml");

const PACKET_HEADER_BYTES: usize = 12;
const SIZE_BYTES: usize = 2;

/// Every field of an entry, as the generated decoder gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Price mantissa, 1e-7.
    pub price: i64,
    /// Quantity.
    pub size: i32,
    /// The instrument.
    pub security_id: i32,
    /// The instrument's own sequence.
    pub rpt_seq: u32,
    /// Orders at the level.
    pub orders: i32,
    /// Price level.
    pub level: u8,
    /// What to do with it.
    pub action: u8,
    /// Bid, offer, implied.
    pub kind: u8,
}

/// Decodes a packet of book refreshes with the generated code and gives the number of its entries; none when
/// there is anything else in it.
pub fn walk(packet: &[u8], take: &mut impl FnMut(&Entry)) -> Option<usize> {
    let mut rest = packet.get(PACKET_HEADER_BYTES..)?;
    let mut entries = 0;
    while !rest.is_empty() {
        let size = usize::from(u16::from_le_bytes(*rest.first_chunk::<SIZE_BYTES>()?));
        let message = rest.get(SIZE_BYTES..size)?;
        rest = &rest[size..];
        let (header, body) = MessageHeader::parse_prefix(message)?;
        if header.template_id.get() != book::MDIncrementalRefreshBook32::TEMPLATE_ID {
            return None;
        }
        let (view, groups) = book::parse_with_header(body, header)?;
        black_box(view.transact_time()?.get());
        for entry in book::parse_no_md_entries(groups)?.iter() {
            entries += 1;
            take(&Entry {
                price: entry.md_entry_px()?.mantissa.get(),
                size: entry.md_entry_size()?.get(),
                security_id: entry.security_id()?.get(),
                rpt_seq: entry.rpt_seq()?.get(),
                orders: entry.number_of_orders()?.get(),
                level: *entry.md_price_level()?,
                action: entry.md_update_action()?.0,
                kind: entry.md_entry_type()?.0,
            });
        }
    }
    Some(entries)
}

/// A packet with one book refresh.
pub fn encode(sequence: u32, sent_ns: u64, entries: &[Entry]) -> Vec<u8> {
    let mut message = book::MDIncrementalRefreshBook32Builder::new();
    message.transact_time(sent_ns.into());
    let fits = message.no_md_entries(|group| {
        for entry in entries {
            group.entry(|to| {
                to.md_entry_px(generated::types::PRICENULL { mantissa: entry.price.into() })
                    .md_entry_size(entry.size.into())
                    .security_id(entry.security_id.into())
                    .rpt_seq(entry.rpt_seq.into())
                    .number_of_orders(entry.orders.into())
                    .md_price_level(entry.level)
                    .md_update_action(generated::types::MDUpdateAction(entry.action))
                    .md_entry_type(generated::types::MDEntryTypeBook(entry.kind));
            });
        }
    });
    assert!(fits.is_ok(), "a group holds at most 255 entries");
    let framed = message.finish_with_header();
    let mut packet = Vec::with_capacity(PACKET_HEADER_BYTES + SIZE_BYTES + framed.len());
    packet.extend_from_slice(&sequence.to_le_bytes());
    packet.extend_from_slice(&sent_ns.to_le_bytes());
    packet.extend_from_slice(&((framed.len() + SIZE_BYTES) as u16).to_le_bytes());
    packet.extend_from_slice(&framed);
    // The builder has no way to set the schema id of the message header.
    packet[PACKET_HEADER_BYTES + SIZE_BYTES + 4] = 1;
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_packet_reads_back_entry_for_entry_and_a_cut_one_does_not() {
        let entry = Entry {
            price: 1,
            size: 2,
            security_id: 3,
            rpt_seq: 4,
            orders: 5,
            level: 6,
            action: 1,
            kind: b'0',
        };
        let sent = [entry, Entry { price: -7, kind: b'1', ..entry }];
        let packet = encode(9, 10, &sent);
        let mut read = Vec::new();
        assert_eq!(walk(&packet, &mut |entry| read.push(*entry)), Some(2));
        assert_eq!(read, sent);
        assert_eq!(walk(&packet[..packet.len() - 1], &mut |_| {}), None);
    }
}
