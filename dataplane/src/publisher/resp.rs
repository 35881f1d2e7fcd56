//! Redis's protocol, version 2, as far as the publisher speaks it: commands out, replies in.
//!
//! Replies are parsed in place from a buffer that may end anywhere: a whole reply or "not yet".

use std::fmt;

/// Largest bulk string accepted, bytes. The positions of 65,536 channels come as many small ones.
const BULK_BYTES_MAX: usize = 1 << 20;
/// Most elements of an array.
const ARRAY_MAX: usize = 1 << 18;
/// Arrays in arrays: EXEC's reply is one deep, nothing that is asked for is deeper than three.
const DEPTH_MAX: usize = 4;

/// A reply, borrowed from the receive buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    Array(Vec<Reply<'a>>),
}

/// Bytes that no Redis sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a Redis reply: {0}")]
pub(super) struct NotRedis(&'static str);

/// The first reply in `buffer` and its length; `None` when it is not whole yet.
pub(super) fn parse(buffer: &[u8]) -> Result<Option<(Reply<'_>, usize)>, NotRedis> {
    let mut at = 0;
    let reply = parse_at(buffer, &mut at, 0)?;
    Ok(reply.map(|reply| (reply, at)))
}

fn parse_at<'a>(buffer: &'a [u8], at: &mut usize, depth: usize) -> Result<Option<Reply<'a>>, NotRedis> {
    if depth > DEPTH_MAX {
        return Err(NotRedis("arrays nested too deep"));
    }
    let Some(line) = line_at(buffer, at)? else { return Ok(None) };
    let Some((&kind, rest)) = line.split_first() else { return Err(NotRedis("an empty line")) };
    let reply = match kind {
        b'+' => Reply::Status(rest),
        b'-' => Reply::Error(rest),
        b':' => Reply::Integer(integer(rest)?),
        b'$' => match length(rest, BULK_BYTES_MAX)? {
            None => Reply::Nil,
            Some(length) => {
                let Some(bytes) = buffer.get(*at..*at + length + 2) else { return Ok(None) };
                if !bytes.ends_with(b"\r\n") {
                    return Err(NotRedis("a string longer than announced"));
                }
                *at += length + 2;
                Reply::Bulk(&bytes[..length])
            }
        },
        b'*' => match length(rest, ARRAY_MAX)? {
            None => Reply::Nil,
            Some(count) => {
                // Every element takes at least three bytes: what is announced is not believed beyond them.
                let mut items = Vec::with_capacity(count.min((buffer.len() - *at) / 3));
                for _ in 0..count {
                    let Some(item) = parse_at(buffer, at, depth + 1)? else { return Ok(None) };
                    items.push(item);
                }
                Reply::Array(items)
            }
        },
        _ => return Err(NotRedis("an unknown reply type")),
    };
    Ok(Some(reply))
}

fn line_at<'a>(buffer: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, NotRedis> {
    let rest = &buffer[*at..];
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
        return if rest.len() > BULK_BYTES_MAX { Err(NotRedis("a line without an end")) } else { Ok(None) };
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or(NotRedis("a line without a carriage return"))?;
    *at += end + 1;
    Ok(Some(line))
}

fn integer(digits: &[u8]) -> Result<i64, NotRedis> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or(NotRedis("not a number"))
}

fn length(digits: &[u8], max: usize) -> Result<Option<usize>, NotRedis> {
    match integer(digits)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= max => Ok(Some(length)),
            _ => Err(NotRedis("a length out of range")),
        },
    }
}

/// Begins a command of `count` arguments, its name included.
pub(super) fn begin(out: &mut Vec<u8>, count: usize) {
    out.push(b'*');
    append_decimal(out, count as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends an argument.
pub(super) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    append_decimal(out, bytes.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole command.
pub(super) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments.len());
    for bytes in arguments {
        argument(out, bytes);
    }
}

/// Appends a number in decimal.
pub(super) fn append_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Status(text) | Reply::Error(text) | Reply::Bulk(text) => {
                f.write_str(&String::from_utf8_lossy(&text[..text.len().min(200)]))
            }
            Reply::Integer(value) => write!(f, "{value}"),
            Reply::Nil => f.write_str("nil"),
            Reply::Array(items) => write!(f, "an array of {}", items.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: &[u8] = b"+OK\r\n+QUEUED\r\n*3\r\n$3\r\n1-1\r\n:2\r\n$-1\r\n-ERR no\r\n";

    fn all(mut buffer: &[u8]) -> Vec<Reply<'_>> {
        let mut replies = Vec::new();
        while let Some((reply, length)) = parse(buffer).unwrap() {
            replies.push(reply);
            buffer = &buffer[length..];
        }
        assert!(buffer.is_empty());
        replies
    }

    #[test]
    fn each_kind_of_reply_is_told_apart() {
        assert_eq!(
            all(EXEC),
            [
                Reply::Status(b"OK"),
                Reply::Status(b"QUEUED"),
                Reply::Array(vec![Reply::Bulk(b"1-1"), Reply::Integer(2), Reply::Nil]),
                Reply::Error(b"ERR no"),
            ]
        );
    }

    #[test]
    fn a_reply_cut_anywhere_is_awaited() {
        let whole = b"*2\r\n$3\r\nabc\r\n*1\r\n:-7\r\n";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length}");
        }
        assert!(parse(whole).unwrap().is_some());
    }

    #[test]
    fn what_no_redis_sends_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"\r\n",
            b"+OK\n",
            b":1x\r\n",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"*1000000000\r\n",
            b"$1\r\nabc\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn random_bytes_never_break_the_parser() {
        bolero::check!().with_iterations(20_000).with_type::<Vec<u8>>().for_each(|bytes| {
            if let Ok(Some((_, length))) = parse(bytes) {
                assert!(length <= bytes.len());
            }
        });
    }

    #[test]
    fn a_command_is_written_as_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", &[0, 13, 10]]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\x00\r\n\r\n");
        out.clear();
        append_decimal(&mut out, u64::MAX);
        assert_eq!(out, b"18446744073709551615");
    }
}
