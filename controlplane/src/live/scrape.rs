//! Asks a process for its metrics and health, and reads Prometheus's text format.
//!
//! The address comes from a report in Redis, so whoever can write there chooses where we ask. What we ask is therefore
//! harmless (two fixed GETs without a credential), small ([`ANSWER_BYTES_MAX`]), short ([`ANSWER_WITHIN`]), and only ever of
//! this machine or of a private network ([`may_be_asked`]): not of the open internet, and not of link-local addresses, where
//! clouds answer with secrets. Of what comes back only numbers under names of feedplane's are kept.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for a whole answer. Below the second at which the next is asked for.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// Largest answer, bytes: some ten thousand lines of metrics.
pub const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Most figures that are kept of one process.
const FIGURES_MAX: usize = 1_024;
/// Longest name of a figure, with its labels, bytes.
const NAME_BYTES_MAX: usize = 256;
/// What the names of all processes' metrics begin with.
const PREFIX: &str = "feedplane_";

/// Why a process could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// Not an address, or one that is not asked.
    #[error("{0:?} is not asked: only addresses of this machine or a private network are")]
    Address(String),
    /// It did not answer in time.
    #[error("no answer within {} ms", ANSWER_WITHIN.as_millis())]
    Slow,
    /// The connection failed.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// It answered too much, or not as HTTP does.
    #[error("not an answer: {0}")]
    Answer(&'static str),
}

impl ScrapeError {
    /// For a counter.
    pub fn word(&self) -> &'static str {
        match self {
            ScrapeError::Address(_) => "address",
            ScrapeError::Slow => "slow",
            ScrapeError::Connection(_) => "connection",
            ScrapeError::Answer(_) => "answer",
        }
    }
}

/// Whether a process at this address is asked: loopback, private (RFC 1918, RFC 4193) and carrier-grade (RFC 6598, which
/// clusters use for pods) addresses.
pub fn may_be_asked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => may_be_asked(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local(),
        },
    }
}

/// The address in a report. A process that listens on every address is asked on this machine's own.
///
/// # Errors
/// When it is no address, or one that is not asked.
pub fn address(reported: &str) -> Result<SocketAddr, ScrapeError> {
    let refuse = || ScrapeError::Address(reported.chars().take(64).collect());
    let mut address: SocketAddr = reported.parse().map_err(|_| refuse())?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    if may_be_asked(address.ip()) && address.port() != 0 { Ok(address) } else { Err(refuse()) }
}

/// The status and body of `GET path`.
///
/// # Errors
/// When it does not answer, or not so.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), ScrapeError> {
    tokio::time::timeout(ANSWER_WITHIN, ask(address, path)).await.map_err(|_| ScrapeError::Slow)?
}

/// HTTP/1.0: the answer ends with the connection, in one piece.
async fn ask(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), ScrapeError> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut answer).await;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(ScrapeError::Answer("it is larger than 2 MiB"));
    }
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        read?;
        return Err(ScrapeError::Answer("its head does not end"));
    };
    let status = answer[..head].get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.filter(|_| answer.starts_with(b"HTTP/1.")).ok_or(ScrapeError::Answer("no HTTP"))?;
    answer.drain(..head + 4);
    Ok((status, answer))
}

/// Numbers by name, labels included as Prometheus writes them: `feedplane_features_lag_ms{stream="raw_market_data"}`.
pub type Figures = BTreeMap<String, f64>;

/// The figures in a page of metrics: finite numbers under feedplane's names. Lines that are something else are passed over.
pub fn figures(page: &[u8]) -> Figures {
    let mut figures = Figures::new();
    for line in String::from_utf8_lossy(page).lines() {
        if figures.len() == FIGURES_MAX {
            break;
        }
        if !line.starts_with(PREFIX) || is_detail(line) {
            continue;
        }
        // Labels may hold a space; the value stands behind them.
        let end = if line.contains('{') { line.rfind('}').map(|at| at + 1) } else { line.find(' ') };
        let Some((name, value)) = end.and_then(|end| line.split_at_checked(end)) else { continue };
        let value = value.split_ascii_whitespace().next().and_then(|value| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite())
            && name.len() <= NAME_BYTES_MAX
        {
            figures.insert(name.to_owned(), value);
        }
    }
    figures
}

