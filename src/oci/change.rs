//! Instructions of a Dockerfile that change an image's configuration: `commit --change`,
//! `import --change`.

use std::str::FromStr;

use serde_json::{Map, Value, json};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CMD`: the program, or its arguments.
    Cmd(Vec<String>),
    /// `ENTRYPOINT`: the program; it takes back an inherited `CMD`.
    Entrypoint(Vec<String>),
    /// `ENV`: variables.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: ports, `80/tcp` each.
    Expose(Vec<String>),
    /// `LABEL`: labels.
    Label(Vec<(String, String)>),
    /// `ONBUILD`: an instruction for a build on top of the image.
    OnBuild(String),
    /// `STOPSIGNAL`: a signal.
    StopSignal(String),
    /// `USER`: a user, and a group behind a colon.
    User(String),
    /// `VOLUME`: directories.
    Volume(Vec<String>),
    /// `WORKDIR`: a directory; a relative one lies in the last.
    WorkDir(String),
}

/// A text that is no such instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid change {text:?}: {why}")]
pub struct InvalidChange {
    text: String,
    why: &'static str,
}

impl FromStr for Change {
    type Err = InvalidChange;

    fn from_str(text: &str) -> Result<Self, InvalidChange> {
        let invalid = |why| InvalidChange { text: text.chars().take(200).collect(), why };
        let (word, rest) = text
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| invalid("it says nothing"))?;
        let rest = rest.trim();
        let list = || list(rest).map_err(invalid);
        let pairs = || pairs(rest).map_err(invalid);
        Ok(match word.to_ascii_uppercase().as_str() {
            "CMD" => Self::Cmd(command(rest)),
            "ENTRYPOINT" => Self::Entrypoint(command(rest)),
            "ENV" => Self::Env(pairs()?),
            "EXPOSE" => Self::Expose(ports(&list()?).map_err(invalid)?),
            "LABEL" => Self::Label(pairs()?),
            "ONBUILD" => Self::OnBuild(rest.to_owned()),
            "STOPSIGNAL" => Self::StopSignal(rest.to_owned()),
            "USER" => Self::User(rest.to_owned()),
            "VOLUME" => Self::Volume(list()?),
            "WORKDIR" => Self::WorkDir(rest.to_owned()),
            _ => {
                return Err(invalid(
                    "want CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR",
                ));
            }
        })
    }
}

impl Change {
    /// Makes the change in the JSON of an image configuration (image-spec, config.md).
    pub fn apply(&self, configuration: &mut Value) {
        let config = object(&mut configuration["config"]);
        match self {
            Self::Cmd(words) => set(config, "Cmd", json!(words)),
            Self::Entrypoint(words) => {
                config.remove("Cmd");
                set(config, "Entrypoint", json!(words));
            }
            Self::Env(pairs) => {
                let env = array(config, "Env");
                for (name, value) in pairs {
                    let start = format!("{name}=");
                    env.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&start)));
                    env.push(format!("{start}{value}").into());
                }
            }
            Self::Expose(ports) => add(config, "ExposedPorts", ports),
            Self::Label(pairs) => {
                let labels = object(config.entry("Labels").or_insert(Value::Null));
                labels.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
            }
            Self::OnBuild(text) => array(config, "OnBuild").push(json!(text)),
            Self::StopSignal(signal) => set(config, "StopSignal", json!(signal)),
            Self::User(user) => set(config, "User", json!(user)),
            Self::Volume(paths) => add(config, "Volumes", paths),
            Self::WorkDir(path) => {
                let last = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
                let whole = if path.starts_with('/') { path.clone() } else { join(last, path) };
                set(config, "WorkingDir", json!(whole));
            }
        }
    }
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

fn join(directory: &str, path: &str) -> String {
    format!("{}/{path}", directory.trim_end_matches('/'))
}

/// The object that `value` is made to be: Go writes null where it means empty.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

fn array<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = config.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => items,
        _ => unreachable!("it was made one"),
    }
}

/// Go's sets are objects of empty objects.
fn add(config: &mut Map<String, Value>, key: &str, items: &[String]) {
    let set = object(config.entry(key).or_insert(Value::Null));
    set.extend(items.iter().map(|item| (item.clone(), json!({}))));
}

/// A JSON array of words, or a line for the shell.
fn command(text: &str) -> Vec<String> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into(), text.to_owned()])
}

/// A JSON array, or words.
fn list(text: &str) -> Result<Vec<String>, &'static str> {
    match serde_json::from_str(text) {
        Ok(words) => Ok(words),
        Err(_) => words(text),
    }
}

fn ports(words: &[String]) -> Result<Vec<String>, &'static str> {
    let port = |word: &String| {
        let (port, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let is_number = port.split('-').all(|end| end.parse::<u16>().is_ok());
        match is_number && ["tcp", "udp", "sctp"].contains(&protocol) {
            true => Ok(format!("{port}/{protocol}")),
            false => Err("want PORT[/tcp|/udp|/sctp]"),
        }
    };
    words.iter().map(port).collect()
}

/// `NAME=value…` each, or, as of old, one name and the rest of the line.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("want NAME=value")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=value"),
    };
    words(text)?.into_iter().map(pair).collect()
}

/// Words as a shell cuts them: quotes hold them together, a backslash takes the next letter as is.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str], mut configuration: Value) -> Value {
        for text in changes {
            text.parse::<Change>().expect(text).apply(&mut configuration);
        }
        configuration["config"].clone()
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = changed(
            &[
                "ENV A=1 B=\"two words\" C=a\\ b",
                "ENV A 3 4",
                "LABEL x=y",
                "EXPOSE 80 53/udp",
                "VOLUME [\"/data\"]",
                "WORKDIR /srv",
                "WORKDIR app",
                "USER me:us",
                "ENTRYPOINT [\"/run\"]",
                "CMD echo $A",
                "STOPSIGNAL SIGINT",
                "onbuild RUN true",
            ],
            json!({"config": {"Env": ["A=0"], "Cmd": ["sh"], "Labels": null}}),
        );
        let want = json!({
            "Env": ["B=two words", "C=a b", "A=3 4"],
            "Labels": {"x": "y"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv/app",
            "User": "me:us",
            "Entrypoint": ["/run"],
            "Cmd": ["/bin/sh", "-c", "echo $A"],
            "StopSignal": "SIGINT",
            "OnBuild": ["RUN true"],
        });
        assert_eq!(config, want);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["RUN true", "CMD", "ENV", "ENV A", "ENV =x y=z", "EXPOSE http", "LABEL a=\"x"]
        {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }
}
