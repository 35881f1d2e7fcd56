//! Reading a document: bounded, and with an error that says where in the file and what to do.

use super::{
    ArchiverDocument, ControlplaneDocument, DataplaneDocument, FeaturesDocument, FeedsDocument,
    GatewayDocument, Problem, RiskDocument, StrategyDocument, UpDocument,
};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest document read, bytes. A thousand feeds are about 250 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// A document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than [`DOCUMENT_BYTES_MAX`].
    #[error("document larger than {DOCUMENT_BYTES_MAX} bytes; split it over several data planes")]
    TooLarge,
    /// The file is not UTF-8.
    #[error("document is not UTF-8 at byte {offset}")]
    NotText {
        /// First byte that is not.
        offset: usize,
    },
    /// Not YAML, or not of the document's shape.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1; 0 when not known.
        line: u64,
        /// Column, from 1; 0 when not known.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// Of the right shape, but cannot be meant.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The bytes of a document, as far as they may go.
fn read(path: &Path) -> Result<Vec<u8>, DocumentError> {
    let unreadable = |source| DocumentError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// A document of any kind from its bytes, of the right shape but not validated.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLarge);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| DocumentError::NotText { offset: error.valid_up_to() })?;
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        DocumentError::Syntax { line, column, message: plain_message(&error) }
    })
}

fn valid<T>(document: T, problems: Vec<Problem>) -> Result<T, DocumentError> {
    if problems.is_empty() { Ok(document) } else { Err(DocumentError::Invalid(problems)) }
}

/// Reads and checks a document whose type is another crate's, as [`FeedsDocument::load`] does with its own.
///
/// # Errors
/// As [`FeedsDocument::load`].
pub fn load_document<T: DeserializeOwned>(
    path: &Path,
    validate: impl FnOnce(&T) -> Vec<Problem>,
) -> Result<T, DocumentError> {
    let document: T = parse(&read(path)?)?;
    let problems = validate(&document);
    valid(document, problems)
}

impl ArchiverDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<ArchiverDocument, DocumentError> {
        ArchiverDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<ArchiverDocument, DocumentError> {
        let document: ArchiverDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl ControlplaneDocument {
    /// Reads and checks a document. Paths stay as written: relative to where the process runs.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<ControlplaneDocument, DocumentError> {
        ControlplaneDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<ControlplaneDocument, DocumentError> {
        let document: ControlplaneDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl DataplaneDocument {
    /// Reads and checks a document. Paths stay as written: relative to the document's folder.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<DataplaneDocument, DocumentError> {
        DataplaneDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<DataplaneDocument, DocumentError> {
        let document: DataplaneDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl FeaturesDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<FeaturesDocument, DocumentError> {
        FeaturesDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<FeaturesDocument, DocumentError> {
        let document: FeaturesDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl FeedsDocument {
    /// Reads and checks a document, and resolves the schema paths in it against the document's folder.
    ///
    /// # Errors
    /// [`DocumentError`], with line and column where the text is at fault and the field's path where a
    /// value is.
    pub fn load(path: &Path) -> Result<FeedsDocument, DocumentError> {
        let mut document = FeedsDocument::parse(&read(path)?)?;
        document.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(document)
    }

    /// Reads and checks a document from its bytes. Paths stay as written.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<FeedsDocument, DocumentError> {
        let document: FeedsDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }

    /// Has the schema paths in it begin at `folder`. Absolute ones stay.
    pub fn resolve_paths(&mut self, folder: &Path) {
        for feed in &mut self.feeds {
            if let Some(schema) = &mut feed.schema {
                *schema = folder.join(&*schema);
            }
        }
    }
}

impl GatewayDocument {
    /// Reads and checks a document. Paths stay as written: relative to where the process runs.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<GatewayDocument, DocumentError> {
        GatewayDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<GatewayDocument, DocumentError> {
        let document: GatewayDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl RiskDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<RiskDocument, DocumentError> {
        RiskDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<RiskDocument, DocumentError> {
        let document: RiskDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl StrategyDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<StrategyDocument, DocumentError> {
        StrategyDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<StrategyDocument, DocumentError> {
        let document: StrategyDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

impl UpDocument {
    /// Reads and checks a document. Paths stay as written: relative to the document's folder.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn load(path: &Path) -> Result<UpDocument, DocumentError> {
        UpDocument::parse(&read(path)?)
    }

    /// Reads and checks a document from its bytes.
    ///
    /// # Errors
    /// As [`FeedsDocument::load`].
    pub fn parse(bytes: &[u8]) -> Result<UpDocument, DocumentError> {
        let document: UpDocument = parse(bytes)?;
        let problems = document.validate();
        valid(document, problems)
    }
}

/// The message without the source excerpt and without the place, which the document's error says itself.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    match place.and_then(|place| text.strip_suffix(&place)) {
        Some(message) => message.to_owned(),
        None => text,
    }
}
