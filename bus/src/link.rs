//! What is said over the unix socket between the control plane and the data plane beside it.
//!
//! One JSON object a line. The control plane asks, the data plane answers in the order asked, and says nothing unasked.
//! Both sides use the types here, so neither can drift: [`Request`] and [`Answer`] are a line each, [`Ask`] is what can be
//! asked, and what comes back is [`Hello`], the status (a JSON object of its own), [`Nic`], [`Clocks`], [`Taken`],
//! [`Documents`] or [`Replaced`]. A document travels as the very bytes that its checksum was made of.

use crate::Sha256Sum;
use crate::config::{DOCUMENT_BYTES_MAX, Problem};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// The version of this language. A data plane answers any other with [`FaultCode::UnknownVersion`].
pub const LINK_VERSION: u32 = 1;
/// Longest request, bytes, its line end included: the largest document, and what stands around it.
pub const LINK_REQUEST_BYTES_MAX: usize = DOCUMENT_BYTES_MAX + 4_096;
/// Longest answer, bytes, its line end included: the status of 1,024 feeds is about 2 MiB, both documents with what waits
/// for a start are 4 MiB at most.
pub const LINK_ANSWER_BYTES_MAX: usize = 8 << 20;
/// Connections that a data plane serves at once. One more is told [`FaultCode::Busy`] and closed.
pub const LINK_CONNECTIONS_MAX: usize = 8;
/// Problems told in one answer. A document of nothing but mistakes has more than anybody reads.
pub const LINK_PROBLEMS_MAX: usize = 100;
/// Longest name of an interface, bytes: Linux has no longer one.
pub const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back with the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Who is there: [`Hello`].
    Hello,
    /// The data plane's own status, a JSON object.
    Status,
    /// The interfaces of all workers: a list of [`Nic`].
    Nics,
    /// How the clocks stand: [`Clocks`].
    Clock,
    /// A version of a document is to be run, or only checked: [`Taken`].
    SetDocument(SetDocument),
    /// What is run and what waits for a start: [`Documents`].
    GetDocuments,
    /// The interface's steering program is to work again: its [`Nic`].
    Attach {
        /// The interface's name.
        interface: String,
    },
    /// The interface's packets are to go to the kernel: its [`Nic`].
    Detach {
        /// The interface's name.
        interface: String,
    },
    /// The steering programs are to be loaded anew: [`Replaced`].
    ReplacePrograms,
}

impl Ask {
    /// The word in the field `do`.
    pub fn word(&self) -> &'static str {
        match self {
            Ask::Hello => "hello",
            Ask::Status => "status",
            Ask::Nics => "nics",
            Ask::Clock => "clock",
            Ask::SetDocument(_) => "set_document",
            Ask::GetDocuments => "get_documents",
            Ask::Attach { .. } => "attach",
            Ask::Detach { .. } => "detach",
            Ask::ReplacePrograms => "replace_programs",
        }
    }
}

/// A version of a document.
#[derive(Clone, Debug)]
pub struct SetDocument {
    /// Which document.
    pub service: LinkService,
    /// Its version, from 1.
    pub version: u64,
    /// Of the document's bytes as they stand in `document`.
    pub sha256: Sha256Sum,
    /// JSON on one line, at most [`DOCUMENT_BYTES_MAX`].
    pub document: Box<RawValue>,
    /// Only check it: nothing changes, nothing is kept.
    pub dry_run: bool,
}

/// The documents that reach the data plane over the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkService {
    /// [`crate::config::FeedsDocument`]: taken while packets flow.
    Feeds,
    /// [`crate::config::DataplaneDocument`]: most of it waits for a start.
    Dataplane,
}

impl LinkService {
    /// Both.
    pub const ALL: [LinkService; 2] = [LinkService::Feeds, LinkService::Dataplane];

    /// The word in requests and file names.
    pub fn word(self) -> &'static str {
        match self {
            LinkService::Feeds => "feeds",
            LinkService::Dataplane => "dataplane",
        }
    }
}

impl fmt::Display for LinkService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Every field that a request can have, as it stands in the line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    id: u64,
    r#do: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<LinkService>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256Sum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

