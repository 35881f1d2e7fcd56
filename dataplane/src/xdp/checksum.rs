//! The UDP checksum, which the kernel's stack checks and XDP passes by: RFC 768, over a pseudo header of
//! addresses, protocol and length, the UDP header and the payload, as a ones' complement sum (RFC 1071).

/// Whether a UDP packet's checksum is right, or 0, which says that there is none.
///
/// `addresses` are the 8 bytes of source and destination in the IPv4 header; `udp` is the UDP header with
/// its payload, as long as its length field says.
#[inline]
pub(crate) fn is_right(addresses: &[u8; 8], udp: &[u8]) -> bool {
    let [_, _, _, _, _, _, high, low, ..] = *udp else { return false };
    if [high, low] == [0, 0] {
        return true;
    }
    // The sum is of 16-bit words in network order; the order of bytes within the words does not matter as
    // long as it is the same for all (RFC 1071, section 2), so words are added as the machine reads them.
    let protocol_and_length = u64::from(17u16.to_be()) + u64::from((udp.len() as u16).to_be());
    fold(sum(addresses) + sum(udp) + protocol_and_length) == 0xffff
}

/// Adds 32-bit halves of 64-bit words, for up to 2^32 words without a carry to look after.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (0u64, 0u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_ne_bytes(*word);
        low += word & 0xffff_ffff;
        high += word >> 32;
    }
    if !rest.is_empty() {
        let mut word = [0u8; 8];
        word[..rest.len()].copy_from_slice(rest);
        let word = u64::from_ne_bytes(word);
        low += word & 0xffff_ffff;
        high += word >> 32;
    }
    low + high
}

#[inline]
fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word by word, as the RFC describes it.
    fn reference(addresses: &[u8; 8], udp: &[u8]) -> u16 {
        let mut bytes = addresses.to_vec();
        bytes.extend([0, 17]);
        bytes.extend((udp.len() as u16).to_be_bytes());
        bytes.extend(udp);
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn packet(payload: &[u8], addresses: &[u8; 8]) -> Vec<u8> {
        let mut udp = vec![0x10, 0xe1, 0x67, 0x20];
        udp.extend((8 + payload.len() as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let checksum = match reference(addresses, &udp) {
            0 => 0xffff,
            sum => sum,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        udp
    }

    proptest! {
        #[test]
        fn what_the_reference_made_is_right_and_one_changed_byte_is_not(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            addresses in any::<[u8; 8]>(),
            at in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let good = packet(&payload, &addresses);
            prop_assert!(is_right(&addresses, &good));
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] ^= change;
            // A change of 0x0000 to 0xffff in ones' complement needs both bytes of a word, so one changed
            // byte always shows, unless it makes the checksum field 0.
            prop_assert!(!is_right(&addresses, &bad) || bad[6..8] == [0, 0]);
        }
    }

    #[test]
    fn no_checksum_is_taken_for_right_and_a_cut_header_is_not() {
        let mut udp = packet(b"payload", &[1, 2, 3, 4, 5, 6, 7, 8]);
        udp[6..8].fill(0);
        assert!(is_right(&[9; 8], &udp));
        for bytes in 0..8 {
            assert!(!is_right(&[9; 8], &udp[..bytes]));
        }
    }

    #[test]
    fn the_longest_packet_of_ones_does_not_overflow() {
        let addresses = [0xff; 8];
        let udp = packet(&vec![0xff; 65_527], &addresses);
        assert!(is_right(&addresses, &udp));
    }
}
