//! What holds between documents. A document that has no version yet is not checked against.

use super::{Cards, Kind, Typed, models};
use crate::api::FieldProblem;
use bus::config::{
    DataplaneDocument, FeaturesDocument, FeedsDocument, GatewayDocument, OfiSource, RuleAction, RulePrice,
    StrategyDocument,
};
use cel::common::ast::{Expr, IdedExpr};
use cel::parser::Parser;
use std::collections::{BTreeMap, BTreeSet};

/// Deepest nesting of an expression: as deep as the strategy process reads it.
const EXPRESSION_DEPTH_MAX: u16 = 64;

/// All documents, as they would be.
pub type Documents = BTreeMap<Kind, Typed>;

/// Everything that does not fit together. Of models what their cards say.
pub fn problems(documents: &Documents, cards: &Cards) -> Vec<FieldProblem> {
    let mut found = Vec::new();
    let feeds = documents.get(&Kind::Feeds).and_then(Typed::feeds);
    let dataplane = documents.get(&Kind::Dataplane).and_then(Typed::dataplane);
    let features = documents.get(&Kind::Features).and_then(Typed::features);
    let strategy = documents.get(&Kind::Strategy).and_then(Typed::strategy);
    let gateway = documents.get(&Kind::Gateway).and_then(Typed::gateway);
    shards(documents, &mut found);
    if let (Some(feeds), Some(dataplane)) = (feeds, dataplane) {
        workers(feeds, dataplane, &mut found);
    }
    if let Some(strategy) = strategy {
        computed(strategy, features, &mut found);
        if let Some(features) = features {
            found.extend(models::problems(strategy, features, cards));
        }
        if let Some(gateway) = gateway {
            venues(strategy, gateway, &mut found);
        }
    }
    found
}

fn problem(kind: Kind, path: impl Into<String>, message: impl Into<String>) -> FieldProblem {
    FieldProblem { service: Some(kind.service().to_owned()), path: path.into(), message: message.into() }
}

impl Typed {
    fn feeds(&self) -> Option<&FeedsDocument> {
        if let Typed::Feeds(document) = self { Some(document) } else { None }
    }

    fn dataplane(&self) -> Option<&DataplaneDocument> {
        if let Typed::Dataplane(document) = self { Some(document) } else { None }
    }

    fn features(&self) -> Option<&FeaturesDocument> {
        if let Typed::Features(document) = self { Some(document) } else { None }
    }

    fn strategy(&self) -> Option<&StrategyDocument> {
        if let Typed::Strategy(document) = self { Some(document) } else { None }
    }

    fn gateway(&self) -> Option<&GatewayDocument> {
        if let Typed::Gateway(document) = self { Some(document) } else { None }
    }

    /// Over how many streams it takes the ticks to be spread, and the field that says so.
    fn shards(&self) -> Option<(&'static str, u16)> {
        match self {
            Typed::Feeds(_) => None,
            Typed::Dataplane(document) => Some(("publisher.shards", document.publisher.shards)),
            Typed::Features(document) => Some(("shards", document.shards)),
            Typed::Strategy(document) => Some(("shards", document.shards)),
            Typed::Gateway(document) => Some(("shards", document.shards)),
            Typed::Archiver(document) => Some(("shards", document.shards)),
        }
    }
}

