//! Server-sent events (WHATWG HTML, 9.2.6) as far as the control plane sends them: `event`, `data`, comments.

use super::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use ureq::BodyReader;

/// Largest event, bytes: a status of a thousand channels is about 2 MiB.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) topic: String,
    pub(crate) data: Value,
}

/// The stream. A comment is a sign of life, told as `None`.
pub(crate) struct Events<R = BodyReader<'static>> {
    reader: BufReader<R>,
}

impl<R: Read> Events<R> {
    pub(crate) fn new(reader: R) -> Events<R> {
        Events { reader: BufReader::new(reader) }
    }

    /// Waits for the next event, or a comment.
    ///
    /// # Errors
    /// The stream ended, or is none.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Failure> {
        let (mut topic, mut data) = (String::from("message"), String::new());
        loop {
            let line = self.line(EVENT_BYTES_MAX - data.len())?;
            if line.is_empty() {
                if data.is_empty() {
                    return Ok(None);
                }
                let parsed = serde_json::from_str(&data)
                    .map_err(|error| Failure::shape("/v1/events", &format!("JSON in an event ({error})")))?;
                return Ok(Some(Event { topic, data: parsed }));
            }
            let (field, value) = line.split_once(':').unwrap_or((line.as_str(), ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut topic),
                "data" => {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(value);
                }
                // Comments, and fields that we do not use.
                _ => {}
            }
        }
    }

    fn line(&mut self, most: usize) -> Result<String, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(most as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(|error| lost(&error.to_string()))?;
        if line.len() > most {
            return Err(Failure::shape("/v1/events", "event of a bearable size"));
        }
        if line.pop() != Some(b'\n') {
            return Err(lost("it was ended"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| Failure::shape("/v1/events", "text"))
    }
}

fn lost(why: &str) -> Failure {
    Failure::new(super::Why::NotReachable, format!("the stream of events is lost: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(text: &[u8]) -> (Vec<Option<Event>>, String) {
        let mut events = Events::new(text);
        let mut got = Vec::new();
        loop {
            match events.next() {
                Ok(event) => got.push(event),
                Err(failure) => return (got, failure.to_string()),
            }
        }
    }

    #[test]
    fn events_comments_and_line_ends_are_read() {
        let text = b": hello\n\nevent: status\r\nid: 7\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata:2\n\n";
        let (got, end) = all(text);
        let event = |topic: &str, data| Some(Event { topic: topic.into(), data });
        assert_eq!(got, [None, event("status", json!({"a": 1})), event("message", json!(2))]);
        assert!(end.contains("it was ended"), "{end}");
    }

    #[test]
    fn what_is_no_event_is_named() {
        for (text, expected) in [
            (&b"data: {\n\n"[..], "no JSON in an event"),
            (b"data: \xff\n\n", "no text"),
            (b"data: 1\n", "it was ended"),
            (b"", "it was ended"),
        ] {
            let (got, end) = all(text);
            assert!(got.is_empty() && end.contains(expected), "{end:?} should name {expected:?}");
        }
        let endless = Events::new(std::io::repeat(b'x')).next().unwrap_err().to_string();
        assert!(endless.contains("bearable size"), "{endless}");
    }
}
