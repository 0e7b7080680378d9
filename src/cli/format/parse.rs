//! Text to nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Error;
use super::functions::Function;

/// How deep blocks and parentheses may stand in each other.
const DEPTH_LIMIT: usize = 64;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { items: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each fed with what the one before gave; the result may go to variables.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Operand(Operand),
    Call(Function, Vec<Operand>),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Literal(Value),
    /// `.A.B`; none for the dot alone.
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// `(…).A.B`
    Nested(Box<Pipeline>, Vec<String>),
}

/// Adds the first names of all fields; whether none is the dot alone, or one like it.
pub(super) fn fields<'a>(nodes: &'a [Node], found: &mut BTreeSet<&'a str>) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(_) => true,
        Node::Action(pipeline) => fields_of(pipeline, found),
        Node::If { condition: pipeline, then, otherwise }
        | Node::With { value: pipeline, then, otherwise }
        | Node::Range { items: pipeline, body: then, otherwise } => {
            fields_of(pipeline, found) && fields(then, found) && fields(otherwise, found)
        }
    })
}

fn fields_of<'a>(pipeline: &'a Pipeline, found: &mut BTreeSet<&'a str>) -> bool {
    let operands = pipeline.commands.iter().flat_map(|command| match command {
        Command::Operand(operand) => std::slice::from_ref(operand),
        Command::Call(_, operands) => operands,
    });
    let mut known = true;
    for operand in operands {
        known &= match operand {
            Operand::Literal(_) => true,
            Operand::Nested(pipeline, _) => fields_of(pipeline, found),
            // `$` is the value itself; what other variables hold was looked at where they got it.
            Operand::Variable(name, _) if !name.is_empty() => true,
            Operand::Field(names) | Operand::Variable(_, names) => {
                found.extend(names.first().map(String::as_str));
                !names.is_empty()
            }
        };
    }
    known
}

fn syntax<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Syntax(message.into()))
}

/// What stands between braces, and the text before and behind.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `.A.B` from its first dot on; `glued` when no blank stands before it.
    Field {
        names: Vec<String>,
        glued: bool,
    },
    Variable(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Comma,
    Assign,
}

pub(super) fn template(text: &str) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), depth: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        Ended::Nowhere => Ok(nodes),
        Ended::ByEnd => syntax("unexpected {{end}}"),
        Ended::ByElse(_) => syntax("unexpected {{else}}"),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let mut before = before.replace("\\t", "\t").replace("\\n", "\n");
        if trim_next {
            before.drain(..before.len() - before.trim_start().len());
        }
        let Some(after) = after else {
            pieces.push(Piece::Text(before));
            return Ok(pieces);
        };
        let inner = match after.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => {
                before.truncate(before.trim_end().len());
                inner
            }
            _ => after,
        };
        pieces.push(Piece::Text(before));
        let (tokens, behind, trims) = tokens(inner)?;
        trim_next = trims;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        rest = behind;
    }
}

type Action<'a> = (Option<Vec<Token>>, &'a str, bool);

/// The tokens up to `}}`, the text behind, whether it is to be trimmed; a comment has no tokens.
fn tokens(text: &str) -> Result<Action<'_>, Error> {
    let mut rest = text.trim_start();
    if let Some(comment) = rest.strip_prefix("/*") {
        let Some((_, behind)) = comment.split_once("*/") else {
            return syntax("unclosed comment");
        };
        return match (behind.strip_prefix("}}"), behind.strip_prefix(" -}}")) {
            (Some(behind), _) => Ok((None, behind, false)),
            (_, Some(behind)) => Ok((None, behind, true)),
            _ => syntax("comment ends before closing delimiter"),
        };
    }
    let mut tokens = Vec::new();
    loop {
        let blank = rest.trim_start();
        let glued = blank.len() == rest.len() && !tokens.is_empty();
        rest = blank;
        if let Some(behind) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), behind, false));
        }
        if let Some(behind) = rest.strip_prefix("-}}") {
            return Ok((Some(tokens), behind, true));
        }
        let (token, behind) = token(rest, glued)?;
        tokens.push(token);
        rest = behind;
    }
}

