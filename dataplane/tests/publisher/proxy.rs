//! A man in the middle between publisher and Redis who cuts, swallows and holds back.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What happens to one connection, in the order in which they come.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Everything passes.
    Pass,
    /// The client is cut off after so many bytes of its requests have passed.
    CutRequests(usize),
    /// The client is cut off after so many bytes of answers have passed; its requests have all passed.
    CutAnswers(usize),
    /// Requests after so many bytes are held; the client is cut off when the first is. They are delivered
    /// when [`Proxy::release`] is called.
    HoldRequests(usize),
}

pub struct Proxy {
    folder: tempfile::TempDir,
    held: Arc<Held>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn start(upstream: &Path, fates: impl Fn(usize) -> Fate + Send + 'static) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).unwrap();
        let held = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (upstream, holding, count): (PathBuf, _, _) =
            (upstream.to_owned(), Arc::clone(&held), Arc::clone(&connections));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&upstream)) else { return };
                let fate = fates(count.fetch_add(1, SeqCst));
                let holding = Arc::clone(&holding);
                let (answers_from, answers_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || answers(answers_from, answers_to, fate));
                std::thread::spawn(move || requests(client, server, fate, &holding));
            }
        });
        Proxy { folder, held, connections }
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("proxy.sock").display())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap().iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Delivers what was held. Whether Redis still listened on any of those connections.
    pub fn release(&self) -> bool {
        let mut listened = false;
        for (mut server, bytes) in self.held.lock().unwrap().drain(..) {
            let written = server.write_all(&bytes);
            let mut answer = [0u8; 64];
            listened |= written.is_ok() && server.read(&mut answer).is_ok_and(|length| length > 0);
        }
        listened
    }
}

type Held = Mutex<Vec<(UnixStream, Vec<u8>)>>;

fn requests(mut client: UnixStream, mut server: UnixStream, fate: Fate, held: &Held) {
    let mut left = match fate {
        Fate::CutRequests(bytes) | Fate::HoldRequests(bytes) => bytes,
        Fate::Pass | Fate::CutAnswers(_) => usize::MAX,
    };
    let mut buffer = vec![0u8; 64 * 1024];
    while let Ok(length) = client.read(&mut buffer) {
        if length == 0 {
            break;
        }
        let pass = length.min(left);
        if server.write_all(&buffer[..pass]).is_err() {
            break;
        }
        left -= pass;
        if left > 0 {
            continue;
        }
        if matches!(fate, Fate::HoldRequests(_)) {
            let mut bytes = buffer[pass..length].to_vec();
            client.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
            while let Ok(more @ 1..) = client.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..more]);
            }
            held.lock().unwrap().push((server.try_clone().unwrap(), bytes));
            let _ = client.shutdown(std::net::Shutdown::Both);
            return;
        }
        break;
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Write);
}

fn answers(mut server: UnixStream, mut client: UnixStream, fate: Fate) {
    let mut left = if let Fate::CutAnswers(bytes) = fate { bytes } else { usize::MAX };
    if matches!(fate, Fate::HoldRequests(_)) {
        // The one who releases reads the rest.
        server.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    }
    let mut buffer = vec![0u8; 64 * 1024];
    while let Ok(length) = server.read(&mut buffer) {
        let pass = length.min(left);
        left -= pass;
        if length == 0 || client.write_all(&buffer[..pass]).is_err() || left == 0 {
            break;
        }
    }
    if !matches!(fate, Fate::HoldRequests(_)) {
        let _ = client.shutdown(std::net::Shutdown::Both);
    }
}
