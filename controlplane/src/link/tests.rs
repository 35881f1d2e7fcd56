//! The client against data planes that behave and that do not.

use super::*;
use bus::link::Answer;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

/// A data plane of which a test says what it answers to each line; nothing ends the connection.
struct Fake {
    folder: TempDir,
    connections: Arc<AtomicU32>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

fn hello() -> Hello {
    Hello {
        program: "feedplane-dataplane".into(),
        version: "0.1.0".into(),
        host: "here".into(),
        pid: 7,
        started_ns: 1,
        health: None,
    }
}

/// Answers as a data plane does.
fn sound(request: &Request) -> Option<Vec<u8>> {
    Some(match &request.ask {
        Ask::Hello => Answer::line(request.id, Ok(hello())),
        Ask::ReplacePrograms => Answer::line(request.id, Ok(Replaced { programs: 2 })),
        Ask::Attach { interface } => {
            let fault = Fault::new(FaultCode::NoInterface, format!("no worker has {interface}"));
            Answer::<Nic>::line(request.id, Err(fault))
        }
        _ => Answer::line(request.id, Ok(serde_json::json!({"version": 1}))),
    })
}

impl Fake {
    fn new() -> Fake {
        Fake { folder: tempfile::tempdir().unwrap(), connections: Arc::default(), serving: None }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// Each request of connection `n` (from 1) is answered by `answer(n, request)`.
    fn serve(&mut self, answer: impl Fn(u32, &Request) -> Option<Vec<u8>> + Send + Sync + 'static) {
        self.end();
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let connections = Arc::clone(&self.connections);
        self.serving = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                let mut stream = BufReader::new(stream);
                let mut line = Vec::new();
                while stream.read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes > 0) {
                    let request = Request::parse(&line).unwrap();
                    line.clear();
                    let Some(answer) = answer(number, &request) else { break };
                    if stream.get_mut().write_all(&answer).await.is_err() {
                        break;
                    }
                }
            }
        }));
    }

    fn end(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

#[tokio::test]
async fn requests_share_one_connection_and_get_their_own_answers() {
    let mut fake = Fake::new();
    fake.serve(|_, request| sound(request));
    let client = fake.client();
    assert_eq!(client.hello().await.unwrap(), hello());
    assert_eq!(client.status().await.unwrap()["version"], 1);
    assert_eq!(client.replace_programs().await.unwrap().programs, 2);
    let others: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.replace_programs().await.unwrap().programs })
        })
        .collect();
    for other in others {
        assert_eq!(other.await.unwrap(), 2);
    }
    assert_eq!(fake.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_keeps_the_connection() {
    let mut fake = Fake::new();
    fake.serve(|_, request| sound(request));
    let client = fake.client();
    for _ in 0..3 {
        let refused = client.attach("eth9").await.unwrap_err();
        assert!(refused.is_refusal() && refused.to_string().contains("eth9"), "{refused}");
    }
    assert_eq!(fake.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_data_plane_that_is_away_is_said_and_found_again_when_it_comes() {
    let mut fake = Fake::new();
    let client = fake.client();
    let away = client.hello().await.unwrap_err();
    assert!(matches!(away, LinkError::Unreachable { .. }), "{away}");
    fake.serve(|_, request| sound(request));
    client.hello().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_died_between_two_requests_is_made_anew_unnoticed() {
    let mut fake = Fake::new();
    // The first connection ends with its third request.
    fake.serve(|number, request| {
        (number > 1 || !matches!(request.ask, Ask::Nics)).then(|| sound(request)).flatten()
    });
    let client = fake.client();
    client.hello().await.unwrap();
    let nics = client.nics().await.unwrap_err();
    assert!(matches!(nics, LinkError::Foreign(_)), "the fake gives an object: {nics}");
    client.hello().await.unwrap();
    assert_eq!(fake.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_data_plane_that_always_hangs_up_is_tried_twice_and_no_more() {
    let mut fake = Fake::new();
    fake.serve(|_, request| matches!(request.ask, Ask::Hello).then(|| sound(request)).flatten());
    let client = fake.client();
    client.hello().await.unwrap();
    let lost = client.status().await.unwrap_err();
    assert!(matches!(lost, LinkError::Lost(_)), "{lost}");
    assert_eq!(fake.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_data_plane_of_this_version_is_not_listened_to() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"{\"v\": 2, \"id\": 0, \"ok\": {}}\n",
        b"{\"v\": 1, \"id\": 99, \"ok\": {\"program\": \"x\", \"version\": \"\", \"host\": \"\", \"pid\": 1, \"started_ns\": 0}}\n",
        b"{\"v\": 1, \"id\": 0, \"ok\": [1]}\n",
    ];
    for answer in answers {
        let mut fake = Fake::new();
        fake.serve(move |_, _| Some(answer.to_vec()));
        let foreign = fake.client().status().await.unwrap_err();
        assert!(matches!(foreign, LinkError::Foreign(_)), "{foreign}");
    }
}

#[tokio::test]
async fn a_busy_data_plane_is_heard() {
    let mut fake = Fake::new();
    fake.serve(|_, _| Some(Answer::<Hello>::line(0, Err(Fault::new(FaultCode::Busy, "8 are served")))));
    let refused = fake.client().status().await.unwrap_err();
    assert!(matches!(refused, LinkError::Refused(Fault { code: FaultCode::Busy, .. })), "{refused}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let mut fake = Fake::new();
    fake.serve(|_, _| Some(vec![b'x'; bus::link::LINK_ANSWER_BYTES_MAX + 1]));
    let foreign = fake.client().status().await.unwrap_err();
    assert!(matches!(foreign, LinkError::Foreign(_)), "{foreign}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_and_never_taken_for_anothers() {
    let mut fake = Fake::new();
    // The first connection answers `status` only when it is asked for something else.
    fake.serve(|number, request| match request.ask {
        Ask::Status if number == 1 => Some(Vec::new()),
        _ => sound(request),
    });
    let short = Patience { answer: Duration::from_millis(200), ..PATIENCE };
    let client = Client::with_patience(fake.socket(), short);
    let late = client.status().await.unwrap_err();
    assert!(matches!(late, LinkError::Timeout { what: "status", .. }), "{late}");
    assert_eq!(client.replace_programs().await.unwrap().programs, 2);
    assert_eq!(fake.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_document_that_is_no_json_is_not_sent() {
    let client = Client::new("/nowhere");
    let sum = Sha256Sum::of(b"x");
    let refused = client.set_document(LinkService::Feeds, 1, sum, "x", true).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
}
