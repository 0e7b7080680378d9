//! `--mount`: comma-separated fields, quoted as in CSV where a value has a comma.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::volumes::{host_path, mode, number, propagation, strict, target_path, volume_name};
use super::{Invalid, boolean, size};
use crate::engine::bundle::{
    BindRequest, FileSystemRequest, ImageRequest, Strict, TmpfsRequest, VolumeRequest,
};
use crate::mount::Propagation;

/// What a `--mount` or `--volume` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountRequest {
    /// `type=bind`
    Bind(BindRequest),
    /// `type=volume`
    Volume(VolumeRequest),
    /// `type=image`
    Image(ImageRequest),
    /// `type=tmpfs`
    Tmpfs(TmpfsRequest),
    /// `type=ramfs`, `type=devpts`
    FileSystem(FileSystemRequest),
}

/// The types, and the keys that are for one of them or a few.
const TYPES: [&str; 6] = ["bind", "volume", "tmpfs", "image", "ramfs", "devpts"];
const OWN_KEYS: [(&str, &[&str]); 19] = [
    ("bind-propagation", &["bind"]),
    ("bind-nonrecursive", &["bind"]),
    ("bind-recursive", &["bind"]),
    ("bind-create-src", &["bind"]),
    ("relabel", &["bind", "volume"]),
    ("chown", &["bind", "volume"]),
    ("idmap", &["bind"]),
    ("volume-nocopy", &["volume"]),
    ("volume-subpath", &["volume"]),
    ("volume-label", &["volume"]),
    ("volume-driver", &["volume"]),
    ("volume-opt", &["volume"]),
    ("image-subpath", &["image"]),
    ("tmpfs-size", &["tmpfs", "ramfs"]),
    ("tmpfs-mode", &["tmpfs", "ramfs"]),
    ("tmpcopyup", &["tmpfs"]),
    ("uid", &["devpts"]),
    ("gid", &["devpts"]),
    ("max", &["devpts"]),
];

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a field of its own
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    strict: Strict,
    /// Which of exec, suid and dev were asked for.
    lifted: Vec<String>,
    /// The keys of one type alone that were given.
    own: Vec<&'static str>,
    non_recursive: bool,
    recursive: Option<String>,
    propagation: Option<String>,
    create_source: bool,
    chown: bool,
    id_mapped: bool,
    no_copy: bool,
    subpath: Option<PathBuf>,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    size: Option<u64>,
    mode: Option<u32>,
    copy_up: bool,
    numbers: Vec<String>,
}

/// `type=bind,source=PATH,target=PATH[,readonly]` and its kin; `type=volume` where none is given. A
/// relative host path counts from `here`.
pub fn mount(text: &str, here: &Path) -> Result<MountRequest, Invalid> {
    let mut fields = Fields::default();
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        fields.set(key, value)?;
    }
    fields.build(here)
}