/// What must be known of a request before anything else: its other fields may be of a version to come.
#[derive(Deserialize)]
struct Head {
    v: u32,
    id: u64,
    r#do: String,
}

/// Why a line is no request.
#[derive(Debug)]
pub enum Refused {
    /// It is no JSON at all: nothing that follows can be trusted, the connection ends.
    NoJson(String),
    /// It is answered with a fault, and the next line is read.
    Answered {
        /// The request's, 0 when it had none.
        id: u64,
        /// What is wrong.
        fault: Fault,
    },
}

impl Request {
    /// The line of this request, with its end.
    ///
    /// # Errors
    /// A document that is not on one line.
    pub fn line(&self) -> Result<Vec<u8>, Fault> {
        let mut line = Line {
            v: LINK_VERSION,
            id: self.id,
            r#do: self.ask.word().to_owned(),
            service: None,
            version: None,
            sha256: None,
            document: None,
            dry_run: None,
            interface: None,
        };
        match &self.ask {
            Ask::Attach { interface } | Ask::Detach { interface } => line.interface = Some(interface.clone()),
            Ask::SetDocument(set) => {
                if set.document.get().contains(['\n', '\r']) {
                    return Err(Fault::new(FaultCode::BadRequest, "the document must be JSON on one line"));
                }
                line.service = Some(set.service);
                line.version = Some(set.version);
                line.sha256 = Some(set.sha256);
                line.document = Some(set.document.clone());
                line.dry_run = Some(set.dry_run);
            }
            _ => {}
        }
        Ok(line_of(&line))
    }

    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// [`Refused`]: what to do about it.
    pub fn parse(line: &[u8]) -> Result<Request, Refused> {
        let head: Head = match serde_json::from_slice(line) {
            Ok(head) => head,
            Err(error) if error.is_data() => {
                let id = serde_json::from_slice::<Id>(line).map_or(0, |known| known.id);
                return Err(answered(id, FaultCode::BadRequest, format!("no request: {error}")));
            }
            Err(error) => return Err(Refused::NoJson(error.to_string())),
        };
        let id = head.id;
        if head.v != LINK_VERSION {
            let message = format!("version {} is not spoken here; use {LINK_VERSION}", head.v);
            return Err(answered(id, FaultCode::UnknownVersion, message));
        }
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| answered(id, FaultCode::BadRequest, format!("{}: {error}", head.r#do)))?;
        let ask = line.ask().map_err(|fault| Refused::Answered { id, fault })?;
        Ok(Request { id, ask })
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

fn answered(id: u64, code: FaultCode, message: String) -> Refused {
    Refused::Answered { id, fault: Fault::new(code, message) }
}

impl Line {
    fn ask(self) -> Result<Ask, Fault> {
        let what = self.r#do.as_str();
        let is_set = what == "set_document";
        let of_interface = matches!(what, "attach" | "detach");
        let foreign = [
            ("service", self.service.is_some() && !is_set),
            ("version", self.version.is_some() && !is_set),
            ("sha256", self.sha256.is_some() && !is_set),
            ("document", self.document.is_some() && !is_set),
            ("dry_run", self.dry_run.is_some() && !is_set),
            ("interface", self.interface.is_some() && !of_interface),
        ];
        let ask = match what {
            "hello" => Ask::Hello,
            "status" => Ask::Status,
            "nics" => Ask::Nics,
            "clock" => Ask::Clock,
            "get_documents" => Ask::GetDocuments,
            "replace_programs" => Ask::ReplacePrograms,
            "set_document" => {
                let version = needed("version", self.version)?;
                if version == 0 {
                    return Err(Fault::new(FaultCode::BadRequest, "version 0: versions count from 1"));
                }
                Ask::SetDocument(SetDocument {
                    service: needed("service", self.service)?,
                    version,
                    sha256: needed("sha256", self.sha256)?,
                    document: needed("document", self.document)?,
                    dry_run: self.dry_run.unwrap_or(false),
                })
            }
            "attach" | "detach" => {
                let interface = needed("interface", self.interface)?;
                if interface.is_empty() || interface.len() > INTERFACE_NAME_BYTES_MAX {
                    let message = format!("interface: a name has 1 to {INTERFACE_NAME_BYTES_MAX} bytes");
                    return Err(Fault::new(FaultCode::BadRequest, message));
                }
                if what == "attach" { Ask::Attach { interface } } else { Ask::Detach { interface } }
            }
            _ => {
                let message = format!("{what:?} cannot be asked for");
                return Err(Fault::new(FaultCode::UnknownRequest, message));
            }
        };
        match foreign.iter().find(|(_, is_there)| *is_there) {
            Some((field, _)) => {
                let message = format!("{field} does not belong to {}", ask.word());
                Err(Fault::new(FaultCode::BadRequest, message))
            }
            None => Ok(ask),
        }
    }
}

fn needed<T>(field: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::new(FaultCode::BadRequest, format!("{field} is missing")))
}

/// One answer: either `ok` or `error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer<T> {
    /// [`LINK_VERSION`].
    pub v: u32,
    /// The request's.
    pub id: u64,
    /// What was asked for.
    #[serde(default = "nothing", skip_serializing_if = "Option::is_none")]
    pub ok: Option<T>,
    /// Why it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

fn nothing<T>() -> Option<T> {
    None
}

impl<T: Serialize> Answer<T> {
    /// The line of an answer, with its end.
    pub fn line(id: u64, outcome: Result<T, Fault>) -> Vec<u8> {
        let (ok, error) = match outcome {
            Ok(ok) => (Some(ok), None),
            Err(fault) => (None, Some(fault)),
        };
        line_of(&Answer { v: LINK_VERSION, id, ok, error })
    }
}

impl<T: DeserializeOwned> Answer<T> {
    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// It is no answer of this version: what the data plane is, then, is not known.
    pub fn parse(line: &[u8]) -> Result<Answer<T>, String> {
        let answer: Answer<T> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if answer.v != LINK_VERSION {
            return Err(format!("an answer of version {}, {LINK_VERSION} was asked for", answer.v));
        }
        if answer.ok.is_some() == answer.error.is_some() {
            return Err("an answer has either `ok` or `error`".to_owned());
        }
        Ok(answer)
    }

    /// What was asked for.
    ///
    /// # Errors
    /// The data plane's refusal.
    pub fn outcome(self) -> Result<T, Fault> {
        let unsaid = || Fault::new(FaultCode::Failed, "the data plane gave no reason");
        self.ok.ok_or_else(|| self.error.unwrap_or_else(unsaid))
    }
}

/// A JSON object and the line's end.
fn line_of(value: &impl Serialize) -> Vec<u8> {
    // What is written here has string keys only and no writer that could fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}{}", listed(.errors))]
pub struct Fault {
    /// Which kind.
    pub code: FaultCode,
    /// What is wrong, and what to do.
    pub message: String,
    /// The places in a document, at most [`LINK_PROBLEMS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Problem>,
}

fn listed(errors: &[Problem]) -> String {
    errors.iter().map(|problem| format!("; {problem}")).collect()
}

impl Fault {
    /// One without places.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), errors: Vec::new() }
    }

    /// A document that cannot be used, with the first [`LINK_PROBLEMS_MAX`] places.
    pub fn invalid(message: impl Into<String>, mut errors: Vec<Problem>) -> Fault {
        errors.truncate(LINK_PROBLEMS_MAX);
        Fault { code: FaultCode::Invalid, message: message.into(), errors }
    }
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The line is JSON and no request: a field is missing, too much, or of the wrong kind.
    BadRequest,
    /// Another version of the language.
    UnknownVersion,
    /// `do` is none of the known ones.
    UnknownRequest,
    /// The document cannot be used; `errors` has the places. Nothing changed.
    Invalid,
    /// The document's bytes have another checksum. Nothing changed.
    Checksum,
    /// No worker has this interface.
    NoInterface,
    /// What is asked for is not there with this backend.
    Unsupported,
    /// The kernel or a worker refused. What was begun was taken back, unless the message says otherwise.
    Failed,
    /// [`LINK_CONNECTIONS_MAX`] are served already.
    Busy,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// Always `feedplane-dataplane`.
    pub program: String,
    /// The program's version.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, ns since the epoch.
    pub started_ns: u64,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// Which document.
    pub service: LinkService,
    /// Its version.
    pub version: u64,
    /// What became of it.
    pub state: TakenState,
    /// Fields that only a start can change, as paths; with [`TakenState::RestartNeeded`], or a dry run of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_needed: Vec<String>,
    /// Feeds and filters that begin, change and end by it.
    #[serde(default)]
    pub changed: LinkChanges,
    /// What it asks for and this process cannot do, in words. It was taken all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Time from the request to the last change, µs.
    pub took_us: u64,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakenState {
    /// It is run, and kept.
    Running,
    /// It is kept; the next start runs it.
    RestartNeeded,
    /// It could be taken; it was a dry run.
    Checked,
}

/// What a document changes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LinkChanges {
    /// Feeds that begin.
    pub feeds_added: Vec<String>,
    /// Feeds whose lines or parameters changed.
    pub feeds_changed: Vec<String>,
    /// Feeds that end.
    pub feeds_removed: Vec<String>,
    /// Filters that begin, or have another place or action.
    pub filters_added: Vec<String>,
    /// Filters that end.
    pub filters_removed: Vec<String>,
}

/// What a data plane runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Documents {
    /// The feeds.
    pub feeds: HeldDocument,
    /// The process itself.
    pub dataplane: HeldDocument,
}

/// A document as a data plane has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldDocument {
    /// What is run; 0 = its own file.
    pub version: u64,
    /// Of the bytes of the version that is run; none for its own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Sha256Sum>,
    /// The version that is kept for the next start, or could not be run at this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingDocument>,
    /// What is run.
    #[schemars(with = "serde_json::Value")]
    pub document: Box<RawValue>,
}

/// A version that is kept and not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingDocument {
    /// The version.
    pub version: u64,
    /// Of its bytes.
    #[schemars(with = "String")]
    pub sha256: Sha256Sum,
    /// The fields that wait for a start, as paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Why it could not be run at the last start; none when it only waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How many programs were loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replaced {
    /// One for each interface with XDP.
    pub programs: u32,
}

