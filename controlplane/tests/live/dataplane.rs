//! `feeds` and `dataplane` over the socket, to something that answers as a data plane does.

use crate::http::Served;
use crate::rig::{Rig, ask, until};
use bus::Sha256Sum;
use bus::config::Problem;
use bus::control::{ProcessReport, ProcessState};
use bus::link::{
    Answer, Ask, Documents, Fault, FaultCode, HeldDocument, Hello, LinkChanges, LinkService, Request, Taken,
    TakenState, WaitingDocument,
};
use bus::names::processes_key;
use controlplane::access::Role;
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
            Ask::Status => Ok(json!({"of": "a test", "workers": [
                {"name": "w0", "channels": [{"name": "es", "channel_id": 7, "gaps": 3}]}]})),
            Ask::GetDocuments => value(serde_json::to_value(Documents {
                feeds: held.document(LinkService::Feeds),
                dataplane: held.document(LinkService::Dataplane),
            })),
            Ask::SetDocument(set) => {
                assert_eq!(Sha256Sum::of(set.document.get().as_bytes()), set.sha256);
                if !set.dry_run {
                    held.asked.push((set.service, set.version));
                }
                if set.document.get().contains("\"bad\":true") {
                    return Err(Fault::invalid("the document cannot be used", Vec::new()));
                }
                if set.document.get().contains("\"port\":5999") {
                    let path = "feeds[0].lines.a.port".to_owned();
                    let places = vec![Problem { path, message: "is taken".into() }];
                    return Err(Fault::invalid("the document cannot be used", places));
                }
                let at_start = set.service == LinkService::Dataplane;
                if set.dry_run {
                    let fields = if at_start { vec!["workers[0].core".to_owned()] } else { Vec::new() };
                    return value(serde_json::to_value(Taken {
                        service: set.service,
                        version: set.version,
                        state: TakenState::Checked,
                        restart_needed: fields,
                        changed: LinkChanges::default(),
                        notes: vec!["said in a test".into()],
                        took_us: 5,
                    }));
                }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_asks_the_data_plane_and_a_part_shows_what_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let mut rig = Rig::new().await;
    rig.document.dataplane = Some(socket.clone());
    let served = Served::with(rig).await;
    let (operator, _) = served.token(Role::Operator).await;
    let feed = |port: u16| {
        json!({"name": "es", "channel_id": 7, "publisher_id": 2, "protocol": "itch50",
            "lines": {"a": {"group": "239.1.1.1", "port": port}}})
    };
    let first = "If-None-Match: *\r\n";
    let put = async |path: &str, headers: &str, document: &Value| {
        served.ask(&operator, "PUT", path, headers, &document.to_string()).await
    };
    let feeds = json!({"feeds": [feed(5001)]});
    let alone = put("/v1/config/feeds?dry_run=true", first, &feeds).await;
    assert_eq!(alone.status, 200, "{}", alone.body);
    let problem = alone.json()["rehearsal"]["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("control.sock"), "nobody could be asked, which is said: {problem}");

    let dataplane = Dataplane::default();
    let listening = dataplane.listen(&socket);
    let asked = put("/v1/config/feeds?dry_run=true", first, &feeds).await.json();
    assert_eq!(
        asked["rehearsal"],
        json!({"problem": null, "restart_needed": [], "notes": ["said in a test"]})
    );
    let taken = put("/v1/feeds/es?dry_run=true", first, &feed(5999)).await;
    assert_eq!(taken.status, 422, "{}", taken.body);
    let error = &taken.json()["errors"][0];
    assert_eq!((&error["service"], &error["path"]), (&json!("feeds"), &json!("feeds[0].lines.a.port")));
    let workers =
        json!({"workers": [{"name": "w0", "interface_a": "eth1", "interface_b": "eth2", "core": 1}]});
    let later = put("/v1/config/dataplane?dry_run=true", first, &workers).await.json();
    assert_eq!(later["rehearsal"]["restart_needed"], json!(["workers[0].core"]), "{later}");
    assert_eq!(dataplane.0.lock().unwrap().asked, [], "a dry run gives it nothing");

    assert_eq!(put("/v1/config/feeds", first, &feeds).await.status, 201);
    until("feeds 1 is run", || report(&served.rig, "feeds").is_some_and(|report| report.version == 1)).await;
    let statistics =
        async || served.get(&operator, "/v1/feeds/es").await.json()["live"]["statistics"].clone();
    let mut said = statistics().await;
    for _ in 0..400 {
        if said != json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        said = statistics().await;
    }
    assert_eq!(said[0]["by"], "w0");
    assert_eq!(said[0]["values"], json!({"name": "es", "channel_id": 7, "gaps": 3}));
    assert!(said[0]["age_ms"].is_u64(), "{said}");
    // Its document is known and nobody counts it: at work nowhere.
    let filter = json!({"name": "noise", "group": "239.1.1.9", "port": 9, "action": "drop"});
    let made = put("/v1/filters/noise", first, &filter).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let live = served.get(&operator, "/v1/filters/noise").await.json()["live"].clone();
    assert_eq!((&live["statistics"], live["version"].is_u64()), (&json!([]), true), "{live}");
    listening.abort();
}
