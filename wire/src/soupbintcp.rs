//! SoupBinTCP: the session layer of Nasdaq's order entry, logical packets in a TCP stream.
//!
//! Layout and section numbers (§) are those of version 3.00 (22 February 2017). What the versions 4.x add is
//! understood, too, as public readers of them have it: unsequenced data from the server (4.00) and the
//! heartbeat timeout at the end of a login request (4.10). A packet is a big-endian length, which counts all
//! that follows it, a type and a payload. Text is padded with spaces: user name and password on the right,
//! session and numbers on the left. Sequenced data carry no number: both sides count them from the one in
//! [`LoginAccepted`].
//!
//! Nothing is copied: [`Packet`] borrows the caller's buffer and [`Packet::write`] fills the caller's memory.
//! [`Framer`] cuts a stream into packets, however the stream arrives in pieces.
//!
//! Invariant: a [`Framer`] either consumes a whole packet, or says how many bytes it lacks, or refuses. It
//! asks for no byte that a packet already begun does not announce.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the length in front of each packet.
pub const LENGTH_BYTES: usize = 2;
/// Bytes of the length and of the type.
pub const HEADER_BYTES: usize = LENGTH_BYTES + 1;
/// Most bytes of payload that the length can announce.
pub const MAX_PAYLOAD: usize = u16::MAX as usize - 1;
/// Most bytes of a packet with its length.
pub const MAX_PACKET: usize = HEADER_BYTES + MAX_PAYLOAD;

/// A decimal number in ASCII, padded with spaces on the left.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Number<const N: usize>([u8; N]);

impl<const N: usize> Number<N> {
    /// The field for `value`; `None` when it has more than `N` digits.
    pub const fn new(value: u64) -> Option<Number<N>> {
        let mut field = [b' '; N];
        let mut rest = value;
        let mut at = N;
        loop {
            if at == 0 {
                return None;
            }
            at -= 1;
            field[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return Some(Number(field));
            }
        }
    }

    /// The number, whichever side the spaces are on; `None` when the field is blank, holds anything but
    /// digits in one piece, or exceeds 64 bits.
    pub fn get(&self) -> Option<u64> {
        let digits = self.0.trim_ascii();
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0_u64, |value, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        })
    }
}

impl Number<20> {
    /// The field for a sequence number: 20 digits hold every 64-bit number.
    pub const fn sequence(value: u64) -> Number<20> {
        match Number::new(value) {
            Some(number) => number,
            None => unreachable!(),
        }
    }
}

impl<const N: usize> fmt::Debug for Number<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Text as user name and password have it: padded with spaces on the right. `None` when it is longer than
/// `N` bytes, so that no credential is cut in silence.
pub fn right_padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut field = [b' '; N];
    field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(field)
}

/// Text as a session has it: padded with spaces on the left. `None` when it is longer than `N` bytes.
pub fn left_padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut field = [b' '; N];
    field[N.checked_sub(text.len())?..].copy_from_slice(text.as_bytes());
    Some(field)
}

/// The login is granted (§2.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LoginAccepted {
    /// The session that is logged into, padded on the left.
    pub session: [u8; 10],
    /// Sequence number of the next sequenced data.
    pub next_sequence: Number<20>,
}

/// The client asks to log in (§2.3.1).
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LoginRequest {
    /// The user, padded on the right; case does not matter.
    pub username: [u8; 6],
    /// The password, padded on the right; case does not matter.
    pub password: [u8; 10],
    /// The session wanted, padded on the left; blank for the one that runs now.
    pub session: [u8; 10],
    /// First sequence number wanted; 0 for the next that the server makes.
    pub next_sequence: Number<20>,
}

impl fmt::Debug for LoginRequest {
    /// All but the password, which no log may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LoginRequest {{ username: \"{}\", session: \"{}\", next_sequence: {:?} }}",
            self.username.escape_ascii(),
            self.session.escape_ascii(),
            self.next_sequence
        )
    }
}

const _: () = assert!(size_of::<LoginAccepted>() == 30 && size_of::<LoginRequest>() == 46);

/// Milliseconds of silence after which the server may drop the client, from version 4.10 on.
pub type HeartbeatTimeout = Number<5>;

/// Reason of a rejected login: user name or password is wrong.
pub const NOT_AUTHORIZED: u8 = b'A';
/// Reason of a rejected login: there is no such session.
pub const SESSION_NOT_AVAILABLE: u8 = b'S';

/// The side of a connection that sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The one that connects and logs in.
    Client,
    /// The one that holds the sequenced stream.
    Server,
}