/// An interface of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nic {
    /// Its name.
    pub interface: String,
    /// The worker that polls it.
    pub worker: String,
    /// The lines that arrive on it: `a`, `b` or both.
    pub lines: Vec<String>,
    /// `xdp` or `socket`.
    pub backend: String,
    /// Its number in the kernel; 0 when it is gone.
    pub index: u32,
    /// The driver's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its address, as `02:00:00:00:00:01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Largest packet, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
    /// It was switched on.
    pub up: bool,
    /// There is somebody at the other end.
    pub carrier: bool,
    /// Speed of the link, Mbit/s, where the driver says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbit_per_s: Option<u32>,
    /// Receive queues, now.
    pub receive_queues: u32,
    /// Where the steering program runs, as the kernel tells: `native` or `generic`. None: detached, or sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// The program, attached or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<NicProgram>,
    /// One AF_XDP socket for each queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<NicSocket>,
    /// What it could do.
    pub capabilities: NicCapabilities,
    /// Something better that was tried and refused, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// The interface's own receive counters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// What the steering program did with packets, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub program_packets: BTreeMap<String, u64>,
}

/// A steering program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicProgram {
    /// Its name.
    pub name: String,
    /// Its number in the kernel: another one after each replacement.
    pub id: u32,
    /// The kernel's hash of its instructions, 16 hexadecimal digits.
    pub tag: String,
    /// It asks the NIC for its receive time.
    pub hardware_time: bool,
}