fn token(text: &str, glued: bool) -> Result<(Token, &str), Error> {
    let Some(first) = text.chars().next() else { return syntax("unclosed action") };
    let one = |token| Ok((token, &text[first.len_utf8()..]));
    match first {
        '|' => one(Token::Pipe),
        '(' => one(Token::Open),
        ')' => one(Token::Close),
        ',' => one(Token::Comma),
        '=' => one(Token::Assign),
        ':' if text.starts_with(":=") => Ok((Token::Assign, &text[2..])),
        '`' => match text[1..].split_once('`') {
            Some((raw, behind)) => Ok((Token::Literal(raw.into()), behind)),
            None => syntax("unterminated raw quoted string"),
        },
        '"' => quoted(text),
        '.' => {
            let end = text.find(|c: char| !(word(c) || c == '.')).unwrap_or(text.len());
            let names = text[1..end].split('.');
            let names: Vec<_> = names.map(str::to_owned).collect();
            match names[..] {
                [ref only] if only.is_empty() => Ok((field(Vec::new(), glued), &text[end..])),
                _ if names.iter().any(String::is_empty) => {
                    syntax(format!("unexpected <.> in {:?}", &text[..end]))
                }
                _ => Ok((field(names, glued), &text[end..])),
            }
        }
        '$' => {
            let end = text[1..].find(|c: char| !word(c)).map_or(text.len(), |at| at + 1);
            Ok((Token::Variable(text[1..end].to_owned()), &text[end..]))
        }
        '0'..='9' | '-' | '+' => {
            let end = text[1..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
                .map_or(text.len(), |at| at + 1);
            let number: Result<Value, _> =
                serde_json::from_str(text[..end].trim_start_matches('+'));
            match number {
                Ok(number @ Value::Number(_)) => Ok((Token::Literal(number), &text[end..])),
                _ => syntax(format!("bad number syntax: {:?}", &text[..end])),
            }
        }
        _ if word(first) => {
            let end = text.find(|c: char| !word(c)).unwrap_or(text.len());
            let token = match &text[..end] {
                "true" => Token::Literal(true.into()),
                "false" => Token::Literal(false.into()),
                "nil" => Token::Literal(Value::Null),
                name => Token::Word(name.to_owned()),
            };
            Ok((token, &text[end..]))
        }
        _ => syntax(format!("unexpected {first:?}")),
    }
}

fn field(names: Vec<String>, glued: bool) -> Token {
    Token::Field { names, glued }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn quoted(text: &str) -> Result<(Token, &str), Error> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                // Go's escapes that scripts use are JSON's.
                return match serde_json::from_str::<String>(&text[..=at]) {
                    Ok(string) => Ok((Token::Literal(string.into()), &text[at + 1..])),
                    Err(_) => syntax(format!("invalid string {}", &text[..=at])),
                };
            }
            _ => {}
        }
    }
    syntax("unterminated quoted string")
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    depth: usize,
}

