//! One connection: a line out, a line back, both bounded.

use bus::link::{Answer, Fault, LINK_ANSWER_BYTES_MAX};
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// An open connection. Nothing is under way on it between two exchanges.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended.
    Lost(io::Error),
    /// What came is no answer to what was asked.
    Foreign(String),
}

impl Connection {
    pub(super) async fn open(path: &Path) -> io::Result<Connection> {
        Ok(Connection { stream: BufReader::new(UnixStream::connect(path).await?) })
    }

    /// Sends a request's line and reads its answer.
    pub(super) async fn exchange<T: DeserializeOwned>(
        &mut self,
        line: &[u8],
        id: u64,
    ) -> Result<Result<T, Fault>, Broken> {
        // The other side may have said why it closes before it did: that is read even when writing failed.
        let written = self.stream.get_mut().write_all(line).await;
        let mut answer = Vec::new();
        let mut bounded = (&mut self.stream).take(LINK_ANSWER_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut answer).await;
        if answer.last() != Some(&b'\n') {
            if answer.len() >= LINK_ANSWER_BYTES_MAX {
                return Err(Broken::Foreign(format!("a line of more than {LINK_ANSWER_BYTES_MAX} bytes")));
            }
            let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed");
            return Err(Broken::Lost(read.and(written).err().unwrap_or_else(ended)));
        }
        let answer = Answer::<T>::parse(&answer).map_err(Broken::Foreign)?;
        let told_why_it_closes = answer.error.is_some() && answer.id == 0;
        if answer.id != id && !told_why_it_closes {
            return Err(Broken::Foreign(format!("an answer to request {} and not to {id}", answer.id)));
        }
        Ok(answer.outcome())
    }
}
