//! Expressions: written in the Common Expression Language, checked when they are read, evaluated without allocating.
//!
//! The `cel` crate reads the text. What a rule may say is a small part of the language: numbers, booleans, names and the
//! functions `abs`, `min` and `max`. It is checked here and turned into two kinds of nodes, one of numbers and one of
//! booleans, with names resolved to slots of an array; so a wrong type or an unknown name is refused with its place
//! when a document is read, and evaluation has neither look-ups nor types, nor loops.
//!
//! Invariant: a condition gives no answer as soon as a comparison that decides it has no number on one of its sides. A
//! missing value cannot make anything true, nor, by `!`, the opposite of anything.

use super::names::{Name, Names};
use bus::config::RULE_EXPRESSION_BYTES_MAX;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;

/// Deepest nesting of brackets and operators; reading and evaluating call themselves so often at most.
const DEPTH_MAX: usize = 64;

/// An expression that cannot be used: where, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A number of an expression.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Number {
    Constant(f64),
    Slot(usize),
    Negated(Box<Number>),
    Absolute(Box<Number>),
    Binary(Arithmetic, Box<(Number, Number)>),
    Chosen(Box<(Condition, Number, Number)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Least,
    Most,
}

/// Something that is true or not.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Condition {
    Constant(bool),
    Slot(usize),
    Not(Box<Condition>),
    And(Box<(Condition, Condition)>),
    Or(Box<(Condition, Condition)>),
    Same(Box<(Condition, Condition)>),
    Compared(Comparison, Box<(Number, Number)>),
    Chosen(Box<(Condition, Condition, Condition)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

impl Number {
    /// The value; none when it is not a finite number: a value that is missing, a division by zero, an overflow.
    pub(crate) fn value(&self, slots: &[f64]) -> Option<f64> {
        let value = match self {
            Number::Constant(value) => *value,
            Number::Slot(at) => *slots.get(*at)?,
            Number::Negated(of) => -of.value(slots)?,
            Number::Absolute(of) => of.value(slots)?.abs(),
            Number::Binary(how, of) => {
                let (left, right) = (of.0.value(slots)?, of.1.value(slots)?);
                match how {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => left / right,
                    Arithmetic::Remainder => left % right,
                    Arithmetic::Least => left.min(right),
                    Arithmetic::Most => left.max(right),
                }
            }
            Number::Chosen(of) if of.0.holds(slots)? => of.1.value(slots)?,
            Number::Chosen(of) => of.2.value(slots)?,
        };
        value.is_finite().then_some(value)
    }
}

impl Condition {
    /// Whether it holds; none when that cannot be said.
    pub(crate) fn holds(&self, slots: &[f64]) -> Option<bool> {
        Some(match self {
            Condition::Constant(value) => *value,
            Condition::Slot(at) => match slots.get(*at)? {
                value if value.is_nan() => return None,
                value => *value != 0.0,
            },
            Condition::Not(of) => !of.holds(slots)?,
            Condition::And(of) => of.0.holds(slots)? && of.1.holds(slots)?,
            Condition::Or(of) => of.0.holds(slots)? || of.1.holds(slots)?,
            Condition::Same(of) => of.0.holds(slots)? == of.1.holds(slots)?,
            Condition::Compared(how, of) => {
                let (left, right) = (of.0.value(slots)?, of.1.value(slots)?);
                match how {
                    Comparison::Less => left < right,
                    Comparison::AtMost => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::AtLeast => left >= right,
                    Comparison::Equal => left == right,
                    Comparison::NotEqual => left != right,
                }
            }
            Condition::Chosen(of) if of.0.holds(slots)? => of.1.holds(slots)?,
            Condition::Chosen(of) => of.2.holds(slots)?,
        })
    }
}

/// Reads a condition.
///
/// # Errors
/// Where it is wrong, and what would be right.
pub(crate) fn condition(text: &str, names: &mut Names<'_>) -> Result<Condition, Fault> {
    let (tree, source) = parse(text)?;
    let mut reader = Reader { text, source: &source, names, depth: 0 };
    match reader.read(&tree)? {
        Typed::Condition(condition) => Ok(condition),
        Typed::Number(_) => {
            Err(at_character(text, 0, "is a number, and a condition is true or false; compare it".to_owned()))
        }
    }
}

/// Reads a number.
///
/// # Errors
/// Where it is wrong, and what would be right.
pub(crate) fn number(text: &str, names: &mut Names<'_>) -> Result<Number, Fault> {
    let (tree, source) = parse(text)?;
    Reader { text, source: &source, names, depth: 0 }.number(&tree)
}

fn at_character(text: &str, character: usize, message: String) -> Fault {
    let before = text.chars().take(character);
    let (line, column) = before.fold(
        (1, 1),
        |(line, column), letter| {
            if letter == '\n' { (line + 1, 1) } else { (line, column + 1) }
        },
    );
    Fault { line, column, message }
}

fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), Fault> {
    if text.len() > RULE_EXPRESSION_BYTES_MAX {
        let message = format!("has {} bytes; write at most {RULE_EXPRESSION_BYTES_MAX}", text.len());
        return Err(at_character(text, 0, message));
    }
    let parser = Parser::new().max_recursion_depth(DEPTH_MAX as u16).enable_ident_escape_syntax(true);
    parser.parse_with_source_info(text).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |error| error.pos);
        let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
        let said = first.map_or("cannot be read", |error| error.msg.as_str());
        // One line: it goes into a log.
        let message = said.lines().next().unwrap_or_default().chars().take(200).collect();
        Fault { line: place(line), column: place(column), message }
    })
}

