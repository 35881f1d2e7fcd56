//! `feedplane get`: what the control plane knows, resource by resource.
//!
//! Columns are chosen where an operator looks for certain ones; elsewhere they are the scalars that the items have.

use crate::client::{Api, Client, escaped};
use crate::output::{Output, Table, age, at, cell, one_line, scalars, utc};
use anyhow::{Result, bail};
use serde_json::Value;
use std::fmt::Write as _;

/// Most items that are fetched unless `--limit` says otherwise.
const ITEMS: usize = 1_000;
/// What names a thing comes first.
const FIRST: [&str; 8] =
    ["name", "service", "venue", "order_id", "id", "symbol", "publisher_id", "instrument_id"];
/// What is called `…_ns` and greater is a time, no duration: the first second of 2001.
const EARLIEST_NS: u64 = 978_307_200_000_000_000;
/// Columns of a table whose columns are not chosen.
const COLUMNS_MAX: usize = 8;

const RESOURCES: &str = "\
Resources (short names):
  config (documents)        the documents, their versions, and whether every process runs them; NAME: feeds, dataplane,
                            features, strategy, gateway, archiver
  schema NAME               a document's JSON Schema
  feeds filters workers features strategies risk-limits (limits) sessions archiver
                            the documents' parts, with their live state
  nics clock                interfaces and their clocks
  instruments, book, tape, values
                            NAME is PUBLISHER:INSTRUMENT, as in 1:42; `values` are its features over time
  models                    NAME: a model, or MODEL/VERSION
  orders positions denials trading
  status audit tokens";

/// Shows what the control plane knows of a resource.
///
/// Without one: the documents with their versions, and whether every process runs them. `-o yaml` of a document is what
/// `feedplane apply -f` takes.
#[derive(clap::Args)]
#[command(after_help = RESOURCES)]
pub(crate) struct Args {
    /// What; see below.
    #[arg(default_value = "config")]
    resource: String,
    /// Which one; all of them when left out.
    name: Option<String>,
    /// A condition that the API knows, as state=open, query=ES, who=first, action=halt.
    #[arg(short = 'w', long = "where", value_name = "NAME=VALUE", value_parser = pair)]
    conditions: Vec<(String, String)>,
    /// Most items.
    #[arg(long, default_value_t = ITEMS)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
    let known = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    known.then(|| (name.to_owned(), value.to_owned())).ok_or_else(|| "the name is of a-z and _".to_owned())
}

/// The lists that come in pages.
const PAGED: [&str; 10] = [
    "/v1/feeds",
    "/v1/filters",
    "/v1/workers",
    "/v1/features",
    "/v1/strategies",
    "/v1/gateway/sessions",
    "/v1/instruments",
    "/v1/orders",
    "/v1/audit",
    "/v1/tokens",
];

/// A resource: its names, its path, its columns (heading and path).
struct Resource {
    names: &'static [&'static str],
    path: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