/// Buckets of histograms: many, and of no use in a picture.
fn is_detail(line: &str) -> bool {
    line.split(['{', ' ']).next().is_some_and(|name| name.ends_with("_bucket"))
}

/// The name without its labels.
pub fn base(name: &str) -> &str {
    name.split('{').next().unwrap_or(name)
}

/// The value of a label.
pub fn label<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let labels = name.split_once('{')?.1.strip_suffix('}')?;
    let (_, rest) = labels.split_once(&format!("{label}=\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn only_this_machine_and_private_networks_are_asked() {
        for asked in [
            "127.0.0.1:9101",
            "10.1.2.3:80",
            "192.168.0.9:1",
            "100.64.0.1:9",
            "[::1]:9",
            "[fd00::1]:9",
            "172.16.0.1:5",
        ] {
            assert_eq!(address(asked).unwrap().to_string(), asked);
        }
        assert_eq!(address("0.0.0.0:9101").unwrap().to_string(), "127.0.0.1:9101");
        assert_eq!(address("[::]:9101").unwrap().to_string(), "[::1]:9101");
        for refused in [
            "169.254.169.254:80",
            "8.8.8.8:80",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
            "[2001:db8::1]:80",
            "metadata:80",
            "127.0.0.1:0",
            "127.0.0.1",
            "",
        ] {
            assert!(matches!(address(refused), Err(ScrapeError::Address(_))), "{refused}");
        }
    }

    #[test]
    fn numbers_under_our_names_are_kept_and_everything_else_is_passed_over() {
        let page = b"# HELP feedplane_x x\nfeedplane_x_total 7\nfeedplane_lag_ms{stream=\"raw {0}\"} 1.5 123\n\
            feedplane_h_bucket{le=\"1\"} 3\nfeedplane_nan NaN\nfeedplane_inf +Inf\nother_x 1\nfeedplane_no_value\n\
            feedplane_bad{a=\"b\nfeedplane_\xff 1\n";
        let figures = figures(page);
        let names: Vec<&str> = figures.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["feedplane_lag_ms{stream=\"raw {0}\"}", "feedplane_x_total", "feedplane_\u{fffd}"]
        );
        assert_eq!(figures["feedplane_lag_ms{stream=\"raw {0}\"}"], 1.5);
        assert_eq!(label(names[0], "stream"), Some("raw {0}"));
        assert_eq!((base(names[0]), label(names[1], "stream")), ("feedplane_lag_ms", None));
    }

    #[test]
    fn a_page_of_any_size_costs_a_bounded_picture() {
        let page: String = (0..5_000).map(|n| format!("feedplane_x{{n=\"{n}\"}} {n}\n")).collect();
        assert_eq!(figures(page.as_bytes()).len(), FIGURES_MAX);
        let long = format!("feedplane_{} 1\n", "x".repeat(NAME_BYTES_MAX));
        assert!(figures(long.as_bytes()).is_empty());
    }

    #[test]
    fn no_page_whatever_it_holds_panics() {
        let _ =
            [b"feedplane_}{ 1".as_slice(), b"feedplane_{", b"feedplane_x{a=\"", b"feedplane_ "].map(figures);
    }

    async fn answering(answer: &'static [u8], endless: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            while endless && stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
        });
        address
    }

    #[tokio::test]
    async fn an_answer_that_is_none_never_ends_or_never_comes_is_named() {
        let good =
            answering(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{\"ready\":false}", false).await;
        assert_eq!(get(good, "/readyz").await.unwrap(), (503, b"{\"ready\":false}".to_vec()));
        let endless = answering(b"HTTP/1.1 200 OK\r\n\r\n", true).await;
        assert!(matches!(get(endless, "/metrics").await, Err(ScrapeError::Answer(_) | ScrapeError::Slow)));
        for answer in [b"".as_slice(), b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200"] {
            let address = answering(answer, false).await;
            assert!(matches!(
                get(address, "/").await,
                Err(ScrapeError::Answer(_) | ScrapeError::Connection(_))
            ));
        }
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(matches!(get(silent.local_addr().unwrap(), "/").await, Err(ScrapeError::Slow)));
        let gone = silent.local_addr().unwrap();
        drop(silent);
        assert!(matches!(get(gone, "/").await, Err(ScrapeError::Connection(_))));
    }
}
