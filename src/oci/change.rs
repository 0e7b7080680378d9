//! Changes of an image's configuration: the instructions of a Dockerfile that `commit --change` and
//! `import --change` take, with docker's rules (moby, `daemon/builder/dockerfile/dispatchers.go`).

use serde_json::{Map, Value, json};

use super::Healthcheck;

/// A command as a Dockerfile gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `["program", "argument"]`
    Words(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CMD`
    Cmd(Line),
    /// `ENTRYPOINT`: it takes back a `CMD` that was inherited.
    Entrypoint(Line),
    /// `ENV`: names and values.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: `80/tcp` each.
    Expose(Vec<String>),
    /// `HEALTHCHECK`; `None` where there is to be none.
    Healthcheck(Option<(Line, Healthcheck)>),
    /// `LABEL`: names and values.
    Label(Vec<(String, String)>),
    /// `ONBUILD`
    OnBuild(String),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`: a user, and a group behind a colon.
    User(String),
    /// `VOLUME`: paths.
    Volume(Vec<String>),
    /// `WORKDIR`: a relative one lies in the last.
    WorkDir(String),
}

/// Makes the changes, in their order, in the `config` of an image's configuration (image-spec,
/// config.md).
pub fn change(config: &mut Map<String, Value>, changes: &[Change]) {
    let mut has_cmd = false;
    for change in changes {
        // A CMD of these changes stays; one that the image had was for its own entry point.
        if matches!(change, Change::Entrypoint(_)) && !has_cmd {
            config.remove("Cmd");
        }
        has_cmd |= matches!(change, Change::Cmd(_));
        apply(config, change);
    }
}

fn apply(config: &mut Map<String, Value>, change: &Change) {
    match change {
        Change::Cmd(line) => {
            let words = words(config, line);
            set_list(config, "Cmd", &words);
        }
        Change::Entrypoint(line) => {
            let words = words(config, line);
            set_list(config, "Entrypoint", &words);
        }
        Change::Env(pairs) => {
            for (name, value) in pairs {
                set_env(config, name, value);
            }
        }
        Change::Label(pairs) => {
            let labels = object(config, "Labels");
            labels.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
        }
        Change::Expose(ports) => add(config, "ExposedPorts", ports),
        Change::Volume(paths) => add(config, "Volumes", paths),
        Change::Healthcheck(None) => {
            config.insert("Healthcheck".into(), json!({"Test": ["NONE"]}));
        }
        Change::Healthcheck(Some((line, times))) => {
            let test = match line {
                Line::Words(words) => {
                    std::iter::once("CMD".to_owned()).chain(words.clone()).collect()
                }
                Line::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            };
            let check = Healthcheck { test, ..times.clone() };
            config.insert("Healthcheck".into(), json!(check));
        }
        Change::OnBuild(line) => list(config, "OnBuild").push(json!(line)),
        Change::StopSignal(signal) => drop(config.insert("StopSignal".into(), json!(signal))),
        Change::User(user) => drop(config.insert("User".into(), json!(user))),
        Change::WorkDir(path) => {
            let from = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
            let path = std::path::Path::new("/").join(from).join(path);
            config.insert("WorkingDir".into(), json!(path.to_string_lossy()));
        }
    }
}

/// A command with the image's shell before it, where it is for that.
fn words(config: &Map<String, Value>, line: &Line) -> Vec<String> {
    match line {
        Line::Words(words) => words.clone(),
        Line::Shell(text) => {
            let shell = config.get("Shell").and_then(Value::as_array);
            let shell: Vec<String> = shell
                .into_iter()
                .flatten()
                .filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect();
            let shell = match shell.is_empty() {
                true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
                false => shell,
            };
            shell.into_iter().chain([text.clone()]).collect()
        }
    }
}

/// Sets a variable, at the place of the one that has its name.
pub(crate) fn set_env(config: &mut Map<String, Value>, name: &str, value: &str) {
    let all = list(config, "Env");
    let text = json!(format!("{name}={value}"));
    let is_it = |known: &Value| {
        known
            .as_str()
            .and_then(|known| known.split_once('='))
            .is_some_and(|(known, _)| known == name)
    };
    match all.iter_mut().find(|known| is_it(known)) {
        Some(known) => *known = text,
        None => all.push(text),
    }
}

/// Sets a list of words; none is no list.
pub(crate) fn set_list(config: &mut Map<String, Value>, key: &str, words: &[String]) {
    if words.is_empty() {
        config.remove(key);
    } else {
        config.insert(key.into(), json!(words));
    }
}

/// Go's sets are objects of empty objects.
fn add(config: &mut Map<String, Value>, key: &str, items: &[String]) {
    object(config, key).extend(items.iter().map(|item| (item.clone(), json!({}))));
}

/// The object at `key`; Go writes null where it means an empty one.
pub(crate) fn object<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = of.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

/// The list at `key`, likewise.
pub(crate) fn list<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = of.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(config: Value, changes: &[Change]) -> Value {
        let Value::Object(mut config) = config else { panic!("an object") };
        change(&mut config, changes);
        Value::Object(config)
    }

    #[test]
    fn instructions_change_what_they_name() {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let done = changed(
            json!({"Env": ["A=1", "B=2"], "Labels": null, "WorkingDir": "/srv", "Odd": 7}),
            &[
                Change::Env(pair("A", "one")),
                Change::Env(pair("C", "3")),
                Change::Label(pair("l", "v")),
                Change::WorkDir("www".into()),
                Change::Cmd(Line::Shell("echo hi".into())),
                Change::Expose(vec!["80/tcp".into()]),
                Change::Volume(vec!["/data".into()]),
                Change::Healthcheck(None),
                Change::OnBuild("RUN true".into()),
            ],
        );
        assert_eq!(done["Env"], json!(["A=one", "B=2", "C=3"]));
        assert_eq!(done["Labels"], json!({"l": "v"}));
        assert_eq!(done["WorkingDir"], "/srv/www");
        assert_eq!(done["Cmd"], json!(["/bin/sh", "-c", "echo hi"]));
        assert_eq!(done["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(done["Volumes"], json!({"/data": {}}));
        assert_eq!(done["Healthcheck"]["Test"], json!(["NONE"]));
        assert_eq!((&done["OnBuild"], &done["Odd"]), (&json!(["RUN true"]), &json!(7)));
    }

    #[test]
    fn an_entry_point_takes_back_what_was_inherited_and_no_more() {
        let image = || json!({"Cmd": ["old"], "Entrypoint": ["e"], "Shell": ["/bin/bash", "-lc"]});
        let entry = Change::Entrypoint(Line::Shell("run".into()));
        let cmd = Change::Cmd(Line::Words(vec!["new".into()]));
        let done = changed(image(), std::slice::from_ref(&entry));
        assert_eq!(done.get("Cmd"), None);
        assert_eq!(done["Entrypoint"], json!(["/bin/bash", "-lc", "run"]));
        for changes in [[entry.clone(), cmd.clone()], [cmd, entry]] {
            assert_eq!(changed(image(), &changes)["Cmd"], json!(["new"]));
        }
        let none = changed(image(), &[Change::Entrypoint(Line::Words(Vec::new()))]);
        assert_eq!((none.get("Entrypoint"), none.get("Cmd")), (None, None));
    }
}