/// What ended a block.
enum Ended {
    Nowhere,
    ByEnd,
    /// What stands behind `else`.
    ByElse(Vec<Token>),
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Ended), Error> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return syntax("too many blocks in each other");
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            match tokens.first() {
                Some(Token::Word(name)) if name == "end" => {
                    self.depth -= 1;
                    return Ok((nodes, Ended::ByEnd));
                }
                Some(Token::Word(name)) if name == "else" => {
                    self.depth -= 1;
                    return Ok((nodes, Ended::ByElse(tokens[1..].to_vec())));
                }
                Some(Token::Word(name)) if ["if", "with", "range"].contains(&name.as_str()) => {
                    nodes.push(self.control(name, &tokens[1..])?);
                }
                _ => nodes.push(Node::Action(pipeline(&tokens)?)),
            }
        }
        self.depth -= 1;
        Ok((nodes, Ended::Nowhere))
    }

    fn control(&mut self, kind: &str, tokens: &[Token]) -> Result<Node, Error> {
        let head = pipeline(tokens)?;
        let (then, end) = self.block()?;
        let otherwise = match end {
            Ended::ByEnd => Vec::new(),
            Ended::ByElse(rest) => self.otherwise(&rest)?,
            Ended::Nowhere => return syntax(format!("{{{{{kind}}}}} without {{{{end}}}}")),
        };
        Ok(match kind {
            "if" => Node::If { condition: head, then, otherwise },
            "with" => Node::With { value: head, then, otherwise },
            _ => Node::Range { items: head, body: then, otherwise },
        })
    }

    fn otherwise(&mut self, rest: &[Token]) -> Result<Vec<Node>, Error> {
        match rest.split_first() {
            // {{else if}} shares the {{end}} of its {{if}}.
            Some((Token::Word(kind), tokens)) if kind == "if" || kind == "with" => {
                self.depth += 1;
                if self.depth > DEPTH_LIMIT {
                    return syntax("too many blocks in each other");
                }
                let node = self.control(kind, tokens)?;
                self.depth -= 1;
                Ok(vec![node])
            }
            Some(_) => syntax("unexpected words in {{else}}"),
            None => match self.block()? {
                (nodes, Ended::ByEnd) => Ok(nodes),
                _ => syntax("{{else}} without {{end}}"),
            },
        }
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, Error> {
    let mut cursor = Cursor { tokens, depth: 0 };
    let pipeline = cursor.pipeline()?;
    match cursor.tokens.first() {
        None => Ok(pipeline),
        Some(token) => syntax(format!("unexpected {token:?}")),
    }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn pipeline(&mut self) -> Result<Pipeline, Error> {
        let variables = self.variables();
        let mut commands = vec![self.command()?];
        while self.tokens.first() == Some(&Token::Pipe) {
            self.next();
            match self.command()? {
                Command::Operand(_) => return syntax("what stands behind | must be a function"),
                call @ Command::Call(..) => commands.push(call),
            }
        }
        Ok(Pipeline { variables, commands })
    }

    /// `$x :=` or `$i, $x :=`
    fn variables(&mut self) -> Vec<String> {
        let (names, length) = match self.tokens {
            [Token::Variable(one), Token::Assign, ..] => (vec![one.clone()], 2),
            [Token::Variable(one), Token::Comma, Token::Variable(two), Token::Assign, ..] => {
                (vec![one.clone(), two.clone()], 4)
            }
            _ => return Vec::new(),
        };
        self.tokens = &self.tokens[length..];
        names
    }

    fn command(&mut self) -> Result<Command, Error> {
        if let Some(Token::Word(name)) = self.tokens.first() {
            let Some(function) = Function::named(name) else {
                return syntax(format!("function {name:?} not defined"));
            };
            self.next();
            let mut arguments = Vec::new();
            while let Some(operand) = self.operand()? {
                arguments.push(operand);
            }
            return Ok(Command::Call(function, arguments));
        }
        match self.operand()? {
            // The one method that docker's lists have.
            Some(Operand::Field(mut names)) if names.last().is_some_and(|last| last == "Label") => {
                let Some(key) = self.operand()? else {
                    return Ok(Command::Operand(Operand::Field(names)));
                };
                names.pop();
                names.push("Labels".to_owned());
                Ok(Command::Call(Function::Label, vec![Operand::Field(names), key]))
            }
            Some(operand) => Ok(Command::Operand(operand)),
            None => syntax("missing value for command"),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let operand = match self.tokens.first() {
            Some(Token::Literal(value)) => {
                let value = value.clone();
                self.next();
                Operand::Literal(value)
            }
            Some(Token::Field { names, .. }) => {
                let names = names.clone();
                self.next();
                Operand::Field(names)
            }
            Some(Token::Variable(name)) => {
                let name = name.clone();
                self.next();
                Operand::Variable(name, self.glued())
            }
            Some(Token::Open) => {
                self.next();
                self.depth += 1;
                if self.depth > DEPTH_LIMIT {
                    return syntax("too many parentheses in each other");
                }
                let pipeline = self.pipeline()?;
                self.depth -= 1;
                if self.next() != Some(&Token::Close) {
                    return syntax("unclosed left paren");
                }
                Operand::Nested(Box::new(pipeline), self.glued())
            }
            Some(Token::Word(name)) => match Function::named(name) {
                // A function without arguments in the place of an argument.
                Some(function) => {
                    self.next();
                    let commands = vec![Command::Call(function, Vec::new())];
                    let pipeline = Pipeline { variables: Vec::new(), commands };
                    Operand::Nested(Box::new(pipeline), Vec::new())
                }
                None => return syntax(format!("function {name:?} not defined")),
            },
            _ => return Ok(None),
        };
        Ok(Some(operand))
    }

    /// The fields that follow without a blank.
    fn glued(&mut self) -> Vec<String> {
        match self.tokens.first() {
            Some(Token::Field { names, glued: true }) => {
                let names = names.clone();
                self.next();
                names
            }
            _ => Vec::new(),
        }
    }
}
