//! One thing that was looked at: what it is like, how bad that is, and what to do.

use serde::Serialize;
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// It runs, and worse than it could.
    Warning,
    /// The document's data plane does not run, or not as the document says.
    Wrong,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) verdict: Verdict,
    pub(super) told: String,
    /// What to do; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) todo: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &str, told: impl Into<String>) -> Finding {
        Finding { what: what.to_owned(), verdict: Verdict::Ok, told: told.into(), todo: None }
    }

    /// One that is as bad as this; where that is not bad, nothing is to be done.
    pub(super) fn bad(verdict: Verdict, what: &str, told: impl Into<String>, todo: &str) -> Finding {
        let todo = (verdict != Verdict::Ok).then(|| todo.to_owned());
        Finding { what: what.to_owned(), verdict, told: told.into(), todo }
    }
}

/// The report for people.
pub(super) fn lines(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { what, verdict, told, todo } in findings {
        // Writing into memory cannot fail.
        let _ = writeln!(text, "{:<8} {what:<width$}  {told}", verdict.word());
        if let Some(todo) = todo {
            let _ = writeln!(text, "{:<8} {:width$}  → {todo}", "", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_how_bad_and_what_to_do() {
        let findings = [
            Finding::ok("kernel", "6.18"),
            Finding::bad(Verdict::Wrong, "eth1", "is not there", "name another"),
            Finding::bad(Verdict::Ok, "BTF", "none", "not needed"),
        ];
        let text = lines(&findings);
        assert_eq!(
            text,
            "ok       kernel  6.18\nwrong    eth1    is not there\n                 → name another\nok       BTF     none\n"
        );
        assert!(Verdict::Ok < Verdict::Warning && Verdict::Warning < Verdict::Wrong);
    }
}
