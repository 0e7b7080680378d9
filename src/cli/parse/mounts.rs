//! `--mount`: comma-separated fields, quoted as in CSV where a value has a comma.

use std::path::PathBuf;

use super::volumes::{mode, propagation, target_path};
use super::{Invalid, boolean, size};
use crate::engine::bundle::{BindRequest, TmpfsRequest};
use crate::mount::Propagation;

/// What a `--mount` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountRequest {
    /// `type=bind`
    Bind(BindRequest),
    /// `type=tmpfs`
    Tmpfs(TmpfsRequest),
}

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    non_recursive: bool,
    propagation: Propagation,
    size: Option<u64>,
    mode: Option<u32>,
}

/// `type=bind,source=PATH,target=PATH[,readonly]` or `type=tmpfs,target=PATH[,tmpfs-size=N]`.
pub fn mount(text: &str) -> Result<MountRequest, Invalid> {
    let mut fields = Fields::default();
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        fields.set(key, value)?;
    }
    fields.build()
}

impl Fields {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), Invalid> {
        let flag = || value.map_or(Ok(true), boolean);
        let text = || {
            value
                .map(str::to_owned)
                .ok_or_else(|| Invalid::new(format!("{key:?} has no value: fields are KEY=VALUE")))
        };
        match key.to_ascii_lowercase().as_str() {
            "type" => self.kind = Some(text()?),
            "source" | "src" => self.source = Some(text()?),
            "target" | "destination" | "dst" | "dest" => self.target = Some(text()?),
            "readonly" | "ro" => self.read_only = flag()?,
            "rw" => self.read_only = !flag()?,
            "bind-nonrecursive" => self.non_recursive = flag()?,
            "bind-propagation" => self.propagation = propagation(&text()?)?,
            "consistency" => drop(text()?), // for macOS; docker ignores it on Linux too
            "tmpfs-size" => self.size = Some(size(&text()?)?),
            "tmpfs-mode" => self.mode = Some(mode(&text()?)?),
            _ => {
                return Err(Invalid::new(format!(
                    "unexpected key {key:?}: want type, source, target, readonly, \
                     bind-propagation, bind-nonrecursive, tmpfs-size or tmpfs-mode"
                )));
            }
        }
        Ok(())
    }

    fn build(self) -> Result<MountRequest, Invalid> {
        let target = self.target.ok_or_else(|| Invalid::new("target is required"))?;
        let target = target_path(&target)?;
        match self.kind.as_deref() {
            Some("bind") => {
                if self.size.is_some() || self.mode.is_some() {
                    return Err(Invalid::new("tmpfs-size and tmpfs-mode are for type=tmpfs"));
                }
                let source = self.source.ok_or_else(|| Invalid::new("source is required"))?;
                let source = PathBuf::from(source);
                if !source.is_absolute() {
                    let source = source.display();
                    return Err(Invalid::new(format!("source {source} is not an absolute path")));
                }
                Ok(MountRequest::Bind(BindRequest {
                    source,
                    target,
                    read_only: self.read_only,
                    recursive: !self.non_recursive,
                    propagation: self.propagation,
                    create_source: false,
                }))
            }
            Some("tmpfs") => match self.source {
                Some(_) => Err(Invalid::new("a tmpfs has no source")),
                None => Ok(MountRequest::Tmpfs(TmpfsRequest {
                    target,
                    size: self.size,
                    mode: self.mode.unwrap_or(0o1777),
                    read_only: self.read_only,
                    exec: false,
                    suid: false,
                    dev: false,
                })),
            },
            Some("volume") | None => Err(Invalid::new(
                "type=volume (the default) is not supported: want type=bind or type=tmpfs",
            )),
            Some(other) => {
                Err(Invalid::new(format!("type={other} is not supported: want bind or tmpfs")))
            }
        }
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

    #[test]
    fn a_bind_does_not_make_its_source() {
        let Ok(MountRequest::Bind(bind)) = mount("type=bind,src=/a,dst=/b,readonly") else {
            panic!("a bind");
        };
        assert!(bind.read_only && !bind.create_source && bind.recursive);
    }

    #[test]
    fn values_may_have_commas() {
        let Ok(MountRequest::Bind(bind)) = mount(r#"type=bind,"source=/a,b",target=/c"#) else {
            panic!("a bind");
        };
        assert_eq!(bind.source, PathBuf::from("/a,b"));
    }

    #[test]
    fn a_tmpfs_has_size_and_mode() {
        let Ok(MountRequest::Tmpfs(tmpfs)) =
            mount("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=700")
        else {
            panic!("a tmpfs");
        };
        assert_eq!((tmpfs.size, tmpfs.mode), (Some(1 << 20), 0o700));
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("target=/b", "type=volume"),
            ("type=bind,target=/b", "source is required"),
            ("type=bind,source=a,target=/b", "not an absolute"),
            ("type=bind,source=/a", "target is required"),
            ("type=tmpfs,source=/a,target=/b", "no source"),
            ("type=bind,source=/a,target=/b,colour=red", "unexpected key"),
            ("type=bind,\"source=/a", "not closed"),
            ("type=cluster,target=/b", "not supported"),
        ] {
            let error = mount(text).expect_err(text);
            assert!(error.0.contains(why), "{text}: {error}");
        }
    }
}
