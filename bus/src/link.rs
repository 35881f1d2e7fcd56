//! What is said over the unix socket between the control plane and the data plane beside it.
//!
//! One JSON object a line. The control plane asks, the data plane answers in the order asked, and says nothing unasked.
//! Both sides use the types here, so neither can drift: [`Request`] and [`Answer`] are a line each, [`Ask`] is what can be
//! asked, and what comes back is [`Hello`], the status (a JSON object of its own), [`Nic`], [`Clocks`], [`Taken`],
//! [`Documents`] or [`Replaced`]. A document travels as the very bytes that its checksum was made of.

mod told;

use crate::Sha256Sum;
use crate::config::{DOCUMENT_BYTES_MAX, Problem};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
pub use told::{
    Clocks, Documents, HeldDocument, Hello, LinkChanges, Nic, NicCapabilities, NicClock, NicProgram,
    NicSocket, Replaced, Taken, TakenState, WaitingDocument,
};

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
            Err(error) if error.is_data() && serde_json::from_slice::<IgnoredAny>(line).is_ok() => {
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
    /// The peer is none of those who may speak at the socket.
    Forbidden,
}

#[cfg(test)]
mod tests;