/// Every process reads the streams that the others write.
fn shards(documents: &Documents, found: &mut Vec<FieldProblem>) {
    let said = documents.iter().filter_map(|(kind, typed)| Some((*kind, typed.shards()?)));
    let said: Vec<(Kind, (&'static str, u16))> = said.collect();
    let Some((first, (_, shards))) = said.first() else { return };
    for (kind, (path, other)) in said.iter().filter(|(_, (_, other))| other != shards) {
        let message = format!("is {other}, and {shards} in {first}; say the same everywhere, in one request");
        found.push(problem(*kind, *path, message));
    }
}

fn workers(feeds: &FeedsDocument, dataplane: &DataplaneDocument, found: &mut Vec<FieldProblem>) {
    let known: BTreeSet<&str> = feeds.feeds.iter().map(|feed| feed.name.as_str()).collect();
    let mut taken = BTreeSet::new();
    for (index, worker) in dataplane.workers.iter().enumerate() {
        // One that names none takes all.
        let Some(names) = &worker.feeds else { return };
        for (place, name) in names.iter().enumerate() {
            taken.insert(name.as_str());
            if !known.contains(name.as_str()) {
                let message = format!("{name:?} is no feed; add it to feeds, or take it out here");
                found.push(problem(Kind::Dataplane, format!("workers[{index}].feeds[{place}]"), message));
            }
        }
    }
    for (index, feed) in
        feeds.feeds.iter().enumerate().filter(|(_, feed)| !taken.contains(feed.name.as_str()))
    {
        let message = format!("no worker takes {:?}; name it in a worker's feeds, in one request", feed.name);
        found.push(problem(Kind::Feeds, format!("feeds[{index}]"), message));
    }
}

fn venues(strategy: &StrategyDocument, gateway: &GatewayDocument, found: &mut Vec<FieldProblem>) {
    let sessions: BTreeSet<&str> = gateway.sessions.iter().map(|session| session.venue.as_str()).collect();
    for (index, entry) in strategy.strategies.iter().enumerate() {
        if !sessions.contains(entry.venue.as_str()) {
            let known = sessions.iter().copied().collect::<Vec<_>>().join(", ");
            let message = format!("{:?} is no session of the gateway, which has {known}", entry.venue);
            found.push(problem(Kind::Strategy, format!("strategies[{index}].venue"), message));
        }
    }
    if strategy.entries_max != gateway.entries_max {
        let message = format!(
            "is {}, and {} in gateway; both trim the same streams: say the same, in one request",
            strategy.entries_max, gateway.entries_max
        );
        found.push(problem(Kind::Strategy, "entries_max", message));
    }
}

/// Every feature that is named is computed; an expression can be read.
fn computed(strategy: &StrategyDocument, features: Option<&FeaturesDocument>, found: &mut Vec<FieldProblem>) {
    let sets: Option<BTreeMap<String, BTreeSet<String>>> = features.map(|features| {
        let of_set = features.sets.iter().map(|set| {
            let names = set.schema().features.into_iter().map(|feature| feature.name).collect();
            (set.name.clone(), names)
        });
        of_set.collect()
    });
    let mut named = |path: String, set: &str, value: &str| {
        let Some(sets) = &sets else { return };
        let message = match sets.get(set) {
            None => {
                let known = sets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("{set:?} is no feature set; features has {known}")
            }
            Some(values) if !values.contains(value) => {
                let known = values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("the feature set {set:?} computes no {value:?}; it has {known}")
            }
            Some(_) => return,
        };
        found.push(problem(Kind::Strategy, path, message));
    };
    let mut unread = Vec::new();
    for (index, entry) in strategy.strategies.iter().enumerate() {
        if let Some(momentum) = &entry.ofi_momentum
            && let OfiSource::Feature { set, value, .. } = &momentum.source
        {
            named(format!("strategies[{index}].ofi_momentum.source.feature"), set, value);
        }
        for (place, rule) in entry.rules.iter().flat_map(|section| section.rules.iter().enumerate()) {
            let at = format!("strategies[{index}].rules.rules[{place}]");
            let price = match &rule.action {
                RuleAction::Buy(order) => Some(("do.buy.price.at", &order.price)),
                RuleAction::Sell(order) => Some(("do.sell.price.at", &order.price)),
                RuleAction::CancelAll | RuleAction::Flatten { .. } => None,
            };
            let price = price.and_then(|(field, price)| match price {
                RulePrice::At(text) => Some((field, text)),
                RulePrice::Join(_) | RulePrice::Cross(_) => None,
            });
            for (field, text) in std::iter::once(("when", &rule.when)).chain(price) {
                let path = format!("{at}.{field}");
                match names_of(text) {
                    Ok(names) => names.iter().for_each(|(set, value)| named(path.clone(), set, value)),
                    Err(message) => unread.push(problem(Kind::Strategy, path, message)),
                }
            }
        }
    }
    found.extend(unread);
}

/// The features that an expression names, as (set, value): `set.value` or ``features.`set`.`value` ``.
fn names_of(text: &str) -> Result<BTreeSet<(String, String)>, String> {
    let parser = Parser::new().max_recursion_depth(EXPRESSION_DEPTH_MAX).enable_ident_escape_syntax(true);
    let tree = parser.parse(text).map_err(|errors| {
        let said = errors.errors.first().map_or("cannot be read", |error| error.msg.as_str());
        let first: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
        format!("is no expression: {first}")
    })?;
    let mut names = BTreeSet::new();
    walk(&tree, &mut names);
    Ok(names)
}

fn walk(tree: &IdedExpr, names: &mut BTreeSet<(String, String)>) {
    match &tree.expr {
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(set) => {
                names.insert((set.clone(), select.field.clone()));
            }
            Expr::Select(set) if set.operand.expr == Expr::Ident("features".to_owned()) => {
                names.insert((set.field.clone(), select.field.clone()));
            }
            _ => walk(&select.operand, names),
        },
        Expr::Call(call) => {
            call.target.iter().for_each(|target| walk(target, names));
            call.args.iter().for_each(|argument| walk(argument, names));
        }
        // What else the language has, rules have not: the strategy process says so.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_an_expression_are_found_wherever_they_stand() {
        let text =
            "good && (flow.ofi_10 > 2.0 || !(abs(features.`my-set`.`a.b`) < mid)) ? seconds.mid > 1.0 : true";
        let found = names_of(text).unwrap();
        let expected = [("flow", "ofi_10"), ("my-set", "a.b"), ("seconds", "mid")];
        assert_eq!(found, expected.map(|(set, value)| (set.to_owned(), value.to_owned())).into());
        assert!(names_of("mid >").unwrap_err().starts_with("is no expression"));
        assert!(names_of(&"(".repeat(1_000)).is_err());
    }
}
