//! The configuration of an image that is made of a container: its parent's, with changes.
//!
//! What the parent's says beyond what is known here stays as it was shipped.

use serde_json::{Map, Value, json};

use crate::container::{Creation, Record};
use crate::oci::{Change, DiffId, ImageConfig, change, list, object, set_env, set_list};

/// What is new in an image.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) created: &'a str,
    pub(super) author: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    /// Its uppermost layer; `None` where nothing was changed.
    pub(super) layer: Option<&'a DiffId>,
    pub(super) changes: &'a [Change],
    /// Whether what is mounted in the container is a volume of the image.
    pub(super) volumes: bool,
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
    if new.volumes && !record.config.mounts.is_empty() {
        let volumes = object(config, "Volumes");
        for mount in &record.config.mounts {
            volumes.entry(mount.target.clone()).or_insert(json!({}));
        }
    }
    change(config, new.changes);
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
