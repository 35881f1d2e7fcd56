//! A Redis, a PostgreSQL and archiver processes, all private, for one test.

use bus::control::{ConfigVersion, ProcessReport};
use bus::names::{RAW_MARKET_DATA, processes_key};
use bus::{Entry, FeatureRecord};
use lab::postgres::{PostgresOptions, PostgresServer};
use lab::redis_server::RedisServer;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tick::Tick;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Rig {
    pub(crate) redis: RedisServer,
    pub(crate) postgres: PostgresServer,
    folder: tempfile::TempDir,
    archivers: Vec<Option<Child>>,
    runtime: tokio::runtime::Runtime,
    /// What further lines the archiver's document has.
    pub(crate) document: String,
    pub(crate) user: &'static str,
}

/// How many times longer than usual a test is to go on.
pub(crate) fn soak(times: u32) -> u32 {
    if std::env::var_os("FEEDPLANE_SOAK").is_some() { times } else { 1 }
}

/// Says that a test cannot run here, past the harness's capture of output.
pub(crate) fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {why}\n").as_bytes());
}

impl Rig {
    /// A rig on a TimescaleDB, or on a plain server where there is none; nothing when there is no server.
    pub(crate) fn new() -> Option<Rig> {
        Rig::with(PostgresOptions::default())
    }

    pub(crate) fn with(options: PostgresOptions) -> Option<Rig> {
        let unavailable =
            if options.plain { lab::postgres::plain_unavailable() } else { lab::postgres::unavailable() };
        if let Some(why) = unavailable {
            skip(&why);
            return None;
        }
        Some(Rig {
            redis: RedisServer::start_durable().unwrap(),
            postgres: PostgresServer::start_with(options).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            archivers: Vec::new(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            document: String::new(),
            user: "feedplane",
        })
    }

    /// Starts archiver number `which`.
    pub(crate) fn start(&mut self, which: usize) {
        self.start_with(which, &[]);
    }

    /// Starts archiver number `which`, which takes its versions from Redis.
    pub(crate) fn start_managed(&mut self, which: usize) {
        self.start_with(which, &["--managed"]);
    }

    fn start_with(&mut self, which: usize, arguments: &[&str]) {
        let file = self.folder.path().join(format!("archiver-{which}.yaml"));
        let text = format!(
            "redis: '{}'\ndatabase: '{}'\nmember: m{which}\nlease_ms: 500\nhealth: {{listen: '127.0.0.1:0'}}\n{}",
            self.redis.url(),
            self.postgres.url_of(self.user),
            self.document
        );
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.log_file(which)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane-archiver"));
        command
            .arg("--config")
            .arg(file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        if self.archivers.len() <= which {
            self.archivers.resize_with(which + 1, || None);
        }
        self.archivers[which] = Some(child);
    }

    pub(crate) fn signal(&self, which: usize, signal: i32) {
        let child = self.archivers[which].as_ref().unwrap();
        // SAFETY: the child is ours and not yet reaped.
        unsafe { libc::kill(child.id() as i32, signal) };
    }

    /// Ends an archiver by this signal; its exit code when it had one.
    pub(crate) fn end(&mut self, which: usize, signal: i32) -> Option<i32> {
        self.signal(which, signal);
        self.archivers[which].take().unwrap().wait().unwrap().code()
    }

    fn log_file(&self, which: usize) -> std::path::PathBuf {
        self.folder.path().join(format!("archiver-{which}.log"))
    }

    /// What an archiver has logged.
    pub(crate) fn log(&self, which: usize) -> String {
        std::fs::read_to_string(self.log_file(which)).unwrap_or_default()
    }

    /// The answer of an archiver's endpoint.
    pub(crate) fn http(&self, which: usize, path: &str) -> String {
        let log = self.log(which);
        let address = log.lines().rfind(|line| line.contains("metrics and health")).unwrap();
        let address = address.rsplit_once("address=").unwrap().1.trim();
        // The log's colours, if any.
        let address: String =
            address.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn redis(&self) -> redis::Connection {
        redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap()
    }

    /// Runs SQL with the archive in front of the search path.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.postgres.url()).await?;
            sqlx::query("SET search_path = feedplane, public").execute(&mut connection).await?;
            let rows = sqlx::query(sql).fetch_all(&mut connection).await;
            connection.close().await?;
            rows
        })
    }

