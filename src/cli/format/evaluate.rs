//! Nodes and a value to text.

use std::borrow::Cow;

use serde_json::Value;

use super::Error;
use super::parse::{Command, Node, Operand, Pipeline};

pub(super) fn render(nodes: &[Node], value: &Value) -> Result<String, Error> {
    let variables = vec![(String::new(), Cow::Borrowed(value))];
    let mut scope = Scope { variables, text: String::new() };
    scope.nodes(nodes, value)?;
    Ok(scope.text)
}

pub(super) fn fill(nodes: &[Node], of: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let mut text = String::new();
    for node in nodes {
        match node {
            Node::Text(plain) => text.push_str(plain),
            Node::Action(Pipeline { variables, commands })
                if let ([], [Command::Operand(Operand::Field(names))]) =
                    (&variables[..], &commands[..])
                    && let [name] = &names[..] =>
            {
                push(&mut text, &of(name)?);
            }
            _ => return None,
        }
    }
    Some(text)
}

struct Scope<'a> {
    /// The innermost last; `$` is the first.
    variables: Vec<(String, Cow<'a, Value>)>,
    text: String,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Error> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    /// A block: its variables end with it.
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Error> {
        let before = self.variables.len();
        let done = self.nodes(nodes, dot);
        self.variables.truncate(before);
        done
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), Error> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            // By far the most of them: nothing is copied.
            Node::Action(Pipeline { variables, commands })
                if let ([], [Command::Operand(Operand::Field(names))]) =
                    (&variables[..], &commands[..]) =>
            {
                push(&mut self.text, field(dot, names)?);
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match pipeline.variables.first() {
                    Some(name) => self.variables.push((name.clone(), Cow::Owned(value))),
                    None => self.text.push_str(&print(&value)),
                }
            }
            Node::If { condition, then, otherwise } => {
                let value = self.pipeline(condition, dot)?;
                let branch = if is_true(&value) { then } else { otherwise };
                self.bound(condition, vec![value], branch, dot)?;
            }
            Node::With { value: pipeline, then, otherwise } => {
                let value = self.pipeline(pipeline, dot)?;
                if is_true(&value) {
                    self.bound(pipeline, vec![value.clone()], then, &value)?;
                } else {
                    self.block(otherwise, dot)?;
                }
            }
            Node::Range { items, body, otherwise } => {
                let pairs = pairs(self.pipeline(items, dot)?)?;
                if pairs.is_empty() {
                    self.block(otherwise, dot)?;
                }
                for (key, value) in pairs {
                    let values = match items.variables.len() {
                        2 => vec![key, value.clone()],
                        _ => vec![value.clone()],
                    };
                    self.bound(items, values, body, &value)?;
                }
            }
        }
        Ok(())
    }

    /// A block in which the pipeline's variables have these values.
    fn bound(
        &mut self,
        pipeline: &Pipeline,
        values: Vec<Value>,
        nodes: &[Node],
        dot: &Value,
    ) -> Result<(), Error> {
        let before = self.variables.len();
        let values = values.into_iter().map(Cow::Owned);
        self.variables.extend(pipeline.variables.iter().cloned().zip(values));
        let done = self.nodes(nodes, dot);
        self.variables.truncate(before);
        done
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut fed = None;
        for command in &pipeline.commands {
            fed = Some(match command {
                Command::Operand(operand) => self.operand(operand, dot)?,
                Command::Call(function, operands) => {
                    let arguments = operands.iter().map(|operand| self.operand(operand, dot));
                    let mut arguments: Vec<Value> = arguments.collect::<Result<_, _>>()?;
                    arguments.extend(fed.take());
                    function.call(&arguments)?
                }
            });
        }
        Ok(fed.unwrap_or_default())
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(names) => field(dot, names).cloned(),
            Operand::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found
                    .ok_or_else(|| Error::Evaluation(format!("undefined variable ${name}")))?;
                field(value, names).cloned()
            }
            Operand::Nested(pipeline, names) => {
                field(&self.pipeline(pipeline, dot)?, names).cloned()
            }
        }
    }
}

fn push(text: &mut String, value: &Value) {
    match value {
        Value::String(more) => text.push_str(more),
        other => text.push_str(&print(other)),
    }
}

fn field<'a>(value: &'a Value, names: &[String]) -> Result<&'a Value, Error> {
    let mut value = value;
    for name in names {
        value = match value {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                // Fields start with a capital; other names are keys of maps, such as labels.
                None if name.starts_with(char::is_lowercase) => return Ok(&Value::Null),
                None => {
                    let known = map.keys().cloned().collect();
                    return Err(Error::NoField { field: name.clone(), known });
                }
            },
            _ => return Err(Error::NoField { field: name.clone(), known: Vec::new() }),
        };
    }
    Ok(value)
}

fn pairs(value: Value) -> Result<Vec<(Value, Value)>, Error> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect())
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0)); // Go ranges over maps in order of keys
            Ok(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
        }
        other => Err(Error::Evaluation(format!("range can't iterate over {}", print(&other)))),
    }
}

/// Go's truth: not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Go's `%v`.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
            let pairs: Vec<_> =
                pairs.into_iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}
