//! Redis's users: each process does its work with the rights that `k8s/users.acl.in` gives it, and can do nothing else.
//!
//! The processes are the real ones, with the documents of `k8s/base`, on a Redis with these users.

#![allow(clippy::unwrap_used)] // A test may.

use anyhow::{Context, Result, bail};
use deployment_tests::tool_or_skip;
use deployment_tests::tools::{on_path, read};
use lab::redis_server::RedisServer;
use pipeline_tests::service::{Service, program};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

const USERS: [&str; 7] =
    ["dataplane", "features", "strategy", "gateway", "archiver", "controlplane", "operator"];
/// Those that need nothing but Redis to be at work.
const PROCESSES: [&str; 4] = ["dataplane", "features", "strategy", "gateway"];
const PATIENCE: Duration = Duration::from_secs(30);

/// A Redis with the users of the manifests, all of whom have the password `secret`.
fn server(folder: &Path) -> Result<RedisServer> {
    on_path("redis-server")?;
    let hash = bus::Sha256Sum::of(b"secret").to_string();
    let mut users = read("k8s/users.acl.in")?;
    for user in USERS {
        let place = format!("#{user}#");
        assert_eq!(users.matches(&place).count(), 1, "{user}");
        users = users.replace(&place, &format!("#{hash}"));
    }
    // The lab waits for an answer as the default user, who is off there: here it may ask whether the server is there.
    users = users.replace("user default off", "user default on nopass -@all +ping");
    let lines: Vec<&str> = users.lines().filter(|line| !line.starts_with("# ")).collect();
    let file = folder.join("users.acl");
    std::fs::write(&file, lines.join("\n") + "\n")?;
    RedisServer::start_with(&["--appendonly", "no", "--aclfile", &file.display().to_string()])
}

fn connection(server: &RedisServer, user: &str) -> redis::Connection {
    let url = format!("redis+unix://{}?user={user}&pass=secret", server.socket().display());
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The document of the manifests, made to fit this machine.
fn document(service: &str, server: &RedisServer, folder: &Path, port: u16) -> String {
    let own = read(&format!("k8s/base/documents/{service}.yaml")).unwrap();
    let redis = format!("redis+unix://{}?user={service}", server.socket().display());
    let listen = own.split("listen: '").nth(1).unwrap().split('\'').next().unwrap();
    let fitted = own
        .replace(&format!("redis://{service}@redis:6379"), &redis)
        .replace(listen, &format!("127.0.0.1:{port}"))
        .replace("/var/lib/feedplane", &folder.display().to_string())
        .replace("/run/feedplane", &folder.display().to_string())
        .replace("/run/secrets/venues", &folder.display().to_string())
        // Nobody outside is spoken to: the discard port, where nobody listens.
        .replace("198.51.100.10:4000", "127.0.0.1:9")
        .replace(
            "interface_a: eth1, interface_b: eth2, wait: spin",
            "interface_a: lo, interface_b: lo, wait: park",
        )
        .replace("wait: spin", "wait: park");
    // Sockets, because nothing is to be asked of the loopback interface's driver here.
    if service == "dataplane" { format!("{fitted}receive: {{backend: socket}}\n") } else { fitted }
}

/// Waits until `/readyz` says nothing bad of Redis.
fn wait_for_redis(service: &Service, port: u16) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = readiness(port);
        if said.as_ref().is_ok_and(|said| said.contains(r#""redis":"good""#)) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{said:?}\n{}", service.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn readiness(port: u16) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("no answer")?;
    Ok(answer)
}

#[test]
fn each_process_works_with_the_rights_of_its_user_and_is_refused_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = tool_or_skip!(server(folder.path()));
    for service in PROCESSES {
        tool_or_skip!(program(&format!("feedplane-{service}")));
    }
    std::fs::write(folder.path().join("sim"), "secret\n").unwrap();
    std::fs::write(folder.path().join("feeds.yaml"), read("k8s/base/documents/feeds.yaml").unwrap()).unwrap();
    std::fs::create_dir(folder.path().join("dataplane")).unwrap();
    let running: Vec<(Service, u16)> = PROCESSES
        .iter()
        .map(|service| {
            let port = free_port();
            let file = folder.path().join(format!("{service}.yaml"));
            std::fs::write(&file, document(service, &server, folder.path(), port)).unwrap();
            let file = file.display().to_string();
            let mut arguments = vec!["--config", file.as_str()];
            arguments.extend((*service != "dataplane").then_some("--managed"));
            let environment = [(bus::REDIS_PASSWORD_VARIABLE, "secret")];
            let name = format!("feedplane-{service}");
            (Service::start_with(&name, &arguments, &environment, folder.path()).unwrap(), port)
        })
        .collect();
    for (service, port) in &running {
        wait_for_redis(service, *port).unwrap();
    }
    // Reports of what is run, once a second: long enough for the first of each, and for leases to be renewed.
    std::thread::sleep(Duration::from_millis(2_500));
    let mut operator = connection(&server, "controlplane");
    for service in &PROCESSES[1..] {
        let reports: Vec<String> =
            redis::cmd("HKEYS").arg(format!("processes:{service}")).query(&mut operator).unwrap();
        assert_eq!(reports.len(), 1, "{service} says what it runs");
    }
    for (service, _) in running {
        let log = service.log();
        assert!(!log.contains("NOPERM") && !log.contains("Redis refuses"), "{log}");
        drop(service);
    }
}

#[test]
fn nobody_can_do_what_is_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let server = tool_or_skip!(server(folder.path()));
    let may_not: [(&str, &[&str]); 16] = [
        ("dataplane", &["XADD", "order_instructions", "*", "a", "b"]),
        ("dataplane", &["DEL", "raw_market_data"]),
        ("features", &["XADD", "raw_market_data", "*", "a", "b"]),
        ("features", &["HSET", "config:features", "version", "9"]),
        ("strategy", &["XADD", "trading_state", "*", "mode", "active"]),
        ("strategy", &["XADD", "raw_market_data", "*", "a", "b"]),
        ("strategy", &["HSET", "models:a", "latest", "1"]),
        ("gateway", &["XADD", "order_instructions", "*", "a", "b"]),
        ("gateway", &["XADD", "trading_state", "*", "mode", "active"]),
        ("gateway", &["SET", "lease:strategy:raw_market_data", "mine"]),
        ("archiver", &["XADD", "execution_reports", "*", "a", "b"]),
        ("archiver", &["DEL", "raw_market_data"]),
        ("controlplane", &["XADD", "order_instructions", "*", "a", "b"]),
        ("controlplane", &["FLUSHALL"]),
        ("operator", &["CONFIG", "SET", "appendonly", "no"]),
        ("probe", &["GET", "a"]),
    ];
    for (user, command) in may_not {
        let mut connection = if user == "probe" {
            let url = format!("redis+unix://{}?user=probe&pass=probe", server.socket().display());
            redis::Client::open(url).unwrap().get_connection().unwrap()
        } else {
            connection(&server, user)
        };
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        let answer: redis::RedisResult<redis::Value> = asked.query(&mut connection);
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{user}: {command:?}");
    }
}
