//! Why a command failed, in the few kinds that a script tells apart by the exit code.

use crate::output::plain;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::ErrorKind;

/// The kinds, by exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Other = 1,
    /// The service has looked at it and refuses it.
    Refused = 3,
    /// Somebody else has changed it meanwhile.
    Conflict = 4,
    NotAllowed = 5,
    NotReachable = 6,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    why: Why,
    text: String,
    status: Option<u16>,
    /// Whether it may have been done all the same.
    in_doubt: bool,
}

/// Fields shown of one answer; what is wrong with a document is rarely more.
const SHOWN_ERRORS: usize = 50;

impl Failure {
    pub(crate) fn new(why: Why, text: String) -> Failure {
        Failure { why, text, status: None, in_doubt: false }
    }

    pub(crate) fn other(text: String) -> Failure {
        Failure::new(Why::Other, text)
    }

    /// An answer that is not what the contract says.
    pub(crate) fn shape(path: &str, expected: &str) -> Failure {
        Failure::other(format!(
            "the answer to {path} is not as it should be: no {expected}; is this feedplane's control plane, and of this version?"
        ))
    }

    /// Nothing came back, or not all of it.
    pub(crate) fn of_transport(base: &str, error: &ureq::Error) -> Failure {
        let (why, in_doubt) = match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                (Why::NotReachable, false)
            }
            ureq::Error::Io(_) | ureq::Error::Timeout(_) => (Why::NotReachable, true),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => (Why::NotReachable, false),
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => (Why::NotReachable, false),
            _ => (Why::Other, false),
        };
        let text = match (error, why) {
            (ureq::Error::BodyExceedsLimit(most), _) => {
                format!("the answer of {base} is larger than {most} bytes")
            }
            (ureq::Error::BadUri(_) | ureq::Error::Http(_), _) => {
                format!(
                    "{base} is no address of a control plane ({error}); use https://host:port or http://host:port"
                )
            }
            (_, Why::NotReachable) => format!("the control plane at {base} cannot be reached: {error}"),
            _ => format!("the answer of {base} cannot be understood: {error}"),
        };
        Failure { in_doubt, ..Failure::new(why, plain(&text)) }
    }

    /// What an answer says that is no success: problem+json (RFC 9457), or none.
    pub(crate) fn of_answer(status: u16, path: &str, problem: &Value, retry_after: Option<&str>) -> Failure {
        let why = match status {
            400 | 409 | 413 | 415 | 422 => Why::Refused,
            412 => Why::Conflict,
            401 | 403 => Why::NotAllowed,
            502..=504 => Why::NotReachable,
            _ => Why::Other,
        };
        let said = |field: &str| problem[field].as_str().filter(|text| !text.is_empty());
        // The title is the status in words.
        let mut text = match said("detail").or_else(|| said("title")) {
            Some(said) => format!("{said} ({status})"),
            None => format!("{path} was answered with {status}"),
        };
        let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
        for error in errors.iter().take(SHOWN_ERRORS) {
            let [at, message] = ["path", "message"].map(|field| error[field].as_str().unwrap_or("?"));
            if said("detail").is_some_and(|detail| detail.contains(&format!("{at}: {message}"))) {
                continue;
            }
            let service =
                error["service"].as_str().map_or_else(String::new, |service| format!("{service}: "));
            // Writing into memory cannot fail.
            let _ = write!(text, "\n  {service}{at}: {message}");
        }
        if let Some(more) = errors.len().checked_sub(SHOWN_ERRORS).filter(|more| *more > 0) {
            let _ = write!(text, "\n  and {more} more");
        }
        if let (Some(version), None) = (problem["current_version"].as_u64(), said("detail")) {
            let _ = write!(text, "\n  its version is {version} now");
        }
        match status {
            401 => text
                .push_str("\n  give a token: --token-file FILE, $FEEDPLANE_TOKEN or $FEEDPLANE_TOKEN_FILE"),
            403 => text.push_str("\n  `feedplane whoami` says which role the token has"),
            429 => {
                let _ =
                    write!(text, "\n  too many requests; try again in {} s", retry_after.unwrap_or("a few"));
            }
            _ => {}
        }
        // A gateway in between does not know whether the request has arrived.
        let in_doubt = matches!(status, 502 | 504);
        Failure { why, text: plain(&text), status: Some(status), in_doubt }
    }

    pub(crate) fn why(&self) -> Why {
        self.why
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.why as u8
    }

    /// The status of the answer, when there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether what was asked for may have been done all the same.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_is_told_with_its_places_and_its_exit_code() {
        let problem = json!({"title": "The document is refused", "detail": "2 fields are wrong", "errors": [
            {"service": "strategy", "path": "strategies[2].rules", "message": "is empty"}, {"path": "risk\u{1b}[2J", "message": 5}]});
        let failure = Failure::of_answer(422, "/v1/config/strategy", &problem, None);
        assert_eq!(failure.exit_code(), 3);
        let text = failure.to_string();
        assert!(
            text.starts_with("2 fields are wrong (422)\n  strategy: strategies[2].rules: is empty"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}') && text.ends_with(": ?"), "{text:?}");
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let cases = [
            (400, 3),
            (401, 5),
            (403, 5),
            (404, 1),
            (412, 4),
            (422, 3),
            (428, 1),
            (429, 1),
            (500, 1),
            (503, 6),
        ];
        for (status, code) in cases {
            let failure = Failure::of_answer(status, "/v1/x", &Value::Null, None);
            assert_eq!(failure.exit_code(), code, "{status}");
            assert!(!failure.to_string().is_empty());
        }
        let conflict = Failure::of_answer(412, "/v1/x", &json!({"current_version": 9}), None);
        assert!(conflict.to_string().contains("its version is 9 now"), "{conflict}");
    }

    #[test]
    fn a_flood_of_errors_is_cut() {
        let errors: Vec<Value> =
            (0..1_000).map(|n| json!({"path": format!("a[{n}]"), "message": "bad"})).collect();
        let text = Failure::of_answer(422, "/", &json!({"errors": errors}), None).to_string();
        assert!(text.ends_with("and 950 more") && text.lines().count() == 52, "{text}");
    }
}