    /// Runs statements.
    pub(crate) fn sql(&self, sql: &str) {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.postgres.url()).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// One number of one row.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.rows(sql).unwrap()[0].get(0)
    }

    /// Waits until SQL gives this number. While the database is away or has no archive yet, it waits, too.
    pub(crate) fn wait_for(&self, sql: &str, wanted: i64) {
        let end = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < end {
            match self.rows(sql) {
                Ok(rows) if rows[0].get::<i64, _>(0) == wanted => return,
                Ok(rows) => last = rows[0].get::<i64, _>(0).to_string(),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let logs: String = (0..self.archivers.len()).map(|which| self.log(which)).collect();
        panic!("{sql} gives {last}, not {wanted}\n{logs}");
    }

    /// Waits until an archiver has logged this.
    pub(crate) fn wait_for_log(&self, which: usize, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log(which).contains(text) {
            assert!(Instant::now() < end, "{text:?} is not in\n{}", self.log(which));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until an archiver reads.
    pub(crate) fn wait_for_start(&self) {
        let streams = "SELECT count(*) FROM stream_positions WHERE token > 0";
        self.wait_for(streams, 5);
    }

    /// Gives a version to the archivers, as the control plane does.
    pub(crate) fn distribute(&self, version: u64, document: &str) {
        let version = ConfigVersion::new(version, document.into(), "anna", "drill", 1).unwrap();
        let mut transaction = redis::pipe();
        version.distribute("archiver", transaction.atomic());
        transaction.exec(&mut self.redis()).unwrap();
    }

    /// Waits for a report of archiver number `which` that is so.
    pub(crate) fn report(&self, which: usize, is_it: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
        let end = Instant::now() + PATIENCE;
        let mut redis = self.redis();
        loop {
            let mut read = redis::cmd("HGET");
            read.arg(processes_key("archiver")).arg(format!("m{which}"));
            let json: Option<Vec<u8>> = read.query(&mut redis).unwrap();
            let report = json.map(|json| ProcessReport::parse(&json).unwrap());
            match report {
                Some(report) if is_it(&report) => return report,
                other => {
                    assert!(Instant::now() < end, "the report stays {other:?}\n{}", self.log(which));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The sequence numbers in the archive, in order of rows; asserts that rows are 1, 2, 3 ….
    pub(crate) fn archived(&self) -> Vec<i64> {
        let rows = self.rows("SELECT row, sequence FROM ticks ORDER BY row").unwrap();
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(row.get::<i64, _>(0), at as i64 + 1, "rows are numbered without a hole or repeat");
        }
        rows.iter().map(|row| row.get(1)).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in self.archivers.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes an entry to a stream.
pub(crate) fn add(
    connection: &mut redis::Connection,
    stream: &str,
    fields: &[(Vec<u8>, Vec<u8>)],
) -> redis::RedisResult<()> {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("*");
    for (name, value) in fields {
        command.arg(name).arg(value);
    }
    command.exec(connection)
}

pub(crate) fn entry_fields(entry: &Entry<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    entry.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

pub(crate) fn feature_fields(record: &FeatureRecord<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    record.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

/// A tick of channel 7 in December 2019.
pub(crate) fn tick(sequence: u64) -> Tick {
    Tick {
        ts_recv: 1_577_000_000_000_000_000 + sequence * 1_000,
        sequence,
        channel_id: 7,
        publisher_id: 2,
        instrument_id: (sequence % 5) as u32,
        price: sequence as i64 * 1_000_000_000,
        size: 10,
        action: tick::Action::Trade,
        ..Tick::EMPTY
    }
}

/// Writes the ticks `first..first + count` as one entry.
pub(crate) fn add_ticks(
    connection: &mut redis::Connection,
    first: u64,
    count: u64,
) -> redis::RedisResult<()> {
    let ticks: Vec<Tick> = (first..first + count).map(tick).collect();
    add(connection, RAW_MARKET_DATA, &entry_fields(&Entry::of_ticks(7, first, first + count - 1, &ticks)))
}

/// Writes ticks from 1 on, a few an entry, until told to stop; returns the last sequence number. While Redis is
/// away it tries again, as the data plane does.
pub(crate) struct Feed {
    stop: vitals::Stop,
    thread: std::thread::JoinHandle<u64>,
}

impl Feed {
    pub(crate) fn start(url: String, pause: Duration) -> Feed {
        let stop = vitals::Stop::default();
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let client = redis::Client::open(url).unwrap();
            loop {
                // What a broken connection left open is settled by the number that is stored with each entry.
                let next = client.get_connection().and_then(|mut connection| {
                    let next = redis::cmd("GET").arg("test:next").query::<Option<u64>>(&mut connection)?;
                    Ok((next.unwrap_or(1), connection))
                });
                match next {
                    Ok((next, _)) if asked.is_asked() => return next - 1,
                    Ok((next, mut connection)) => {
                        // It ends by an error or by the stop: both lead to the look above.
                        let _ = feed(&mut connection, next, pause, &asked);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Feed { stop, thread }
    }

    /// The last sequence number that was written.
    pub(crate) fn end(self) -> u64 {
        self.stop.ask();
        self.thread.join().unwrap()
    }
}

fn feed(
    connection: &mut redis::Connection,
    mut next: u64,
    pause: Duration,
    asked: &vitals::Stop,
) -> redis::RedisResult<()> {
    while !asked.is_asked() {
        let count = 1 + next % 7;
        let ticks: Vec<Tick> = (next..next + count).map(tick).collect();
        let entry = Entry::of_ticks(7, next, next + count - 1, &ticks);
        let mut write = redis::cmd("XADD");
        write.arg(RAW_MARKET_DATA).arg("*");
        for (name, value) in entry_fields(&entry) {
            write.arg(name).arg(value);
        }
        let mut set = redis::cmd("SET");
        set.arg("test:next").arg(next + count);
        redis::pipe().atomic().add_command(write).add_command(set).exec(connection)?;
        next += count;
        std::thread::sleep(pause);
    }
    Ok(())
}