impl Fields {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), Invalid> {
        let flag = || value.map_or(Ok(true), boolean);
        let text = || {
            value
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| Invalid::new(format!("{key:?} has no value: fields are KEY=VALUE")))
        };
        let lower = key.to_ascii_lowercase();
        let name = match lower.as_str() {
            "u" => "chown",
            "z" => "relabel",
            "subpath" if self.kind.as_deref() == Some("image") => "image-subpath",
            "subpath" => "volume-subpath",
            other => other,
        };
        if let Some((name, _)) = OWN_KEYS.iter().find(|(own, _)| *own == name) {
            self.own.push(name);
        }
        match name {
            "type" => self.kind = Some(text()?),
            "source" | "src" => self.source = Some(text()?),
            "target" | "destination" | "dst" | "dest" => self.target = Some(text()?),
            "readonly" | "ro" => self.read_only = Some(flag()?),
            "rw" | "readwrite" => self.read_only = Some(!flag()?),
            "bind-nonrecursive" => self.non_recursive = flag()?,
            "bind-recursive" => self.recursive = Some(text()?),
            "bind-propagation" => self.propagation = Some(text()?),
            "bind-create-src" => self.create_source = flag()?,
            "relabel" | "consistency" => {} // as for --volume
            "chown" => self.chown = flag()?,
            "idmap" => match value {
                None => self.id_mapped = true,
                Some(value) => {
                    return Err(Invalid::new(format!(
                        "idmap={value}: the kernel keeps idmapped mounts of one's own choice from \
                         users"
                    )));
                }
            },
            "volume-nocopy" => self.no_copy = flag()?,
            "volume-subpath" | "image-subpath" => self.subpath = Some(subpath(&text()?)?),
            "volume-label" => drop(self.labels.insert_pair(&text()?)),
            "volume-opt" => drop(self.options.insert_pair(&text()?)),
            "volume-driver" => match text()?.as_str() {
                "local" => {}
                other => {
                    let why = format!("volume-driver={other}: the only driver is local");
                    return Err(Invalid::new(why));
                }
            },
            "tmpfs-size" => self.size = Some(size(&text()?)?),
            // devpts has one too.
            "tmpfs-mode" | "mode" => self.mode = Some(mode(&text()?)?),
            "tmpcopyup" => self.copy_up = flag()?,
            "uid" | "gid" | "max" => {
                self.numbers.push(format!("{name}={}", number(name, &text()?)?));
            }
            _ if value.is_none() && strict(&mut self.strict, name) => {
                self.lifted.extend((!name.starts_with("no")).then(|| name.to_owned()));
            }
            _ => {
                return Err(Invalid::new(format!(
                    "unexpected key {key:?}: want type, source, target, readonly, {}, nosuid, \
                     nodev or noexec",
                    OWN_KEYS.map(|(name, _)| name).join(", ")
                )));
            }
        }
        Ok(())
    }

    fn build(self, here: &Path) -> Result<MountRequest, Invalid> {
        let kind = self.kind.clone().unwrap_or_else(|| "volume".to_owned());
        if !TYPES.contains(&kind.as_str()) {
            let types = TYPES.join(", ");
            return Err(Invalid::new(format!("type={kind} is not supported: there are {types}")));
        }
        for (name, types) in OWN_KEYS.iter().filter(|(name, _)| self.own.contains(name)) {
            if !types.contains(&kind.as_str()) {
                let types = types.join(" and type=");
                return Err(Invalid::new(format!("{name} is for type={types}, not type={kind}")));
            }
        }
        let target = self.target.as_ref().ok_or_else(|| Invalid::new("target is required"))?;
        let target = target_path(target)?;
        match kind.as_str() {
            "bind" => self.bind(target, here).map(MountRequest::Bind),
            "volume" => self.volume(target).map(MountRequest::Volume),
            "image" => self.image(target).map(MountRequest::Image),
            _ if self.source.is_some() => Err(Invalid::new(format!("a {kind} has no source"))),
            "tmpfs" => Ok(MountRequest::Tmpfs(self.tmpfs(target))),
            _ => Ok(MountRequest::FileSystem(self.file_system(kind, target))),
        }
    }

    fn bind(self, target: PathBuf, here: &Path) -> Result<BindRequest, Invalid> {
        let source = self.source.ok_or_else(|| Invalid::new("source is required"))?;
        if !source.starts_with(['/', '.']) {
            return Err(Invalid::new(format!("source {source} is not an absolute path")));
        }
        let read_only = self.read_only.unwrap_or(false);
        let propagation = self.propagation.as_deref().map(propagation).transpose()?;
        let (recursive, writable_below) = match self.recursive.as_deref() {
            None => (!self.non_recursive, false),
            Some(_) if self.non_recursive => {
                return Err(Invalid::new(
                    "bind-recursive and bind-nonrecursive exclude each other",
                ));
            }
            Some("enabled" | "true" | "1") => (true, false),
            Some("disabled" | "false" | "0") => (false, false),
            Some(word @ ("writable" | "readonly")) if !read_only => {
                return Err(Invalid::new(format!("bind-recursive={word} wants readonly too")));
            }
            Some("writable") => (true, true),
            Some("readonly") if propagation == Some(Propagation::Private) => (true, false),
            Some("readonly") => {
                return Err(Invalid::new(
                    "bind-recursive=readonly wants bind-propagation=rprivate too",
                ));
            }
            Some(other) => {
                return Err(Invalid::new(format!(
                    "invalid bind-recursive {other:?}: want enabled, disabled, writable or readonly"
                )));
            }
        };
        Ok(BindRequest {
            source: host_path(&source, here),
            target,
            read_only,
            recursive,
            propagation: propagation.unwrap_or_default(),
            create_source: self.create_source,
            strict: self.strict,
            writable_below,
            overlay: false,
            chown: self.chown,
            id_mapped: self.id_mapped,
            mode: self.propagation.unwrap_or_default(),
        })
    }

    fn volume(self, target: PathBuf) -> Result<VolumeRequest, Invalid> {
        Ok(VolumeRequest {
            name: self.source.as_deref().map(volume_name).transpose()?,
            target,
            read_only: self.read_only.unwrap_or(false),
            strict: self.strict,
            no_copy: self.no_copy,
            subpath: self.subpath,
            chown: self.chown,
            labels: self.labels,
            options: self.options,
            anonymous: false,
            mode: String::new(),
        })
    }

    fn image(self, target: PathBuf) -> Result<ImageRequest, Invalid> {
        let image = self.source.ok_or_else(|| Invalid::new("source is required"))?;
        let writable = self.read_only == Some(false);
        Ok(ImageRequest { image, target, writable, subpath: self.subpath })
    }

    fn tmpfs(self, target: PathBuf) -> TmpfsRequest {
        let lifts = |word: &str| self.lifted.iter().any(|lifted| lifted == word);
        let (exec, suid, dev) = (lifts("exec"), lifts("suid"), lifts("dev"));
        TmpfsRequest {
            target,
            size: self.size,
            mode: self.mode.unwrap_or(0o1777),
            read_only: self.read_only.unwrap_or(false),
            exec,
            suid,
            dev,
            options: Vec::new(),
            copy_up: self.copy_up,
            typed: String::new(),
        }
    }

    fn file_system(self, name: String, target: PathBuf) -> FileSystemRequest {
        let mut options = self.numbers;
        options.extend(self.size.filter(|_| name == "ramfs").map(|size| format!("size={size}")));
        options.extend(self.mode.map(|mode| format!("mode={mode:o}")));
        if name == "devpts" {
            options.push("ptmxmode=0666".to_owned());
        }
        let read_only = self.read_only.unwrap_or(false);
        FileSystemRequest { name, target, options, read_only }
    }
}

