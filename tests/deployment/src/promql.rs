//! Which metrics and labels a PromQL expression uses. Not a parser: `promtool` says whether an expression is one; this says
//! what it names.

use std::collections::BTreeSet;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Metrics, each with the labels of its matchers.
    pub metrics: Vec<(String, BTreeSet<String>)>,
    /// Labels that are grouped by or matched on.
    pub groupings: BTreeSet<String>,
}

/// Before a parenthesis with labels in it.
const GROUPERS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between operands.
const OPERATORS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// What the expression names. Grafana's variables (`$name`, `${name}`) are passed over.
pub fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' | '\'' => skip_string(rest),
            '[' => after(rest, ']'),
            '$' => {
                let end = rest[1..].find(|c: char| !(c.is_alphanumeric() || "_{}".contains(c)));
                &rest[end.map_or(rest.len(), |end| end + 1)..]
            }
            _ if first.is_ascii_digit() => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len());
                &rest[end..]
            }
            _ if first.is_ascii_alphabetic() || first == '_' => word(rest, &mut names),
            _ => &rest[first.len_utf8()..],
        };
    }
    names
}

fn word<'t>(text: &'t str, names: &mut Names) -> &'t str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c))).unwrap_or(text.len());
    let (word, rest) = (&text[..end], text[end..].trim_start());
    if GROUPERS.contains(&word) {
        if !rest.starts_with('(') {
            return rest;
        }
        let labels = &rest[1..rest.find(')').unwrap_or(rest.len())];
        names.groupings.extend(labels.split(',').map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()));
        return after(rest, ')');
    }
    if OPERATORS.contains(&word.to_ascii_lowercase().as_str()) || rest.starts_with('(') {
        return rest;
    }
    // An aggregation may have its grouping first: `sum by (x) (…)`.
    let next: &str =
        &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())];
    if ["by", "without"].contains(&next) {
        return rest;
    }
    let Some(matchers) = rest.strip_prefix('{') else {
        names.metrics.push((word.to_owned(), BTreeSet::new()));
        return rest;
    };
    let (labels, rest) = labels_of(matchers);
    names.metrics.push((word.to_owned(), labels));
    rest
}

/// The labels of `a="b",c=~"d"}…`, and what follows the brace.
fn labels_of(mut text: &str) -> (BTreeSet<String>, &str) {
    let mut labels = BTreeSet::new();
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if text.is_empty() || text.starts_with('}') {
            return (labels, text.get(1..).unwrap_or_default());
        }
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        labels.insert(text[..end].to_owned());
        let Some(quote) = text.find(['"', '\'']) else { return (labels, "") };
        text = skip_string(&text[quote..]);
    }
}

/// After the string that `text` begins with.
fn skip_string(text: &str) -> &str {
    let quote = text.chars().next().unwrap_or('"');
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return &text[at + 1..];
        }
        escaped = character == '\\' && !escaped;
    }
    ""
}

fn after(text: &str, end: char) -> &str {
    text.find(end).map_or("", |at| &text[at + end.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metrics_matchers_and_groupings_are_told_from_functions_and_words() {
        let found = names(
            r#"histogram_quantile(0.99, sum by (le) (rate(a_bucket{x=~"y,}",z!="1"}[$__rate_interval]))) > 1e3
               and on (venue, instance) b == bool 1 or vector(0) unless max(c{feed=~"$feed"}) offset 5m"#,
        );
        let metrics = [("a_bucket", labels(&["x", "z"])), ("b", labels(&[])), ("c", labels(&["feed"]))];
        assert_eq!(found.metrics, metrics.map(|(name, labels)| (name.to_owned(), labels)));
        assert_eq!(found.groupings, labels(&["le", "venue", "instance"]));
    }

    #[test]
    fn what_is_no_expression_ends_all_the_same() {
        for text in
            ["", "{", "a{", "a{b", "a{b=", "a{b=\"", "sum by", "sum by (", "[", "\"", "$", "µ(é", "by"]
        {
            names(text);
        }
    }
}
