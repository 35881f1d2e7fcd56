//! How answers are written: a table for people, JSON or YAML for programs. Text from elsewhere never reaches a terminal with
//! control characters in it.

mod table;
mod when;

pub(crate) use table::Table;
pub(crate) use when::{age, now_ns, utc};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;
use std::io::Write;

/// Longest text of one cell, characters.
const CELL_CHARACTERS_MAX: usize = 60;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document, as the API gave it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The option of every command that answers.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

impl Output {
    pub(crate) fn is_table(self) -> bool {
        self.output == Format::Table
    }

    /// Writes an answer: as it is, or as the table made of it.
    ///
    /// # Errors
    /// The reader of standard output went away.
    pub(crate) fn put(self, value: &Value, table: impl FnOnce(&Value) -> String) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Table => out.write_all(table(value).as_bytes())?,
            Format::Json => writeln!(out, "{value:#}")?,
            Format::Yaml => {
                let text = serde_saphyr::to_string(value).context("the answer as YAML")?;
                out.write_all(text.as_bytes())?;
                if !text.ends_with('\n') {
                    out.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }
}

/// A text without control characters but line ends.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A text on one line, and not endless.
pub(crate) fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().map(clean).take(CELL_CHARACTERS_MAX).collect();
    if text.chars().count() > CELL_CHARACTERS_MAX {
        short.pop();
        short.push('…');
    }
    short
}

/// A value as a cell: text without quotation marks, lists joined, nothing as a dash.
pub(crate) fn cell(value: &Value) -> String {
    one_line(&match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => format!("{number:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => number.to_string(),
        },
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        other => other.to_string(),
    })
}

/// The value at a path of names, as `config.lines.a`; null where there is none.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// All scalars of a value by their paths, in its order; `depth` levels deep, deeper ones as text.
pub(crate) fn scalars(value: &Value, depth: usize) -> Vec<(String, String)> {
    let mut all = Vec::new();
    gather(value, "", depth, &mut all);
    all
}

fn gather(value: &Value, path: &str, depth: usize, all: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) if depth > 0 && !fields.is_empty() => {
            for (name, value) in fields {
                gather(value, &below(&one_line(name)), depth - 1, all);
            }
        }
        Value::Array(items) if depth > 0 && items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                gather(item, &format!("{path}[{index}]"), depth - 1, all);
            }
        }
        other => all.push((path.to_owned(), cell(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_short_and_harmless() {
        let cases = [
            (json!(null), "-"),
            (json!("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b"),
            (json!(1.5), "1.5"),
            (json!(2.0), "2"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!([1, "b"]), "1,b"),
            (json!([{"a": 1}]), "1 items"),
            (json!(true), "yes"),
        ];
        for (value, expected) in cases {
            assert_eq!(cell(&value), expected);
        }
        let long = cell(&json!("x".repeat(1_000)));
        assert!(long.chars().count() == CELL_CHARACTERS_MAX && long.ends_with('…'));
    }

    #[test]
    fn scalars_are_named_by_their_paths() {
        let value = json!({"a": {"b": [1, 2], "c": [{"d": 1}]}, "e": {}});
        let expected = [("a.b", "1,2"), ("a.c[0].d", "1"), ("e", "-")];
        let got = scalars(&value, 5);
        assert_eq!(got, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        assert_eq!(scalars(&value, 1)[0], ("a".to_owned(), "{\"b\":[1,2],\"c\":[{\"d\":1}]}".to_owned()));
        assert_eq!(at(&value, "a.c"), &value["a"]["c"]);
        assert_eq!(at(&value, "a.x.y"), &Value::Null);
    }
}