const RESOURCE_LIST: [Resource; 18] = [
    Resource {
        names: &["config", "documents", "document"],
        path: "/v1/config",
        columns: &[
            ("document", "service"),
            ("version", "version"),
            ("runs everywhere", "convergence.converged"),
            ("when", "newest.time_ns"),
            ("by", "newest.by"),
            ("reason", "newest.reason"),
            ("problem", "convergence.problem"),
        ],
    },
    Resource {
        names: &["feeds", "feed"],
        path: "/v1/feeds",
        columns: &[
            ("name", "name"),
            ("channel", "config.channel_id"),
            ("publisher", "config.publisher_id"),
            ("protocol", "config.protocol"),
            ("line a", "config.lines.a.group"),
            ("port", "config.lines.a.port"),
            ("line b", "config.lines.b.group"),
            ("port", "config.lines.b.port"),
        ],
    },
    Resource { names: &["filters", "filter"], path: "/v1/filters", columns: &[] },
    Resource { names: &["workers", "worker"], path: "/v1/workers", columns: &[] },
    Resource { names: &["features", "sets"], path: "/v1/features", columns: &[] },
    Resource { names: &["strategies"], path: "/v1/strategies", columns: &[] },
    Resource { names: &["risk-limits", "limits"], path: "/v1/risk-limits", columns: &[] },
    Resource { names: &["sessions", "gateway/sessions"], path: "/v1/gateway/sessions", columns: &[] },
    Resource { names: &["archiver"], path: "/v1/archiver", columns: &[] },
    Resource {
        names: &["nics", "nic"],
        path: "/v1/nics",
        columns: &[
            ("interface", "interface"),
            ("worker", "worker"),
            ("lines", "lines"),
            ("driver", "driver"),
            ("queues", "receive_queues"),
            ("backend", "backend"),
            ("attached", "attached"),
            ("zero-copy", "capabilities.zero_copy"),
            ("up", "up"),
            ("carrier", "carrier"),
        ],
    },
    Resource {
        names: &["clock", "clocks"],
        path: "/v1/clock",
        columns: &[
            ("interface", "interface"),
            ("worker", "worker"),
            ("line", "line"),
            ("source", "source"),
            ("clock", "path"),
            ("ns from utc", "minus_utc_ns"),
            ("window ns", "window_ns"),
            ("ms old", "age_ms"),
        ],
    },
    Resource { names: &["models", "model"], path: "/v1/models", columns: &[] },
    Resource { names: &["instruments", "instrument"], path: "/v1/instruments", columns: &[] },
    Resource {
        names: &["orders", "order"],
        path: "/v1/orders",
        columns: &[
            ("id", "id"),
            ("state", "state"),
            ("strategy", "strategy"),
            ("venue", "venue"),
            ("symbol", "symbol"),
            ("side", "side"),
            ("quantity", "quantity"),
            ("filled", "filled"),
            ("price", "price"),
        ],
    },
    Resource {
        names: &["denials"],
        path: "/v1/denials",
        columns: &[
            ("when", "time_ns"),
            ("by", "denied_by"),
            ("reason", "reason"),
            ("strategy", "strategy"),
            ("symbol", "symbol"),
            ("text", "text"),
        ],
    },
    Resource {
        names: &["positions"],
        path: "/v1/positions",
        columns: &[
            ("strategy", "strategy"),
            ("venue", "venue"),
            ("symbol", "symbol"),
            ("position", "position"),
            ("bought", "bought"),
            ("at", "bought_at"),
            ("sold", "sold"),
            ("at", "sold_at"),
            ("trades", "trades"),
        ],
    },
    Resource {
        names: &["audit"],
        path: "/v1/audit",
        columns: &[
            ("when", "time_ns"),
            ("who", "who"),
            ("from", "from"),
            ("action", "action"),
            ("what", "what"),
            ("outcome", "outcome"),
            ("reason", "reason"),
        ],
    },
    Resource { names: &["tokens", "token"], path: "/v1/tokens", columns: &[] },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let Some((path, columns)) = place(&args.resource, args.name.as_deref())? else {
        bail!("there is no resource {:?}; `feedplane get --help` lists them", one_line(&args.resource));
    };
    let client = Client::new(&args.api.find()?)?;
    let conditions: Vec<(&str, &str)> =
        args.conditions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let whole = args.name.is_some() || matches!(args.resource.as_str(), "status" | "trading");
    let answer = match whole {
        true => client.get(&path, &conditions)?.body,
        false => client.list(&path, &conditions, PAGED.contains(&path.as_str()), args.limit)?,
    };
    args.output.put(&answer, |answer| match path.as_str() {
        "/v1/status" => crate::status::table(answer),
        _ => table(answer, columns),
    })
}

type Columns = &'static [(&'static str, &'static str)];

/// Where a resource is, and what is shown of it; nothing when there is none of that name.
fn place(resource: &str, name: Option<&str>) -> Result<Option<(String, Columns)>> {
    let instrument = |name: Option<&str>, part: &str| -> Result<String> {
        let two = name.and_then(|name| name.split_once([':', '/']));
        let numbers = two.map(|(publisher, id)| (publisher.parse::<u16>(), id.parse::<u32>()));
        match numbers {
            Some((Ok(publisher), Ok(id))) => Ok(format!("/v1/instruments/{publisher}/{id}{part}")),
            _ => bail!("name the instrument as PUBLISHER:INSTRUMENT, as in 1:42"),
        }
    };
    let path = match (resource, name) {
        ("status" | "trading", None) => format!("/v1/{resource}"),
        ("status" | "trading", Some(_)) => bail!("there is one {resource}, which has no name"),
        ("schema", Some(name)) => format!("/v1/config/{}/schema", escaped(name)),
        ("schema", None) => bail!("name the document: `feedplane get schema feeds`"),
        ("book" | "tape", name) => instrument(name, &format!("/{resource}"))?,
        ("values", name) => instrument(name, "/features")?,
        ("instruments" | "instrument", Some(name)) => instrument(Some(name), "")?,
        ("models" | "model", Some(name)) => {
            let parts: Vec<String> = name.splitn(2, '/').map(escaped).collect();
            format!("/v1/models/{}", parts.join("/"))
        }
        (resource, name) => {
            let Some(found) = RESOURCE_LIST.iter().find(|known| known.names.contains(&resource)) else {
                return Ok(None);
            };
            let named = name.map_or_else(String::new, |name| format!("/{}", escaped(name)));
            return Ok(Some((format!("{}{named}", found.path), found.columns)));
        }
    };
    Ok(Some((path, &[])))
}