/// A logical packet, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// §2.1 `+`, either side: text for people, to be ignored by programs.
    Debug(&'a [u8]),
    /// §2.2.1 `A`.
    LoginAccepted(&'a LoginAccepted),
    /// §2.2.2 `J`: why not; [`NOT_AUTHORIZED`], [`SESSION_NOT_AVAILABLE`]. The server closes.
    LoginRejected(u8),
    /// §2.2.3 `S`: one message of the stream, which takes the next sequence number.
    SequencedData(&'a [u8]),
    /// §2.2.4 `H`: sent when the server was silent for a second.
    ServerHeartbeat,
    /// §2.2.5 `Z`: the session is over. The server closes.
    EndOfSession,
    /// §2.3.1 `L`; the timeout is there from version 4.10 on.
    LoginRequest(&'a LoginRequest, Option<&'a HeartbeatTimeout>),
    /// §2.3.2 `U`: one message without a number, which may be lost; from the server only in versions 4.x.
    UnsequencedData(&'a [u8]),
    /// §2.3.3 `R`: sent when the client was silent for a second.
    ClientHeartbeat,
    /// §2.3.4 `O`: the client is done. The server closes.
    LogoutRequest,
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// The length is 0: there is not even a type. The two bytes are passed over.
    #[error("packet without a type")]
    NoType,
    /// A type that the specification does not name. The packet is passed over.
    #[error("unknown packet type {0:#04x}")]
    UnknownType(u8),
    /// A type that only the other side sends. The packet is passed over.
    #[error("packet type {0:#04x} comes from the other side only")]
    WrongSender(u8),
    /// A known type whose payload has another length. The packet is passed over.
    #[error("packet type {packet_type:#04x} takes a payload of {expected} bytes, not {actual}")]
    WrongSize {
        /// The type.
        packet_type: u8,
        /// Bytes of payload that the type takes, without what later versions add.
        expected: usize,
        /// Bytes of payload that there are.
        actual: usize,
    },
    /// A number is not one. The packet is passed over.
    #[error("packet type {packet_type:#04x} has no number at byte {at}")]
    NotANumber {
        /// The type.
        packet_type: u8,
        /// Where the field begins, counted from the packet's length on.
        at: usize,
    },
    /// The packet is longer than the framer takes. Nothing is passed over: close the connection.
    #[error("packet of {length} bytes after its length, at most {limit} are taken: close the connection")]
    TooLong {
        /// The length that the packet announces.
        length: u16,
        /// The most that the framer takes.
        limit: u16,
    },
}

/// The buffer has no room for the packet, or the payload is longer than [`MAX_PAYLOAD`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for the packet")]
pub struct NoRoom;

impl<'a> Packet<'a> {
    /// Reads what follows a packet's length: the type and the payload, all of it.
    ///
    /// # Errors
    /// The type is unknown or not the sender's, or the payload is not the type's.
    pub fn parse(body: &'a [u8], sender: Sender) -> Result<Packet<'a>, PacketError> {
        let (&packet_type, payload) = body.split_first().ok_or(PacketError::NoType)?;
        let packet = match packet_type {
            b'+' => Packet::Debug(payload),
            b'A' => Packet::LoginAccepted(fixed(packet_type, payload)?),
            b'J' => Packet::LoginRejected(fixed::<[u8; 1]>(packet_type, payload)?[0]),
            b'S' => Packet::SequencedData(payload),
            b'H' => empty(packet_type, payload, Packet::ServerHeartbeat)?,
            b'Z' => empty(packet_type, payload, Packet::EndOfSession)?,
            b'L' => login_request(payload)?,
            b'U' => Packet::UnsequencedData(payload),
            b'R' => empty(packet_type, payload, Packet::ClientHeartbeat)?,
            b'O' => empty(packet_type, payload, Packet::LogoutRequest)?,
            unknown => return Err(PacketError::UnknownType(unknown)),
        };
        if packet.only_sender().is_some_and(|only| only != sender) {
            return Err(PacketError::WrongSender(packet_type));
        }
        match packet {
            Packet::LoginAccepted(accepted) => number(packet_type, &accepted.next_sequence, 13)?,
            Packet::LoginRequest(request, timeout) => {
                number(packet_type, &request.next_sequence, 29)?;
                timeout.map_or(Ok(()), |timeout| number(packet_type, timeout, 49))?;
            }
            _ => {}
        }
        Ok(packet)
    }

    /// The type on the wire.
    pub const fn packet_type(&self) -> u8 {
        match self {
            Packet::Debug(_) => b'+',
            Packet::LoginAccepted(_) => b'A',
            Packet::LoginRejected(_) => b'J',
            Packet::SequencedData(_) => b'S',
            Packet::ServerHeartbeat => b'H',
            Packet::EndOfSession => b'Z',
            Packet::LoginRequest(..) => b'L',
            Packet::UnsequencedData(_) => b'U',
            Packet::ClientHeartbeat => b'R',
            Packet::LogoutRequest => b'O',
        }
    }

    /// The side that alone sends such a packet, if only one does.
    pub const fn only_sender(&self) -> Option<Sender> {
        match self {
            Packet::Debug(_) | Packet::UnsequencedData(_) => None,
            Packet::LoginRequest(..) | Packet::ClientHeartbeat | Packet::LogoutRequest => {
                Some(Sender::Client)
            }
            _ => Some(Sender::Server),
        }
    }

    /// Writes the packet with its length to the front of `buffer` and gives the number of bytes.
    ///
    /// # Errors
    /// [`NoRoom`], and then nothing is written.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, NoRoom> {
        let reason;
        let (payload, more): (&[u8], &[u8]) = match self {
            Packet::Debug(data) | Packet::SequencedData(data) | Packet::UnsequencedData(data) => (data, &[]),
            Packet::LoginAccepted(accepted) => (accepted.as_bytes(), &[]),
            Packet::LoginRejected(code) => {
                reason = [*code];
                (&reason, &[])
            }
            Packet::LoginRequest(request, timeout) => {
                (request.as_bytes(), timeout.map_or(&[], IntoBytes::as_bytes))
            }
            _ => (&[], &[]),
        };
        let length = u16::try_from(1 + payload.len() + more.len()).map_err(|_| NoRoom)?;
        let end = LENGTH_BYTES + usize::from(length);
        let packet = buffer.get_mut(..end).ok_or(NoRoom)?;
        packet[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        packet[LENGTH_BYTES] = self.packet_type();
        let (first, second) = packet[HEADER_BYTES..].split_at_mut(payload.len());
        first.copy_from_slice(payload);
        second.copy_from_slice(more);
        Ok(end)
    }
}

/// A payload of one layout.
fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    packet_type: u8,
    payload: &[u8],
) -> Result<&T, PacketError> {
    let (expected, actual) = (size_of::<T>(), payload.len());
    T::ref_from_bytes(payload).map_err(|_| PacketError::WrongSize { packet_type, expected, actual })
}

fn empty<'a>(packet_type: u8, payload: &[u8], packet: Packet<'a>) -> Result<Packet<'a>, PacketError> {
    match payload.len() {
        0 => Ok(packet),
        actual => Err(PacketError::WrongSize { packet_type, expected: 0, actual }),
    }
}

fn login_request(payload: &[u8]) -> Result<Packet<'_>, PacketError> {
    let wrong = PacketError::WrongSize {
        packet_type: b'L',
        expected: size_of::<LoginRequest>(),
        actual: payload.len(),
    };
    let (request, rest) = LoginRequest::ref_from_prefix(payload).map_err(|_| wrong)?;
    let timeout = match rest {
        [] => None,
        rest => Some(HeartbeatTimeout::ref_from_bytes(rest).map_err(|_| wrong)?),
    };
    Ok(Packet::LoginRequest(request, timeout))
}