/// An AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicSocket {
    /// The queue.
    pub queue: u32,
    /// `zero_copy`, `copy` or `generic`, as read back from the kernel.
    pub mode: String,
    /// The worker drives the NIC's polling.
    pub busy_poll: bool,
    /// Frames of packet memory that it has.
    pub frames: u32,
    /// The kernel's counters of it.
    pub counters: BTreeMap<String, u64>,
}

/// What an interface could do, as far as the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicCapabilities {
    /// The driver runs XDP programs; none where the kernel (before 6.3) does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_xdp: Option<bool>,
    /// The driver receives straight into packet memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_copy: Option<bool>,
    /// It stamps received packets.
    pub hardware_timestamps: bool,
    /// Its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

/// How clocks stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clocks {
    /// Now, ns since the epoch.
    pub time_ns: u64,
    /// The kernel says that UTC is disciplined.
    pub utc_in_sync: bool,
    /// TAI − UTC in the kernel, ns; 0 where nobody told it.
    pub tai_minus_utc_ns: i64,
    /// One for each line of each worker.
    pub clocks: Vec<NicClock>,
}

/// The clock of a line's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicClock {
    /// The worker.
    pub worker: String,
    /// `a` or `b`.
    pub line: String,
    /// The interface.
    pub interface: String,
    /// The hardware clock's device; none where there is none that can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// PHC − UTC, ns, when last measured; none where it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minus_utc_ns: Option<i64>,
    /// How far apart the two readings of UTC around the PHC's lay, ns: what the offset is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<u64>,
    /// The best receive time that this line's packets can have: `hardware`, `xdp` or `kernel`.
    pub source: String,
    /// Time since the last measurement, ms.
    pub age_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn set(document: &str) -> Ask {
        Ask::SetDocument(SetDocument {
            service: LinkService::Feeds,
            version: 3,
            sha256: Sha256Sum::of(document.as_bytes()),
            document: RawValue::from_string(document.to_owned()).unwrap(),
            dry_run: true,
        })
    }

    #[test]
    fn every_request_comes_back_from_its_line() {
        let interface = || "eth1".to_owned();
        let all = [
            Ask::Hello,
            Ask::Status,
            Ask::Nics,
            Ask::Clock,
            set("{\"feeds\": [ ]}"),
            Ask::GetDocuments,
            Ask::Attach { interface: interface() },
            Ask::Detach { interface: interface() },
            Ask::ReplacePrograms,
        ];
        for ask in all {
            let line = Request { id: 7, ask }.line().unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let again = Request::parse(&line).unwrap();
            assert_eq!(again.id, 7);
            assert_eq!(again.line().unwrap(), line);
        }
    }

    #[test]
    fn a_document_travels_as_the_bytes_that_its_checksum_is_of() {
        let document = "{ \"b\":1.50,  \"a\": \"\\u00e9\" }";
        let line = Request { id: 1, ask: set(document) }.line().unwrap();
        let Ask::SetDocument(set) = Request::parse(&line).unwrap().ask else { panic!("another request") };
        assert_eq!(set.document.get(), document);
        assert_eq!(Sha256Sum::of(set.document.get().as_bytes()), set.sha256);
    }

    #[test]
    fn a_document_on_two_lines_is_not_sent() {
        assert!(Request { id: 1, ask: set("{\n}") }.line().is_err());
    }

    #[test]
    fn what_is_no_request_is_answered_with_what_is_wrong() {
        let sum = "0".repeat(64);
        let whole = |fields: &str| format!("{{\"v\": 1, \"id\": 5, {fields}}}");
        let cases = [
            (whole("\"do\": \"dance\""), 5, FaultCode::UnknownRequest, "dance"),
            (
                "{\"v\": 2, \"id\": 6, \"do\": \"dance\", \"new\": 1}".into(),
                6,
                FaultCode::UnknownVersion,
                "2",
            ),
            ("{\"v\": 1, \"do\": \"hello\"}".into(), 0, FaultCode::BadRequest, "id"),
            ("{\"v\": 1, \"id\": -1, \"do\": \"hello\"}".into(), 0, FaultCode::BadRequest, "-1"),
            ("{\"v\": \"1\", \"id\": 5, \"do\": \"hello\"}".into(), 5, FaultCode::BadRequest, "u32"),
            ("[]".into(), 0, FaultCode::BadRequest, ""),
            ("7".into(), 0, FaultCode::BadRequest, ""),
            (whole("\"do\": \"hello\", \"more\": 1"), 5, FaultCode::BadRequest, "more"),
            (whole("\"do\": \"hello\", \"do\": \"status\""), 5, FaultCode::BadRequest, "do"),
            (whole("\"do\": \"hello\", \"interface\": \"e\""), 5, FaultCode::BadRequest, "interface"),
            (whole("\"do\": \"attach\""), 5, FaultCode::BadRequest, "interface is missing"),
            (whole("\"do\": \"attach\", \"interface\": \"\""), 5, FaultCode::BadRequest, "1 to 15"),
            (
                whole("\"do\": \"attach\", \"interface\": \"0123456789abcdef\""),
                5,
                FaultCode::BadRequest,
                "15",
            ),
            (whole("\"do\": \"set_document\""), 5, FaultCode::BadRequest, "version is missing"),
            (whole("\"do\": \"set_document\", \"version\": 0"), 5, FaultCode::BadRequest, "from 1"),
            (
                whole("\"do\": \"set_document\", \"service\": \"gateway\""),
                5,
                FaultCode::BadRequest,
                "gateway",
            ),
            (
                whole("\"do\": \"set_document\", \"sha256\": \"00\""),
                5,
                FaultCode::BadRequest,
                "64 hexadecimal",
            ),
            (
                whole(&format!(
                    "\"do\": \"set_document\", \"version\": 1, \"service\": \"feeds\", \"sha256\": \"{sum}\""
                )),
                5,
                FaultCode::BadRequest,
                "document is missing",
            ),
        ];
        for (line, id, code, part) in cases {
            match Request::parse(line.as_bytes()) {
                Err(Refused::Answered { id: answered, fault }) => {
                    assert_eq!((answered, fault.code), (id, code), "{line}: {fault}");
                    assert!(fault.message.contains(part), "{line}: {fault}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_that_is_no_json_ends_the_connection() {
        for line in
            ["", "hello", "{\"v\": 1", "{\"v\": 1, \"id\": 1, \"do\": \"hello\"} x", "\u{0}", "{'v': 1}"]
        {
            let refused = Request::parse(line.as_bytes());
            assert!(matches!(refused, Err(Refused::NoJson(_))), "{line:?}: {refused:?}");
        }
        assert!(matches!(Request::parse(&[0xff, 0xfe]), Err(Refused::NoJson(_))));
        let deep = format!("{{\"v\": 1, \"id\": 1, \"do\": {}", "[".repeat(100_000));
        assert!(matches!(Request::parse(deep.as_bytes()), Err(Refused::NoJson(_))));
    }

    #[test]
    fn any_bytes_are_a_request_or_refused() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            if let Ok(request) = Request::parse(bytes) {
                let line = request.line();
                assert!(line.is_err() || Request::parse(&line.unwrap()).is_ok());
            }
        });
    }

    #[test]
    fn an_answer_says_what_was_asked_for_or_why_not() {
        let line = Answer::line(9, Ok(Replaced { programs: 2 }));
        assert_eq!(line, b"{\"v\":1,\"id\":9,\"ok\":{\"programs\":2}}\n");
        let answer = Answer::<Replaced>::parse(&line).unwrap();
        assert_eq!((answer.id, answer.outcome().unwrap().programs), (9, 2));

        let problem = Problem { path: "feeds[1].name".into(), message: "is empty".into() };
        let fault = Fault::invalid("cannot be used", vec![problem; LINK_PROBLEMS_MAX + 1]);
        let line = Answer::<Value>::line(9, Err(fault));
        let told = Answer::<Value>::parse(&line).unwrap().outcome().unwrap_err();
        assert_eq!((told.code, told.errors.len()), (FaultCode::Invalid, LINK_PROBLEMS_MAX));
        assert!(told.to_string().starts_with("cannot be used; feeds[1].name: is empty"), "{told}");
    }

    #[test]
    fn an_answer_of_another_version_or_of_both_kinds_is_none() {
        for line in [
            "{\"v\": 2, \"id\": 1, \"ok\": {\"programs\": 1}}",
            "{\"v\": 1, \"id\": 1}",
            "{\"v\": 1, \"id\": 1, \"ok\": {\"programs\": 1}, \"error\": {\"code\": \"busy\", \"message\": \"\"}}",
            "{\"v\": 1, \"id\": 1, \"ok\": {}}",
            "x",
        ] {
            assert!(Answer::<Replaced>::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