enum Typed {
    Number(Number),
    Condition(Condition),
}

struct Reader<'a, 'n> {
    text: &'a str,
    source: &'a SourceInfo,
    names: &'a mut Names<'n>,
    depth: usize,
}

impl Reader<'_, '_> {
    fn fault(&self, at: &IdedExpr, message: impl Into<String>) -> Fault {
        let start = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        at_character(self.text, start, message.into())
    }

    fn number(&mut self, tree: &IdedExpr) -> Result<Number, Fault> {
        match self.read(tree)? {
            Typed::Number(number) => Ok(number),
            Typed::Condition(_) => Err(self.fault(tree, "is true or false, and a number is needed here")),
        }
    }

    fn condition(&mut self, tree: &IdedExpr) -> Result<Condition, Fault> {
        match self.read(tree)? {
            Typed::Condition(condition) => Ok(condition),
            Typed::Number(_) => {
                Err(self.fault(tree, "is a number, and something true or false is needed here; compare it"))
            }
        }
    }

    fn read(&mut self, tree: &IdedExpr) -> Result<Typed, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(
                self.fault(tree, format!("is nested deeper than {DEPTH_MAX}; write it as several rules"))
            );
        }
        self.depth += 1;
        let read = self.node(tree);
        self.depth -= 1;
        read
    }

    fn node(&mut self, tree: &IdedExpr) -> Result<Typed, Fault> {
        match &tree.expr {
            Expr::Literal(literal) => self.literal(tree, literal),
            Expr::Ident(name) => self.name(tree, name, None),
            Expr::Select(select) if !select.test => match &select.operand.expr {
                Expr::Ident(set) => self.name(tree, set, Some(&select.field)),
                // Only what follows a dot can stand in backticks.
                Expr::Select(set) if !set.test && set.operand.expr == Expr::Ident("features".to_owned()) => {
                    self.name(tree, &set.field, Some(&select.field))
                }
                _ => Err(self.fault(tree, "is no feature; write set.name, or features.`set`.`name`")),
            },
            Expr::Call(call) => self.call(tree, call),
            Expr::Comprehension(_) => Err(self.fault(tree, "goes through a list; rules have none")),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => {
                Err(self
                    .fault(tree, "is a list, a map or a message; rules have only numbers and true or false"))
            }
            Expr::Select(_) | Expr::Unspecified => {
                Err(self
                    .fault(tree, "is nothing that a rule can say; a rule with a missing value does not fire"))
            }
        }
    }

    fn literal(&self, tree: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Fault> {
        let number = match literal {
            LiteralValue::Boolean(value) => return Ok(Typed::Condition(Condition::Constant(*value.inner()))),
            LiteralValue::Double(value) => *value.inner(),
            LiteralValue::Int(value) => *value.inner() as f64,
            LiteralValue::UInt(value) => *value.inner() as f64,
            LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::String(_) => {
                return Err(self.fault(tree, "is no number, true or false"));
            }
        };
        if !number.is_finite() {
            return Err(self.fault(tree, "is too large a number"));
        }
        Ok(Typed::Number(Number::Constant(number)))
    }

    fn name(&mut self, tree: &IdedExpr, first: &str, second: Option<&str>) -> Result<Typed, Fault> {
        let name = match second {
            Some(value) => self.names.feature(first, value),
            None => Name::of(first).ok_or_else(|| {
                let known = Name::PLAIN.map(|(word, _)| word).join(", ");
                format!("{first} is no name; there are {known}, and features as set.name")
            }),
        };
        let name = name.map_err(|message| self.fault(tree, message))?;
        let truth = name == Name::Good;
        let slot = self.names.slot(name);
        Ok(if truth { Typed::Condition(Condition::Slot(slot)) } else { Typed::Number(Number::Slot(slot)) })
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Result<Typed, Fault> {
        if call.target.is_some() {
            return Err(self.fault(tree, format!("{} is no function of a rule", call.func_name)));
        }
        match (call.func_name.as_str(), &call.args[..]) {
            (operators::LOGICAL_AND, [left, right]) => {
                let both = Box::new((self.condition(left)?, self.condition(right)?));
                Ok(Typed::Condition(Condition::And(both)))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let both = Box::new((self.condition(left)?, self.condition(right)?));
                Ok(Typed::Condition(Condition::Or(both)))
            }
            (operators::LOGICAL_NOT, [of]) => {
                Ok(Typed::Condition(Condition::Not(Box::new(self.condition(of)?))))
            }
            (operators::NEGATE, [of]) => Ok(Typed::Number(Number::Negated(Box::new(self.number(of)?)))),
            ("abs", [of]) => Ok(Typed::Number(Number::Absolute(Box::new(self.number(of)?)))),
            (operators::CONDITIONAL, [which, left, right]) => self.chosen(which, left, right),
            (operator, [left, right]) => match (comparison(operator), arithmetic(operator)) {
                (Some(how), _) => self.compared(how, left, right),
                (None, Some(how)) => {
                    let both = Box::new((self.number(left)?, self.number(right)?));
                    Ok(Typed::Number(Number::Binary(how, both)))
                }
                (None, None) => Err(self.unknown_function(tree, operator)),
            },
            (function, _) => Err(self.unknown_function(tree, function)),
        }
    }

    fn unknown_function(&self, tree: &IdedExpr, name: &str) -> Fault {
        self.fault(
            tree,
            format!("{name} is no operator or function of a rule; there are abs(a), min(a, b), max(a, b)"),
        )
    }

    fn chosen(&mut self, which: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, Fault> {
        let which = self.condition(which)?;
        match self.read(left)? {
            Typed::Number(left) => {
                Ok(Typed::Number(Number::Chosen(Box::new((which, left, self.number(right)?)))))
            }
            Typed::Condition(left) => {
                Ok(Typed::Condition(Condition::Chosen(Box::new((which, left, self.condition(right)?)))))
            }
        }
    }

    fn compared(&mut self, how: Comparison, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, Fault> {
        let compared = match (self.read(left)?, how) {
            (Typed::Number(number), how) => Condition::Compared(how, Box::new((number, self.number(right)?))),
            (Typed::Condition(one), Comparison::Equal) => {
                Condition::Same(Box::new((one, self.condition(right)?)))
            }
            (Typed::Condition(one), Comparison::NotEqual) => {
                Condition::Not(Box::new(Condition::Same(Box::new((one, self.condition(right)?)))))
            }
            (Typed::Condition(_), _) => {
                return Err(self.fault(left, "is true or false, and has no order; compare it with == or !="));
            }
        };
        Ok(Typed::Condition(compared))
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::AtMost,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::AtLeast,
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        _ => return None,
    })
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        "min" => Arithmetic::Least,
        "max" => Arithmetic::Most,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::Feature;
    use super::*;

    fn names() -> Names<'static> {
        Names { used: Vec::new(), schemas: None }
    }

    /// What a condition says with `bid` and `ask` of these values.
    fn says(text: &str, bid: f64, ask: f64) -> Option<bool> {
        let mut names = names();
        let (bid_at, ask_at) = (names.slot(Name::Bid), names.slot(Name::Ask));
        let condition = condition(text, &mut names).unwrap();
        let mut slots = vec![f64::NAN; names.used.len()];
        (slots[bid_at], slots[ask_at]) = (bid, ask);
        condition.holds(&slots)
    }

    #[test]
    fn operators_bind_as_the_language_says() {
        for (text, expected) in [
            ("1 + 2 * 3 == 7", true),
            ("(1 + 2) * 3 == 9", true),
            ("10 - 4 - 3 == 3", true),
            ("7 % 4 == 3 && 8 / 2 / 2 == 2", true),
            ("true || false && false", true),
            ("!false && !(1 > 2)", true),
            ("-2 < -1", true),
            ("1 < 2 ? 3 > 4 : true", false),
            ("(bid > 1 ? bid : ask) == 2", true),
            ("min(bid, ask) == 2 && max(bid, ask) == 3 && abs(bid - ask) == 1", true),
            ("(bid < ask) == true && (bid > ask) != true", true),
            ("1e3 == 1000 && 0x10 == 16 && 5u == 5", true),
        ] {
            assert_eq!(says(text, 2.0, 3.0), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_missing_value_decides_nothing_where_it_is_needed() {
        for text in
            ["bid > 1", "!(bid > 1)", "bid == bid", "bid != 1", "max(bid, ask) > 0", "ask > 1 && bid > 1"]
        {
            assert_eq!(says(text, f64::NAN, 2.0), None, "{text}");
        }
        // What comes before decides alone.
        assert_eq!(says("ask > 3 && bid > 1", f64::NAN, 2.0), Some(false));
        assert_eq!(says("ask > 1 || bid > 1", f64::NAN, 2.0), Some(true));
    }

    #[test]
    fn what_is_no_number_decides_nothing() {
        for text in ["bid / 0 > 1", "0 / 0 != 1", "1e200 * 1e200 > 1", "bid % 0 > 1", "!(bid / 0 > 1)"] {
            assert_eq!(says(text, 1.0, 2.0), None, "{text}");
        }
    }

    #[test]
    fn a_feature_can_be_named_whatever_its_set_is_called() {
        let mut names = names();
        condition("flow.ofi > features.flow.ofi && features.`1-a`.`b.c` > 1", &mut names).unwrap();
        let features =
            [Name::Feature(Feature::new("flow", "ofi")), Name::Feature(Feature::new("1-a", "b.c"))];
        assert_eq!(names.used, features);
    }

    #[test]
    fn one_name_has_one_slot() {
        let mut names = names();
        condition("bid > 1 && bid < 2 && set.value > bid && set.value < 9", &mut names).unwrap();
        assert_eq!(names.used.len(), 2);
    }

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let fault = condition("bid > 1 &&\n  nix < 2", &mut names()).unwrap_err();
        assert_eq!((fault.line, fault.column), (2, 3));
        let fault = condition("'é' == 'é' && nix", &mut names()).unwrap_err();
        assert_eq!(fault.line, 1);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let wide = |text: &str, count: usize| text.repeat(count);
        for text in [
            wide("(", 500) + "bid > 1" + &wide(")", 500),
            wide("!", 1_000) + "good",
            wide("-", 1_000) + "bid > 1",
            wide("1 + ", 200) + "1 > 2",
            wide("good ? good : ", 70) + "good",
            wide("abs(", 200) + "1" + &wide(")", 200) + " > 1",
            "bid > 1".to_owned() + &wide(" ", RULE_EXPRESSION_BYTES_MAX),
            wide("[", 1_000),
            wide("a.", 500) + "b",
        ] {
            // An even number of signs may be taken away by the parser: then it is no longer deep.
            let read = condition(&text, &mut names());
            assert!(read.is_err() || text.starts_with('!') || text.starts_with('-'), "{text}");
        }
        assert!(condition(&(wide("bid > 1 && ", 60) + "ask > 1"), &mut names()).is_ok());
    }

    #[test]
    fn any_text_is_refused_or_can_be_evaluated() {
        bolero::check!().with_type::<Vec<u8>>().with_iterations(2_000).for_each(|bytes| {
            try_out(&String::from_utf8_lossy(bytes));
        });
    }

    #[test]
    fn any_row_of_words_is_refused_or_can_be_evaluated() {
        const WORDS: [&str; 40] = [
            "bid",
            "ask",
            "good",
            "flow.ofi",
            "flow.`a.b`",
            "(",
            ")",
            "&&",
            "||",
            "!",
            "-",
            "+",
            "*",
            "/",
            "%",
            "<",
            ">=",
            "==",
            "!=",
            "?",
            ":",
            "1",
            "0",
            "1e308",
            "true",
            "min(",
            "abs(",
            ",",
            "[",
            "]",
            "{",
            "}",
            "'x'",
            "null",
            ".",
            "in",
            "has(",
            "\n",
            "9223372036854775808",
            "x.all(y, ",
        ];
        bolero::check!().with_type::<Vec<u8>>().with_iterations(2_000).for_each(|choices| {
            let words = choices.iter().map(|choice| WORDS[usize::from(*choice) % WORDS.len()]);
            try_out(&words.collect::<Vec<_>>().join(" "));
        });
    }

    fn try_out(text: &str) {
        let mut names = names();
        match condition(text, &mut names) {
            Ok(condition) => {
                for value in [0.0, 1.0, -1e308, f64::NAN, f64::INFINITY] {
                    let _ = condition.holds(&vec![value; names.used.len()]);
                }
            }
            Err(fault) => {
                assert!(fault.line >= 1 && fault.column >= 1 && !fault.message.contains('\n'), "{fault}");
            }
        }
        if let Ok(number) = number(text, &mut names) {
            assert!(number.value(&vec![f64::NAN; names.used.len()]).is_none_or(f64::is_finite));
        }
    }
}
