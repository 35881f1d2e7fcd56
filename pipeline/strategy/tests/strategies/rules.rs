//! Rules: when they fire, what they do, and what is refused when a document is read.

use crate::support::{parse, rig, schema, short};
use bus::Quality;
use bus::config::{RulesSection, StrategyKind};
use strategy::strategies::build;

/// One rule that buys 10 at the market.
fn buying(when: &str) -> String {
    format!(
        "{{rules: [{{name: r, when: '{when}', cooldown_ms: 100, do: {{buy: {{quantity: 10, price: {{cross: 0}}, tif: ioc}}}}}}]}}"
    )
}

fn doing(when: &str, action: &str) -> String {
    format!("{{rules: [{{name: r, when: '{when}', cooldown_ms: 100, do: {action}}}]}}")
}

#[test]
fn a_rule_fires_when_its_expression_becomes_true_and_not_while_it_stays_so() {
    let mut rig = rig("rules", &buying("bid_size > ask_size"));
    assert!(rig.quote((9_999, 200), (10_001, 100)).is_empty(), "it was not seen false");
    assert!(rig.quote((9_999, 100), (10_001, 100)).is_empty());
    let sent = rig.quote((9_999, 200), (10_001, 100));
    assert_eq!(short(&sent), ["buy 10 @ 100.01 ioc"]);
    rig.immediate(&sent[0], 10);
    rig.pass(200);
    assert!(rig.quote((9_999, 300), (10_001, 100)).is_empty());
    rig.quote((9_999, 100), (10_001, 100));
    assert_eq!(rig.quote((9_999, 200), (10_001, 100)).len(), 1);
}

#[test]
fn a_rule_that_fires_while_true_does_so_after_each_cooldown() {
    let mut rig = rig("rules", &buying("good").replace("cooldown_ms", "fires: while_true, cooldown_ms"));
    let mut sent = rig.quote((9_999, 200), (10_001, 100));
    for _ in 0..3 {
        assert_eq!(short(&sent), ["buy 10 @ 100.01 ioc"]);
        assert!(rig.immediate(&sent[0], 10).is_empty());
        assert!(rig.pass(99).is_empty());
        sent = rig.pass(100);
    }
}

#[test]
fn the_cooldown_runs_also_after_a_refusal() {
    let mut rig = rig("rules", &buying("good").replace("cooldown_ms", "fires: while_true, cooldown_ms"));
    let sent = rig.quote((9_999, 200), (10_001, 100));
    assert!(rig.refuse(&sent[0]).is_empty());
    assert!(rig.pass(50).is_empty());
    assert_eq!(rig.pass(100).len(), 1);
}

#[test]
fn a_value_that_is_missing_old_or_doubtful_makes_nothing_true_and_nothing_false() {
    for when in [
        "flow.ofi > 5.0",
        "!(flow.ofi <= 5.0)",
        "flow.ofi > 5.0 || flow.ofi <= 5.0",
        "flow.ofi / 0 > 5 || flow.ofi > 5",
    ] {
        let mut rig = rig("rules", &buying(when).replace("cooldown_ms", "fires: while_true, cooldown_ms"));
        assert!(rig.quote((9_999, 200), (10_001, 100)).is_empty(), "{when}: never published");
        assert!(rig.features([f64::NAN, 0.0], Quality::GOOD).is_empty(), "{when}: not a number");
        assert!(rig.features([9.0, 0.0], Quality::GAP_IN_WINDOW).is_empty(), "{when}: doubtful");
        let fires = !when.contains("/ 0");
        assert_eq!(rig.features([9.0, 0.0], Quality::GOOD).len(), usize::from(fires), "{when}");
        assert!(rig.pass(10_100).is_empty(), "{when}: older than ten seconds");
    }
}

#[test]
fn orders_need_a_good_book_and_cancels_do_not() {
    let both = "{rules: [
        {name: buy, when: 'position < 100', fires: while_true, cooldown_ms: 1, do: {buy: {quantity: 10, price: {join: 0}}}},
        {name: away, when: '!good', do: cancel_all}]}";
    let mut rig = rig("rules", both);
    let sent = rig.quote((9_999, 200), (10_001, 100));
    assert_eq!(short(&sent), ["buy 10 @ 99.99 day"]);
    rig.accept(&sent[0]);
    assert_eq!(short(&rig.gap()), ["cancel"]);
}

#[test]
fn prices_are_on_a_tick_and_a_join_never_takes() {
    let cases = [
        ("{buy: {quantity: 1, price: {at: mid}}}", "buy 1 @ 99.99 day"),
        ("{sell: {quantity: 1, price: {at: mid}}}", "sell_short 1 @ 100.00 day"),
        ("{buy: {quantity: 1, price: {at: bid - 3 * tick_size}}}", "buy 1 @ 99.95 day"),
        ("{buy: {quantity: 1, price: {join: 1}}}", "buy 1 @ 99.99 day"),
        ("{buy: {quantity: 1, price: {join: 9}}}", "buy 1 @ 100.00 day"),
        ("{buy: {quantity: 1, price: {join: -2}}}", "buy 1 @ 99.96 day"),
        ("{sell: {quantity: 1, price: {join: 9}}}", "sell_short 1 @ 99.99 day"),
        ("{sell: {quantity: 1, price: {cross: 2}, tif: ioc}}", "sell_short 1 @ 99.96 ioc"),
        ("{buy: {quantity: 1, price: {cross: 2}, tif: ioc}}", "buy 1 @ 100.03 ioc"),
    ];
    for (action, expected) in cases {
        let mut rig = rig("rules", &doing("bid_size > 1", action));
        rig.quote((9_998, 1), (10_001, 100));
        assert_eq!(short(&rig.quote((9_998, 2), (10_001, 100))), [expected], "{action}");
    }
    let hostile = ["bid / 0", "1e300 * bid", "0 - 1e30", "flow.ofi"];
    for at in hostile {
        let mut rig =
            rig("rules", &doing("bid_size > 1", &format!("{{buy: {{quantity: 1, price: {{at: '{at}'}}}}}}")));
        rig.quote((9_998, 1), (10_001, 100));
        assert!(rig.quote((9_998, 2), (10_001, 100)).is_empty(), "{at}");
    }
}