trait InsertPair {
    /// Adds a `NAME=VALUE`, or a name with an empty value.
    fn insert_pair(&mut self, text: &str) -> Option<String>;
}

impl InsertPair for BTreeMap<String, String> {
    fn insert_pair(&mut self, text: &str) -> Option<String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        self.insert(name.to_owned(), value.to_owned())
    }
}

/// A path that stays below whatever it is looked up in.
fn subpath(text: &str) -> Result<PathBuf, Invalid> {
    let path = PathBuf::from(text);
    match path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        true => Ok(path),
        false => Err(Invalid::new(format!(
            "subpath {text:?} must be a relative path within the volume or image, without .."
        ))),
    }
}

/// One line of CSV (RFC 4180): a field may stand in quotes, with quotes doubled in it.
fn csv(text: &str) -> Result<Vec<String>, Invalid> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(Invalid::new(format!("{after:?} follows a quoted field"))),
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, &str), Invalid> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or_else(|| Invalid::new("a quote is not closed"))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MountRequest, Invalid> {
        mount(text, Path::new("/here"))
    }

    #[test]
    fn a_bind_does_not_make_its_source() {
        let Ok(MountRequest::Bind(bind)) = parse("type=bind,src=/a,dst=/b,readonly") else {
            panic!("a bind");
        };
        assert!(bind.read_only && !bind.create_source && bind.recursive);
        let words = "type=bind,src=./a,dst=/b,readonly,bind-recursive=writable,U,nosuid";
        let Ok(MountRequest::Bind(bind)) = parse(words) else { panic!("a bind") };
        assert!(bind.writable_below && bind.chown && bind.strict.no_suid);
        assert_eq!(bind.source, PathBuf::from("/here/./a"));
    }

    #[test]
    fn values_may_have_commas() {
        let Ok(MountRequest::Bind(bind)) = parse(r#"type=bind,"source=/a,b",target=/c"#) else {
            panic!("a bind");
        };
        assert_eq!(bind.source, PathBuf::from("/a,b"));
    }

    #[test]
    fn a_volume_is_what_is_meant_where_no_type_is_given() {
        let words = "src=data,dst=/d,volume-nocopy,volume-subpath=a/b,volume-label=x=y,\
                     volume-opt=type=none";
        let Ok(MountRequest::Volume(volume)) = parse(words) else { panic!("a volume") };
        assert_eq!((volume.name.as_deref(), volume.subpath), (Some("data"), Some("a/b".into())));
        assert_eq!((volume.labels["x"].as_str(), volume.options["type"].as_str()), ("y", "none"));
        assert!(volume.no_copy && !volume.read_only);
    }

    #[test]
    fn an_image_is_read_only_unless_it_is_not() {
        let writable = |text: &str| match parse(text) {
            Ok(MountRequest::Image(image)) => image.writable,
            other => panic!("{other:?}"),
        };
        assert!(!writable("type=image,source=debian:12,target=/x"));
        assert!(writable("type=image,source=debian:12,target=/x,rw"));
        assert!(writable("type=image,source=debian:12,target=/x,readonly=false"));
    }

    #[test]
    fn a_tmpfs_has_size_and_mode() {
        let Ok(MountRequest::Tmpfs(tmpfs)) =
            parse("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=700,exec")
        else {
            panic!("a tmpfs");
        };
        assert_eq!((tmpfs.size, tmpfs.mode, tmpfs.exec), (Some(1 << 20), 0o700, true));
    }

    #[test]
    fn other_file_systems_have_options_of_their_own() {
        let Ok(MountRequest::FileSystem(terminals)) =
            parse("type=devpts,target=/pts,gid=5,mode=620,max=9")
        else {
            panic!("a devpts");
        };
        assert_eq!(terminals.options, ["gid=5", "max=9", "mode=620", "ptmxmode=0666"]);
        assert!(matches!(parse("type=ramfs,dst=/r"), Ok(MountRequest::FileSystem(_))));
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("type=bind,target=/b", "source is required"),
            ("type=bind,source=a,target=/b", "not an absolute"),
            ("type=bind,source=/a", "target is required"),
            ("type=tmpfs,source=/a,target=/b", "no source"),
            ("type=bind,source=/a,target=/b,colour=red", "unexpected key"),
            ("type=bind,source=/a,target=/b,volume-nocopy", "volume-nocopy is for type=volume"),
            ("type=bind,source=/a,target=/b,bind-recursive=writable", "readonly too"),
            ("type=bind,source=/a,target=/b,idmap=uids=1-1-1", "idmapped"),
            ("type=volume,source=/a,target=/b", "use an absolute path"),
            ("type=volume,target=/b,volume-subpath=../x", "without .."),
            ("type=volume,target=/b,volume-subpath=/x", "relative"),
            ("type=volume,target=/b,volume-driver=nfs", "only driver"),
            ("type=bind,\"source=/a", "not closed"),
            ("type=cluster,target=/b", "not supported"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.0.contains(why), "{text}: {error}");
        }
    }
}
