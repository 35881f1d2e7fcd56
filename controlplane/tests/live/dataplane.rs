//! `feeds` and `dataplane` over the socket, to something that answers as a data plane does.

use crate::rig::{Rig, ask, until};
use bus::Sha256Sum;
use bus::control::{ProcessReport, ProcessState};
use bus::link::{
    Answer, Ask, Documents, Fault, FaultCode, HeldDocument, Hello, LinkChanges, LinkService, Request, Taken,
    TakenState, WaitingDocument,
};
use bus::names::processes_key;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What the data plane holds, and how it was asked.
#[derive(Default)]
struct Held {
    runs: BTreeMap<LinkService, (u64, Sha256Sum)>,
    waits: BTreeMap<LinkService, WaitingDocument>,
    asked: Vec<(LinkService, u64)>,
    started_ns: u64,
}

/// One that refuses documents with `"bad": true`, and takes `dataplane` at its next start only.
#[derive(Clone, Default)]
struct Dataplane(Arc<Mutex<Held>>);

impl Dataplane {
    fn listen(&self, socket: &Path) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(socket).unwrap();
        let dataplane = self.clone();
        tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(dataplane.clone().serve(stream));
            }
        })
    }

    async fn serve(self, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let request = Request::parse(line.as_bytes()).unwrap();
            let answer = Answer::line(request.id, self.answer(request.ask));
            if write.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, asked: Ask) -> Result<Value, Fault> {
        let mut held = self.0.lock().unwrap();
        let value = |value: Result<Value, serde_json::Error>| Ok(value.unwrap());
        match asked {
            Ask::Hello => value(serde_json::to_value(Hello {
                program: "feedplane-dataplane".into(),
                version: "0.1.0".into(),
                host: "here".into(),
                pid: 42,
                started_ns: held.started_ns,
                // Everywhere; from the same machine that is reached on loopback.
                health: Some("0.0.0.0:9101".parse().unwrap()),
            })),
            Ask::Status => Ok(json!({"workers": [], "of": "a test"})),
            Ask::GetDocuments => value(serde_json::to_value(Documents {
                feeds: held.document(LinkService::Feeds),
                dataplane: held.document(LinkService::Dataplane),
            })),
            Ask::SetDocument(set) => {
                assert_eq!(Sha256Sum::of(set.document.get().as_bytes()), set.sha256);
                held.asked.push((set.service, set.version));
                if set.document.get().contains("\"bad\":true") {
                    return Err(Fault::invalid("the document cannot be used", Vec::new()));
                }
                let at_start = set.service == LinkService::Dataplane;
                if at_start {
                    let fields = vec!["workers[0].core".to_owned()];
                    let waiting =
                        WaitingDocument { version: set.version, sha256: set.sha256, fields, refused: None };
                    held.waits.insert(set.service, waiting);
                } else {
                    held.runs.insert(set.service, (set.version, set.sha256));
                }
                value(serde_json::to_value(Taken {
                    service: set.service,
                    version: set.version,
                    state: if at_start { TakenState::RestartNeeded } else { TakenState::Running },
                    restart_needed: Vec::new(),
                    changed: LinkChanges::default(),
                    notes: Vec::new(),
                    took_us: 5,
                }))
            }
            _ => Err(Fault::new(FaultCode::Unsupported, "not in this test")),
        }
    }
}

impl Held {
    fn document(&self, service: LinkService) -> HeldDocument {
        let runs = self.runs.get(&service);
        let own = json!({"health": {"listen": "127.0.0.1:9101"}}).to_string();
        HeldDocument {
            version: runs.map_or(0, |(version, _)| *version),
            sha256: runs.map(|(_, sha256)| *sha256),
            waiting: self.waits.get(&service).cloned(),
            document: RawValue::from_string(own).unwrap(),
        }
    }
}

fn report(rig: &Rig, service: &str) -> Option<ProcessReport> {
    let json: Option<String> = ask(&mut rig.connection(), &["HGET", &processes_key(service), "here"]);
    json.map(|json| ProcessReport::parse(json.as_bytes()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_reach_the_data_plane_and_its_report_is_written_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let mut rig = Rig::new().await;
    rig.document.dataplane = Some(socket.clone());
    let live = rig.live();
    rig.version("feeds", &json!({"feeds": []})).await;
    // Nobody listens yet: it is told, and tried again.
    until("it is told", || live.convergence("feeds").problem.is_some()).await;
    let dataplane = Dataplane::default();
    let listening = dataplane.listen(&socket);
    until("feeds 1 is run", || report(&rig, "feeds").is_some_and(|report| report.version == 1)).await;
    let told = report(&rig, "feeds").unwrap();
    assert_eq!(
        (told.state, told.pid, told.health.as_deref()),
        (ProcessState::Running, 42, Some("127.0.0.1:9101"))
    );
    until("it has converged", || {
        let convergence = live.convergence("feeds");
        convergence.converged && convergence.processes.len() == 1 && convergence.problem.is_none()
    })
    .await;

    rig.version("dataplane", &json!({"workers": []})).await;
    until("it waits for a start", || {
        report(&rig, "dataplane").is_some_and(|report| report.state == ProcessState::RestartNeeded)
    })
    .await;
    let told = report(&rig, "dataplane").unwrap();
    assert_eq!((told.wanted, told.reason.as_deref()), (Some(1), Some("workers[0].core")));

    rig.version("feeds", &json!({"bad": true})).await;
    until("it is refused", || {
        report(&rig, "feeds").is_some_and(|report| report.state == ProcessState::Refused)
    })
    .await;
    let told = report(&rig, "feeds").unwrap();
    assert_eq!((told.version, told.wanted), (1, Some(2)));
    // What was refused is not asked again, until there is another or the process is another.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let times = |version| {
        let held = dataplane.0.lock().unwrap();
        held.asked.iter().filter(|asked| **asked == (LinkService::Feeds, version)).count()
    };
    assert_eq!((times(1), times(2)), (1, 1));
    dataplane.0.lock().unwrap().started_ns = 9;
    until("a new process is asked", || times(2) == 2).await;
    rig.version("feeds", &json!({"feeds": [], "good": true})).await;
    until("feeds 3 is run", || report(&rig, "feeds").is_some_and(|report| report.version == 3)).await;
    assert_eq!(report(&rig, "feeds").unwrap().state, ProcessState::Running);

    // A data plane that begins with nothing gets the versions again.
    *dataplane.0.lock().unwrap() = Held::default();
    until("feeds 3 again", || times(3) == 1).await;
    until("dataplane 1 again", || dataplane.0.lock().unwrap().waits.len() == 1).await;
    let picture: Value = serde_json::from_slice(&live.sampler().picture()).unwrap();
    assert_eq!(picture["dataplane"]["status"]["of"], "a test");
    listening.abort();
}