#[test]
fn flatten_cancels_first_then_trades_the_position_away_and_lets_nothing_in_between() {
    let rules = "{rules: [
        {name: in, when: 'good', fires: while_true, cooldown_ms: 1, do: {buy: {quantity: 30, price: {join: 0}}}},
        {name: out, when: 'bid < 99.5', cooldown_ms: 100, do: {flatten: {quantity: 20, cross: 1}}}]}";
    let mut rig = rig("rules", rules);
    let first = rig.quote((9_999, 200), (10_001, 100));
    rig.accept(&first[0]);
    rig.now_ns += 2_000_000;
    let second = rig.fill(first[0].id, 30);
    assert_eq!(short(&second), ["buy 30 @ 99.99 day"]);
    rig.accept(&second[0]);
    assert_eq!(rig.position(), 30);
    let sent = rig.quote((9_940, 200), (9_942, 100));
    let cancels: Vec<_> = short(&sent).into_iter().filter(|order| order == "cancel").collect();
    assert_eq!(cancels, ["cancel"], "{:?}", short(&sent));
    let mut all = Vec::new();
    let mut todo = sent;
    for _ in 0..30 {
        for order in std::mem::take(&mut todo) {
            all.push(short(std::slice::from_ref(&order))[0].clone());
            todo.extend(match order.action {
                bus::OrderAction::New { quantity, side, .. } if side != bus::OrderSide::Buy => {
                    rig.immediate(&order, quantity)
                }
                _ => rig.accept(&order),
            });
        }
        if rig.position() == 0 {
            break;
        }
        todo.extend(rig.pass(50));
    }
    assert_eq!(rig.position(), 0, "{all:?}");
    let sold: Vec<_> = all.iter().filter(|order| order.starts_with("sell")).collect();
    assert_eq!(sold, ["sell 20 @ 99.39 ioc", "sell 10 @ 99.39 ioc"], "{all:?}");
}

#[test]
fn time_passes_also_when_nothing_happens() {
    // It is 15:00:00.
    let mut rig = rig("rules", &buying("time >= 54001"));
    rig.quote((9_999, 200), (10_001, 100));
    assert!(rig.pass(900).is_empty());
    assert_eq!(rig.pass(100).len(), 1);
}

#[test]
fn what_is_wrong_in_an_expression_is_refused_with_rule_path_and_place() {
    let cases = [
        ("bid > asks", "line 1, column 7: asks is no name"),
        ("good && bid", "line 1, column 9: is a number, and something true or false is needed"),
        ("bid + good > 1", "line 1, column 7: is true or false, and a number is needed"),
        ("mid - bid", "line 1, column 1: is a number, and a condition is true or false"),
        ("bid > ", "line 1, column 7: "),
        ("(bid > 1", "line 1, column 9: "),
        ("flow.nothing > 1", "the feature set flow has no value nothing"),
        ("other.ofi > 1", "other is no feature set"),
        ("good < true", "has no order"),
        ("[1, 2].all(x, x > 1)", "rules have"),
        ("size(bid) > 1", "size is no operator or function"),
        ("bid.max(ask) > 1", "max is no function of a rule"),
        ("bid in [1, 2]", "is no operator"),
        ("has(flow.ofi)", "is nothing that a rule can say"),
        ("\"a\" == \"a\"", "is no number, true or false"),
        ("1e999 > 1", ""),
    ];
    for (when, expected) in cases {
        let section: RulesSection = parse(&buying(when));
        let problems = build(StrategyKind::Rules(&section), "strategies[0].rules", Some(&[schema()]));
        let problems = problems.err().unwrap_or_else(|| panic!("{when} is taken"));
        assert_eq!(problems[0].path, "strategies[0].rules.rules[0].when", "{when}");
        assert!(problems[0].message.starts_with("rule \"r\", line "), "{when}: {}", problems[0].message);
        assert!(problems[0].message.contains(expected), "{when}: {}", problems[0].message);
    }
    let section: RulesSection = parse(&doing("good", "{buy: {quantity: 1, price: {at: good}}}"));
    let problems = build(StrategyKind::Rules(&section), "s", None).err().unwrap();
    assert_eq!(problems[0].path, "s.rules[0].do.buy.price.at");
}

#[test]
fn every_wrong_rule_is_told_at_once() {
    let text =
        "{rules: [{name: a, when: 'nix > 1', do: cancel_all}, {name: b, when: 'bid >', do: cancel_all}]}";
    let section: RulesSection = parse(text);
    let problems = build(StrategyKind::Rules(&section), "s", None).err().unwrap();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["s.rules[0].when", "s.rules[1].when"]);
}

#[test]
fn a_feature_with_a_dot_in_its_name_stands_in_backticks() {
    let mut rig =
        rig("rules", &buying("flow.`a.b` > 1").replace("cooldown_ms", "fires: while_true, cooldown_ms"));
    rig.quote((9_999, 200), (10_001, 100));
    assert_eq!(rig.features([0.0, 2.0], Quality::GOOD).len(), 1);
}
