//! The functions of a template: Go's and docker's.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::Value;

use super::Error;
use super::evaluate::{is_true, print};

/// A function that a template may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Compare(Comparison),
    Index,
    Join,
    Json,
    /// docker's method `Label`, of the labels in one text.
    Label,
    Length,
    Lower,
    Pad,
    Print,
    PrintLine,
    PrintFormatted,
    Slice,
    Split,
    Title,
    Truncate,
    Upper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            "eq" => Self::Compare(Comparison::Equal),
            "ne" => Self::Compare(Comparison::NotEqual),
            "lt" => Self::Compare(Comparison::Less),
            "le" => Self::Compare(Comparison::LessOrEqual),
            "gt" => Self::Compare(Comparison::Greater),
            "ge" => Self::Compare(Comparison::GreaterOrEqual),
            "index" => Self::Index,
            "join" => Self::Join,
            "json" => Self::Json,
            "len" => Self::Length,
            "lower" => Self::Lower,
            "pad" => Self::Pad,
            "print" => Self::Print,
            "println" => Self::PrintLine,
            "printf" => Self::PrintFormatted,
            "slice" => Self::Slice,
            "split" => Self::Split,
            "title" => Self::Title,
            "truncate" => Self::Truncate,
            "upper" => Self::Upper,
            _ => return None,
        })
    }

    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, Error> {
        match (self, arguments) {
            (Self::And, [_, ..]) => Ok(chosen(arguments, false)),
            (Self::Or, [_, ..]) => Ok(chosen(arguments, true)),
            (Self::Not, [value]) => Ok((!is_true(value)).into()),
            (Self::Compare(comparison), [first, rest @ ..]) if !rest.is_empty() => {
                comparison.holds(first, rest).map(Value::Bool)
            }
            (Self::Index, [value, keys @ ..]) => {
                keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
            }
            (Self::Join, [Value::Array(items), Value::String(separator)]) => {
                let items: Vec<String> = items.iter().map(print).collect();
                Ok(items.join(separator).into())
            }
            (Self::Join, [Value::Null, _]) => Ok("".into()),
            (Self::Json, [value]) => Ok(value.to_string().into()),
            (Self::Label, [labels, key]) => Ok(label(&print(labels), &print(key)).into()),
            (Self::Length, [value]) => length(value),
            (Self::Lower, [value]) => Ok(print(value).to_lowercase().into()),
            (Self::Upper, [value]) => Ok(print(value).to_uppercase().into()),
            (Self::Title, [value]) => Ok(title(&print(value)).into()),
            (Self::Pad, [value, before, after]) => {
                let blanks = |value| whole(value).map(|n| " ".repeat(n.min(1024)));
                let text = print(value);
                Ok(if text.is_empty() {
                    text.into()
                } else {
                    format!("{}{text}{}", blanks(before)?, blanks(after)?).into()
                })
            }
            (Self::Print, values) => {
                Ok(values.iter().map(print).collect::<Vec<_>>().join(" ").into())
            }
            (Self::PrintLine, values) => {
                Ok((values.iter().map(print).collect::<Vec<_>>().join(" ") + "\n").into())
            }
            (Self::PrintFormatted, [Value::String(format), values @ ..]) => {
                formatted(format, values).map(Into::into)
            }
            (Self::Slice, [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds),
            (Self::Split, [Value::String(text), Value::String(separator)]) => {
                Ok(text.split(separator.as_str()).map(Value::from).collect())
            }
            (Self::Truncate, [value, length]) => {
                let length = whole(length)?;
                Ok(print(value).chars().take(length).collect::<String>().into())
            }
            _ => Err(Error::Evaluation(format!("{self:?} cannot take these arguments"))),
        }
    }
}

/// The first argument whose truth is `wanted`, else the last.
/// The value of one of `NAME=VALUE,…`; nothing where there is none, as docker has it.
fn label(labels: &str, key: &str) -> String {
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map_or_else(String::new, |(_, value)| value.to_owned())
}

