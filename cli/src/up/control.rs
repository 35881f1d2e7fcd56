//! The control plane of a run, as the other commands find it: `<run folder>/controlplane/client.yaml`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where it stands in the run folder.
const FILE: &str = "controlplane/client.yaml";
/// Largest such file, bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// How the control plane of a run is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Local {
    /// `http://127.0.0.1:8400`.
    #[serde(rename = "api")]
    pub(crate) base: String,
    /// The file that the first token was written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Local {
    /// That of the run in this folder; nothing when it has none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn of_run(folder: &Path) -> Result<Option<Local>> {
        use std::io::Read;
        let path = folder.join(FILE);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut text = String::new();
        let named = || format!("{} cannot be used", path.display());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).with_context(named)?;
        serde_saphyr::from_str(&text).map(Some).with_context(named)
    }
}
