//! A Redis, a store in a folder of its own, and what lives on them.

use bus::config::ControlplaneDocument;
use bus::{Entry, Instruction, Report};
use controlplane::access::{Caller, Intent, Precondition, Role};
use controlplane::api::{Answer, Stopped};
use controlplane::live::Live;
use controlplane::store::{Done, Store, Version};
use lab::redis_server::RedisServer;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use vitals::Stop;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) redis: RedisServer,
    pub(crate) store: Store,
    pub(crate) document: ControlplaneDocument,
    stop: Stop,
    folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Rig {
        Rig::with(RedisServer::start().unwrap(), 1).await
    }

    pub(crate) async fn with(redis: RedisServer, shards: u16) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let document =
            format!("redis: {}\nshards: {shards}\nhealth: {{listen: '127.0.0.1:0'}}\n", redis.url());
        let document = ControlplaneDocument::parse(document.as_bytes()).unwrap();
        let store = Store::open(folder.path().join("store.sqlite").to_str().unwrap(), 64).await.unwrap();
        Rig { redis, store, document, stop: Stop::default(), folder }
    }

    /// Another store, for another control plane that does not know this one.
    pub(crate) async fn other_store(&self) -> Store {
        Store::open(self.folder.path().join("other.sqlite").to_str().unwrap(), 64).await.unwrap()
    }

    pub(crate) fn live(&self) -> Live {
        self.live_with(&self.store)
    }

    pub(crate) fn live_with(&self, store: &Store) -> Live {
        Live::start(&self.document, store.clone(), self.stop.clone()).unwrap()
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap()
    }

    /// The next version of a document.
    pub(crate) async fn version(&self, service: &str, document: &Value) -> Version {
        version_in(&self.store, service, document).await
    }

    pub(crate) fn write(&self, stream: &str, entry: &Entry<'_>) {
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        entry.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut self.connection()).unwrap();
    }

    pub(crate) fn instruct(&self, stream: &str, instruction: &Instruction) {
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        instruction.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut self.connection()).unwrap();
    }

    pub(crate) fn report(&self, stream: &str, report: &Report) {
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        report.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut self.connection()).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

pub(crate) async fn version_in(store: &Store, service: &str, document: &Value) -> Version {
    let mut change = store.begin(&intent("ann", Role::Risk)).await.unwrap();
    let before = change.newest(service).await.unwrap().map_or(0, |version| version.head.version);
    let version = change.add_version(service, before, document, "for a test").await.unwrap();
    let answer = Answer::ok(json!({}));
    let done = Done { target: service.into(), before: Value::Null, after: Value::Null, answer, kept: None };
    change.commit(done).await.unwrap();
    version
}

pub(crate) fn intent(name: &str, role: Role) -> Intent {
    Intent {
        caller: Caller {
            token_id: "0123456789ab".into(),
            name: name.into(),
            role,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            expires_ns: None,
        },
        action: "test".into(),
        reason: None,
        precondition: Precondition::None,
        dry_run: false,
        key: None,
        fingerprint: [0; 32],
    }
}

pub(crate) fn seen(mut intent: Intent, revision: u64) -> Intent {
    intent.precondition = Precondition::Version(revision);
    intent
}

/// The status of a refusal.
pub(crate) fn status<T: std::fmt::Debug>(outcome: Result<T, Stopped>) -> u16 {
    match outcome {
        Err(Stopped::Refused(problem)) => problem.status,
        other => panic!("{other:?} is no refusal"),
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not come: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn ask<T: redis::FromRedisValue>(connection: &mut redis::Connection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(connection).unwrap()
}
