//! The configuration of an image that is made of a container: its parent's, with changes.
//!
//! What the parent's says beyond what is known here stays as it was shipped.

use serde_json::{Map, Value, json};

use crate::container::{Creation, Record};
use crate::oci::{DiffId, Healthcheck, ImageConfig};

/// A command as a Dockerfile gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `["program", "argument"]`
    Words(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

/// A change of an image's configuration: an instruction of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `CMD`
    Cmd(Line),
    /// `ENTRYPOINT`
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
    Onbuild(String),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`: paths.
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

/// What is new in an image.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) created: &'a str,
    pub(super) author: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    /// Its uppermost layer; `None` where nothing was changed.
    pub(super) layer: Option<&'a DiffId>,
    pub(super) instructions: &'a [Instruction],
}

/// The bytes of the new configuration. `parent` is the image's own, an object.
pub(super) fn compose(
    parent: &Value,
    record: &Record,
    creation: Option<&Creation>,
    new: &New,
) -> serde_json::Result<Vec<u8>> {
    let known = ImageConfig::parse(&serde_json::to_vec(parent)?).unwrap_or_default();
    let mut image = parent.as_object().cloned().unwrap_or_default();
    // Of one container, docker's old form.
    image.remove("container");
    image.remove("container_config");
    image.insert("created".into(), json!(new.created));
    match new.author {
        Some(author) => drop(image.insert("author".into(), json!(author))),
        None => drop(image.remove("author")),
    }
    let config = object(&mut image, "config");
    of_container(config, &known, record, creation);
    for instruction in new.instructions {
        apply(config, instruction);
    }
    let mut step = Map::new();
    step.insert("created".into(), json!(new.created));
    step.insert("created_by".into(), json!(record.config.process.args_text().join(" ")));
    if let Some(author) = new.author {
        step.insert("author".into(), json!(author));
    }
    if let Some(message) = new.message {
        step.insert("comment".into(), json!(message));
    }
    match new.layer {
        None => drop(step.insert("empty_layer".into(), json!(true))),
        Some(layer) => {
            let rootfs = object(&mut image, "rootfs");
            rootfs.entry("type").or_insert(json!("layers"));
            list(rootfs, "diff_ids").push(json!(layer));
        }
    }
    list(&mut image, "history").push(Value::Object(step));
    serde_json::to_vec(&image)
}

/// What the flags of `run` said, as docker has it.
fn of_container(
    config: &mut Map<String, Value>,
    image: &ImageConfig,
    record: &Record,
    creation: Option<&Creation>,
) {
    let texts = |words: &[std::ffi::OsString]| -> Vec<String> {
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    let args = record.config.process.args_text();
    let (entrypoint, cmd) = match creation.map(|creation| &creation.container) {
        Some(request) => {
            let entrypoint = request.entrypoint.as_deref().map(texts);
            let cmd = match (request.command.is_empty(), &entrypoint) {
                (false, _) => texts(&request.command),
                (true, Some(_)) => Vec::new(),
                (true, None) => image.cmd.clone(),
            };
            (entrypoint.unwrap_or_else(|| image.entrypoint.clone()), cmd)
        }
        // What it was started from was not kept: its command line tells.
        None => match args.strip_prefix(&image.entrypoint[..]) {
            Some(cmd) => (image.entrypoint.clone(), cmd.to_vec()),
            None => (Vec::new(), args),
        },
    };
    set_list(config, "Entrypoint", &entrypoint);
    set_list(config, "Cmd", &cmd);
    let mut user = &image.user;
    let mut workdir = None;
    if let Some(Creation { container, .. }) = creation {
        for (name, value) in &container.env {
            set_env(config, &name.to_string_lossy(), &value.to_string_lossy());
        }
        user = container.user.as_ref().unwrap_or(user);
        workdir = container.workdir.as_ref().map(|path| path.to_string_lossy().into_owned());
        if let Some(signal) = container.stop_signal {
            config.insert("StopSignal".into(), json!(signal.to_string()));
        }
    } else if record.config.user != image.user && record.config.user != "0" {
        user = &record.config.user;
    }
    if !user.is_empty() {
        config.insert("User".into(), json!(user));
    }
    if let Some(workdir) = workdir {
        config.insert("WorkingDir".into(), json!(workdir));
    }
    if !record.config.labels.is_empty() {
        config.insert("Labels".into(), json!(record.config.labels));
    }
    match &record.config.health {
        Some(health) => drop(config.insert("Healthcheck".into(), json!(health))),
        None => drop(config.remove("Healthcheck")),
    }
}

fn apply(config: &mut Map<String, Value>, instruction: &Instruction) {
    match instruction {
        Instruction::Cmd(line) => {
            let words = words(config, line);
            set_list(config, "Cmd", &words);
        }
        Instruction::Entrypoint(line) => {
            let words = words(config, line);
            set_list(config, "Entrypoint", &words);
        }
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                set_env(config, name, value);
            }
        }
        Instruction::Label(pairs) => {
            let labels = object(config, "Labels");
            labels.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
        }
        Instruction::Expose(ports) => {
            let exposed = object(config, "ExposedPorts");
            exposed.extend(ports.iter().map(|port| (port.clone(), json!({}))));
        }
        Instruction::Volume(paths) => {
            let volumes = object(config, "Volumes");
            volumes.extend(paths.iter().map(|path| (path.clone(), json!({}))));
        }
        Instruction::Healthcheck(None) => {
            config.insert("Healthcheck".into(), json!({"Test": ["NONE"]}));
        }
        Instruction::Healthcheck(Some((line, times))) => {
            let test = match line {
                Line::Words(words) => {
                    std::iter::once("CMD".to_owned()).chain(words.clone()).collect()
                }
                Line::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            };
            let check = Healthcheck { test, ..times.clone() };
            config.insert("Healthcheck".into(), json!(check));
        }
        Instruction::Onbuild(line) => list(config, "OnBuild").push(json!(line)),
        Instruction::StopSignal(signal) => drop(config.insert("StopSignal".into(), json!(signal))),
        Instruction::User(user) => drop(config.insert("User".into(), json!(user))),
        Instruction::Workdir(path) => {
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

fn set_env(config: &mut Map<String, Value>, name: &str, value: &str) {
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

fn set_list(config: &mut Map<String, Value>, key: &str, words: &[String]) {
    if words.is_empty() {
        config.remove(key);
    } else {
        config.insert(key.into(), json!(words));
    }
}

/// The object at `key`; Go writes null where it means an empty one.
fn object<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = of.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

fn list<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
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

    fn changed(config: Value, instructions: &[Instruction]) -> Value {
        let Value::Object(mut config) = config else { panic!("an object") };
        for instruction in instructions {
            apply(&mut config, instruction);
        }
        Value::Object(config)
    }

    #[test]
    fn instructions_change_what_they_name() {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let done = changed(
            json!({"Env": ["A=1", "B=2"], "Labels": null, "WorkingDir": "/srv", "Odd": 7}),
            &[
                Instruction::Env(pair("A", "one")),
                Instruction::Env(pair("C", "3")),
                Instruction::Label(pair("l", "v")),
                Instruction::Workdir("www".into()),
                Instruction::Cmd(Line::Shell("echo hi".into())),
                Instruction::Entrypoint(Line::Words(Vec::new())),
                Instruction::Expose(vec!["80/tcp".into()]),
                Instruction::Healthcheck(None),
                Instruction::Onbuild("RUN true".into()),
            ],
        );
        assert_eq!(done["Env"], json!(["A=one", "B=2", "C=3"]));
        assert_eq!(done["Labels"], json!({"l": "v"}));
        assert_eq!(done["WorkingDir"], "/srv/www");
        assert_eq!(done["Cmd"], json!(["/bin/sh", "-c", "echo hi"]));
        assert_eq!(done["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(done["Healthcheck"]["Test"], json!(["NONE"]));
        assert_eq!((&done["OnBuild"], &done["Odd"]), (&json!(["RUN true"]), &json!(7)));
    }
}
