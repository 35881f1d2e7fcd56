//! Requests and answers by table, and any bytes.

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
        ("{\"v\": 2, \"id\": 6, \"do\": \"dance\", \"new\": 1}".into(), 6, FaultCode::UnknownVersion, "2"),
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
        (whole("\"do\": \"attach\", \"interface\": \"0123456789abcdef\""), 5, FaultCode::BadRequest, "15"),
        (whole("\"do\": \"set_document\""), 5, FaultCode::BadRequest, "version is missing"),
        (whole("\"do\": \"set_document\", \"version\": 0"), 5, FaultCode::BadRequest, "from 1"),
        (whole("\"do\": \"set_document\", \"service\": \"gateway\""), 5, FaultCode::BadRequest, "gateway"),
        (whole("\"do\": \"set_document\", \"sha256\": \"00\""), 5, FaultCode::BadRequest, "64 hexadecimal"),
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
    for line in ["", "hello", "{\"v\": 1", "{\"v\": 1, \"id\": 1, \"do\": \"hello\"} x", "\u{0}", "{'v': 1}"]
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
