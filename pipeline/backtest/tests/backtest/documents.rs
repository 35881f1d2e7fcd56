//! The document: what it may say, and how what is wrong is named.

use backtest::document::{BacktestDocument, QueueModel, SourceSection};
use backtest::{Backtest, BacktestDocument as Document};
use bus::config::{DocumentError, load_document};

const WHOLE: &str = "source: {dbn: {path: es.dbn.zst}}
features: features.yaml
strategy: strategy.yaml
models: [models/a]
instruments:
  ESM4: {tick_size: '0.25', multiplier: '50'}
  NQM4: {key: {publisher_id: 1, instrument_id: 7}}
execution:
  order_latency_us: 200
  report_latency_us: 200
  feature_latency_us: 50
  queue: by_order
  fees: {maker_per_unit: '-0.0020', taker_per_unit: '0.0030'}
";

fn parse(text: &str) -> Result<Document, DocumentError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load_document(file.path(), BacktestDocument::validate)
}

#[test]
fn the_documents_example_is_read_and_what_is_written_is_read_back() {
    let document = parse(WHOLE).unwrap();
    assert_eq!(document.execution.queue, QueueModel::ByOrder);
    assert_eq!(document.execution.fees.maker_per_unit.0.0, -2_000_000);
    assert!(document.assumes_trading(), "a DBN file has no statuses");
    let text = serde_json::to_string(&document).unwrap();
    assert_eq!(parse(&text).unwrap(), document);
    let archive = WHOLE
        .replace("{dbn: {path: es.dbn.zst}}", "{archive: {database: 'postgres:///x', from_ns: 5, to_ns: 6}}");
    let document = parse(&archive).unwrap();
    let SourceSection::Archive(section) = &document.source else { panic!("{document:?}") };
    assert_eq!((section.stream.as_str(), section.from_ns), ("raw_market_data", Some(5)));
    assert!(!document.assumes_trading());
}

#[test]
fn what_cannot_be_meant_is_named_with_its_place() {
    let cases = [
        ("path: es.dbn.zst", "path: ''", "source.dbn.path: is empty"),
        ("strategy: strategy.yaml", "strategy: ''", "strategy: is empty"),
        ("dbn: {path: es.dbn.zst}", "archive: {database: ''}", "source.archive.database: is empty"),
        (
            "dbn: {path: es.dbn.zst}",
            "archive: {database: x, from_ns: 7, to_ns: 7}",
            "source.archive.to_ns: is 7, not after from_ns 7",
        ),
        ("  ESM4:", "  'ES M4':", "instruments.ES M4: a symbol has 1 to 32"),
        (
            "ESM4: {tick",
            "ESM4: {key: {publisher_id: 1, instrument_id: 7}, tick",
            "instruments.NQM4.key: is also that of ESM4",
        ),
        ("'0.25'", "'0'", "instruments.ESM4.tick_size: is not above 0"),
        ("'50'", "'-50'", "instruments.ESM4.multiplier: is not above 0"),
        ("report_latency_us: 200", "report_latency_us: 60000001", "execution.report_latency_us: is 60000001"),
    ];
    for (from, to, expected) in cases {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "the case must change the document: {from}");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should name {expected:?}");
    }
}

#[test]
fn what_is_not_of_the_documents_shape_is_refused_with_its_line() {
    for (from, to) in [
        ("queue: by_order", "queue: by_luck"),
        ("queue: by_order", "queue: by_order\n  luck: 1"),
        ("dbn: {path: es.dbn.zst}", "tape: {path: x}"),
        ("order_latency_us: 200", "order_latency_us: -1"),
        ("'0.0030'", "much"),
        ("  queue: by_order\n", ""),
    ] {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE);
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("line "), "{error}");
    }
}

#[test]
fn any_text_is_a_document_or_an_error() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<u8>>().for_each(|bytes| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let _ = load_document(file.path(), BacktestDocument::validate);
    });
}

#[test]
fn a_file_that_a_document_names_and_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backtest.yaml");
    std::fs::write(&path, WHOLE).unwrap();
    let error = Backtest::load(&path).unwrap_err().to_string();
    assert!(error.contains("features.yaml: cannot read"), "{error}");
    let error = Backtest::load(&folder.path().join("none.yaml")).unwrap_err().to_string();
    assert!(error.contains("none.yaml: cannot read"), "{error}");
}
