//! Asking a service's endpoint, and reading Prometheus's text format.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a service on this machine to take the connection, and for each part of its answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// Largest answer: the metrics of a thousand feeds are about 10 MiB.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// The status and the body of what is at this path.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    // Version 1.0: the answer is neither cut in chunks nor followed by another.
    // In one write: whoever answers before it has all of it may close meanwhile.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer)?;
    ensure!(answer.len() as u64 <= ANSWER_BYTES_MAX, "the answer is larger than {ANSWER_BYTES_MAX} bytes");
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no answer in HTTP") };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("no status in the answer")?, body.to_owned()))
}

/// The samples of `/metrics`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<(String, f64)>);

impl Samples {
    /// Lines that are no samples are passed over.
    pub(super) fn parse(text: &str) -> Samples {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            (!line.starts_with('#')).then_some((name.to_owned(), value.parse().ok()?))
        };
        Samples(text.lines().filter_map(sample).collect())
    }

    /// The sum over all labels; nothing when there is no such metric.
    pub(crate) fn sum(&self, metric: &str) -> Option<f64> {
        let of_metric = |name: &str| name.split('{').next() == Some(metric);
        self.0
            .iter()
            .filter(|(name, _)| of_metric(name))
            .map(|(_, value)| value)
            .copied()
            .reduce(|a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(answer: &'static [u8]) -> Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]);
            stream.write_all(answer).unwrap();
        });
        let got = get(address, "/readyz");
        server.join().unwrap();
        got
    }

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let (status, body) =
            answered(b"HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\n{\"ready\":false}").unwrap();
        assert_eq!((status, body.as_str()), (503, "{\"ready\":false}"));
        for broken in [&b""[..], b"\xff\xfe", b"HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n"] {
            assert!(answered(broken).is_err());
        }
    }

    #[test]
    fn samples_are_summed_over_their_labels() {
        let text = "# TYPE a_total counter\na_total{x=\"1 2\"} 3\na_total{x=\"2\"} 4\na_total_more 9\nb 1.5\nc\n\nd x\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.sum("a_total"), Some(7.0));
        assert_eq!((samples.sum("b"), samples.sum("c"), samples.sum("d")), (Some(1.5), None, None));
    }
}