fn number<const N: usize>(packet_type: u8, field: &Number<N>, at: usize) -> Result<(), PacketError> {
    field.get().map(|_| ()).ok_or(PacketError::NotANumber { packet_type, at })
}

/// A packet that was refused, and where it begins in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("packet at byte {offset} of the stream: {reason}")]
pub struct Refused {
    /// Bytes of the stream before the packet.
    pub offset: u64,
    /// Why.
    pub reason: PacketError,
}

/// What the bytes so far give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// A whole packet, which was consumed.
    Packet(Packet<'a>),
    /// Nothing was consumed: this many more bytes are needed, at least one.
    Need(usize),
}

/// Cuts one direction of a connection into packets. It holds no bytes: the caller keeps what is not yet
/// consumed and offers it again with what arrived since.
#[derive(Clone, Debug)]
pub struct Framer {
    sender: Sender,
    limit: u16,
    offset: u64,
}

impl Framer {
    /// A framer for what `sender` sends from now on. `limit` is the most bytes that a packet may have after
    /// its length; a buffer of `limit + 2` bytes then always has room for the next packet.
    pub const fn new(sender: Sender, limit: u16) -> Framer {
        Framer { sender, limit, offset: 0 }
    }

    /// Bytes consumed so far.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next packet from the front of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// The packet at the front is refused. It is consumed, so the next call goes on behind it; only after
    /// [`PacketError::TooLong`] it is not, and each further call says the same.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Frame<'a>, Refused> {
        let whole = *bytes;
        let Some((length, rest)) = whole.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(Frame::Need(LENGTH_BYTES - whole.len()));
        };
        let (length, offset) = (u16::from_be_bytes(*length), self.offset);
        if length > self.limit {
            return Err(Refused { offset, reason: PacketError::TooLong { length, limit: self.limit } });
        }
        let Some((body, rest)) = rest.split_at_checked(usize::from(length)) else {
            return Ok(Frame::Need(usize::from(length) - rest.len()));
        };
        *bytes = rest;
        self.offset += (LENGTH_BYTES + body.len()) as u64;
        Packet::parse(body, self.sender).map(Frame::Packet).map_err(|reason| Refused { offset, reason })
    }
}
