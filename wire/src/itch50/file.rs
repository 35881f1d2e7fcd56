//! The framing of Nasdaq's historical files: each message behind a big-endian 16-bit length.

/// Messages of a file, first to last, each without its length. Borrows the file's bytes.
///
/// A length of 0 ends the file, as it does in Nasdaq's BinaryFILE. A tail that is cut off is given once,
/// as [`Truncated`], and ends the iteration.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    offset: u64,
}

/// The file ends inside a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the file ends inside the frame at byte {offset}")]
pub struct Truncated {
    /// Where that frame begins.
    pub offset: u64,
}

impl<'a> Frames<'a> {
    /// The messages of a file's bytes.
    pub fn new(file: &'a [u8]) -> Frames<'a> {
        Frames { rest: file, offset: 0 }
    }

    /// Offset in the file of the frame that comes next.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = self
            .rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        match split {
            Some(([], _)) => {
                self.rest = &[];
                None
            }
            Some((message, rest)) => {
                self.offset += 2 + message.len() as u64;
                self.rest = rest;
                Some(Ok(message))
            }
            None => {
                self.rest = &[];
                Some(Err(Truncated { offset: self.offset }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_given_in_order_and_a_cut_tail_once() {
        let mut frames = Frames::new(b"\x00\x01S\x00\x02AB\x00\x05xy");
        assert_eq!(frames.next(), Some(Ok(&b"S"[..])));
        assert_eq!(frames.offset(), 3);
        assert_eq!(frames.next(), Some(Ok(&b"AB"[..])));
        assert_eq!(frames.next(), Some(Err(Truncated { offset: 7 })));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn a_zero_length_ends_the_file_and_half_a_length_is_a_cut_tail() {
        assert_eq!(Frames::new(b"\x00\x00\x00\x01S").next(), None);
        assert_eq!(Frames::new(b"\x00").next(), Some(Err(Truncated { offset: 0 })));
        assert_eq!(Frames::new(b"").next(), None);
    }
}