fn chosen(arguments: &[Value], wanted: bool) -> Value {
    let found = arguments.iter().find(|value| is_true(value) == wanted);
    found.or(arguments.last()).cloned().unwrap_or_default()
}

impl Comparison {
    fn holds(self, first: &Value, rest: &[Value]) -> Result<bool, Error> {
        if self == Self::Equal {
            return Ok(rest.iter().any(|value| same(first, value)));
        }
        let [second] = rest else {
            return Err(Error::Evaluation("a comparison takes two arguments".into()));
        };
        if self == Self::NotEqual {
            return Ok(!same(first, second));
        }
        let order = match (first, second) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => None,
        };
        let order =
            order.ok_or_else(|| Error::Evaluation("incompatible types for comparison".into()))?;
        Ok(match self {
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Equal | Self::NotEqual => unreachable!("answered above"),
        })
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn whole(value: &Value) -> Result<usize, Error> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| Error::Evaluation(format!("{} is no whole number", print(value))))
}

fn index(value: &Value, key: &Value) -> Result<Value, Error> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_default()),
        (Value::Null, _) => Ok(Value::Null),
        (Value::Array(items), key) => items.get(whole(key)?).cloned().ok_or_else(|| {
            Error::Evaluation(format!("index out of range: {key} of {}", items.len()))
        }),
        _ => Err(Error::Evaluation(format!("cannot index {}", print(value)))),
    }
}

fn length(value: &Value) -> Result<Value, Error> {
    match value {
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Null => Ok(0.into()),
        _ => Err(Error::Evaluation(format!("len of {}", print(value)))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, Error> {
    let out = || Error::Evaluation("slice bounds out of range".into());
    let start = bounds.first().map_or(Ok(0), whole)?;
    let end = bounds.get(1).map(whole).transpose()?;
    match value {
        Value::String(text) => {
            let part = text.get(start..end.unwrap_or(text.len())).ok_or_else(out)?;
            Ok(part.into())
        }
        Value::Array(items) => {
            let part = items.get(start..end.unwrap_or(items.len())).ok_or_else(out)?;
            Ok(part.to_vec().into())
        }
        _ => Err(Error::Evaluation(format!("cannot slice {}", print(value)))),
    }
}

/// Every word with a capital, as Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut begins = true;
    let capital = |c: char| {
        let letter: String = if begins { c.to_uppercase().collect() } else { c.into() };
        begins = !(c.is_alphanumeric() || c == '_' || c == '\'');
        letter
    };
    text.chars().map(capital).collect()
}

/// Go's verbs %s %v %d %q %t %x %%, with a width: `%-10s`.
fn formatted(format: &str, values: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_digit() || "-+ .0".contains(c)));
        let end = end.ok_or_else(|| Error::Evaluation("printf: % without a verb".into()))?;
        let (flags, verb) = after.split_at(end);
        let Some(verb) = verb.chars().next() else { break };
        rest = &after[end + verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            let _ = write!(text, "%!{verb}(MISSING)");
            continue;
        };
        let shown = match (verb, value.as_i64()) {
            ('s' | 'v' | 'd' | 't' | 'f', _) => print(value),
            ('q', _) => format!("{:?}", print(value)),
            ('x', Some(number)) => format!("{number:x}"),
            ('X', Some(number)) => format!("{number:X}"),
            ('o', Some(number)) => format!("{number:o}"),
            _ => format!("%!{verb}({})", print(value)),
        };
        let digits = flags.split('.').next().unwrap_or_default();
        let width: usize = digits.trim_start_matches(['-', '+', ' ']).parse().unwrap_or(0);
        let width = width.min(1024);
        let _ = if flags.starts_with('-') {
            write!(text, "{shown:<width$}")
        } else {
            write!(text, "{shown:>width$}")
        };
    }
    text.push_str(rest);
    Ok(text)
}