/// A list as rows, anything else as its fields.
pub(crate) fn table(answer: &Value, columns: Columns) -> String {
    let Some(items) = answer["items"].as_array() else { return fields(answer) };
    let mut text = if items.is_empty() { "none\n".to_owned() } else { rows(items, columns) };
    if let Some(version) = answer["version"].as_u64() {
        // Writing into memory cannot fail.
        let _ = writeln!(text, "\nversion {version} of the document");
    }
    if !answer["next_cursor"].is_null() {
        let _ = writeln!(text, "\nthere are more: --limit");
    }
    text
}

fn rows(items: &[Value], columns: Columns) -> String {
    if !columns.is_empty() {
        let mut table = Table::new(columns.iter().map(|(heading, _)| heading));
        for item in items {
            table.row(columns.iter().map(|(_, path)| told(path, at(item, path))));
        }
        return table.text();
    }
    // The scalars that items have, in the order in which they come up.
    let flat: Vec<Vec<(String, String)>> = items.iter().map(|item| scalars(item, 2)).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, value) in flat.iter().flatten() {
        // A part's own name is in its configuration once more.
        let again = name.strip_prefix("config.").is_some_and(|name| FIRST.contains(&name));
        if value != "-" && !again && !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    names.truncate(COLUMNS_MAX);
    let short = |name: &String| name.trim_start_matches("config.").replace('_', " ");
    let mut table = Table::new(names.iter().map(|name| short(name)));
    for item in items {
        let value = |name: &String| told(name, at(item, name));
        table.row(names.iter().map(|name| value(name)));
    }
    table.text()
}

/// A value, and a time as one.
fn told(path: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(0) if path.ends_with("_ns") => "-".to_owned(),
        Some(ns) if path.ends_with("_ns") && ns > EARLIEST_NS => utc(ns),
        None if value.as_object().is_some_and(|fields| !fields.is_empty()) => {
            // What is in it, `-o yaml` shows.
            let names = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            one_line(&format!("{{{}}}", names.collect::<Vec<_>>().join(", ")))
        }
        _ => cell(value),
    }
}

/// Every scalar on a line.
pub(crate) fn fields(answer: &Value) -> String {
    let all = scalars(answer, 8);
    let width = all.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in &all {
        let ns = value.parse::<u64>().ok().filter(|ns| *ns > EARLIEST_NS && name.ends_with("_ns"));
        let value = ns.map_or_else(|| value.clone(), |ns| format!("{} ({})", utc(ns), age(ns)));
        // Writing into memory cannot fail.
        let _ = writeln!(text, "{name:<width$}  {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_have_their_places() {
        let cases = [
            (("config", None), "/v1/config"),
            (("config", Some("feeds")), "/v1/config/feeds"),
            (("schema", Some("feeds")), "/v1/config/feeds/schema"),
            (("limits", None), "/v1/risk-limits"),
            (("sessions", Some("x/../y")), "/v1/gateway/sessions/x%2F..%2Fy"),
            (("book", Some("1:42")), "/v1/instruments/1/42/book"),
            (("values", Some("1/42")), "/v1/instruments/1/42/features"),
            (("instrument", Some("1:42")), "/v1/instruments/1/42"),
            (("models", Some("a b/3")), "/v1/models/a%20b/3"),
            (("status", None), "/v1/status"),
        ];
        for ((resource, name), expected) in cases {
            assert_eq!(place(resource, name).unwrap().unwrap().0, expected);
        }
        assert!(place("nonsense", None).unwrap().is_none());
        for (resource, name) in [("book", None), ("book", Some("x")), ("schema", None), ("status", Some("x"))]
        {
            assert!(place(resource, name).is_err(), "{resource}");
        }
    }

    #[test]
    fn a_list_of_anything_is_a_table() {
        let answer = json!({"items": [
            {"name": "one", "config": {"size": 5}, "live": {"state": "good"}},
            {"name": "two", "config": {"size": [1, 2]}, "live": null},
        ], "version": 3, "next_cursor": "x"});
        let text = table(&answer, &[]);
        assert_eq!(
            text,
            "NAME  SIZE  LIVE.STATE\none   5     good\ntwo   1,2   -\n\nversion 3 of the document\n\nthere are more: --limit\n"
        );
        assert_eq!(table(&json!({"items": []}), &[]), "none\n");
        assert_eq!(table(&json!({"items": [5, "x", null, []]}), &[]).lines().count(), 5);
    }

    #[test]
    fn one_thing_is_its_fields() {
        let text = table(&json!({"name": "x", "a": {"b": 1}, "time_ns": 0}), &[]);
        assert!(text.contains("a.b      1\n") && text.contains("name     x\n"), "{text}");
    }
}
