//! `--env`, `--env-file`, `--label`, `--label-file`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Invalid;

/// A variable of the container; none when it was to be the host's and the host has none.
type Variable = Option<(OsString, OsString)>;

/// `NAME=value`, or `NAME` for the host's value.
pub fn variable(
    text: &OsStr,
    host: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Variable, Invalid> {
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    if name.is_empty() {
        return Err(Invalid::new(format!("invalid environment variable: {}", text.display())));
    }
    let name = OsStr::from_bytes(name);
    let value = value.map(|value| OsString::from_vec(value.to_vec())).or_else(|| host(name));
    Ok(value.map(|value| (name.to_owned(), value)))
}

/// The lines of a `--env-file`: no quotes, `#` starts a comment line, a name alone takes the
/// host's value (docker's rules).
pub fn env_file(
    text: &[u8],
    host: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Vec<(OsString, OsString)>, Invalid> {
    let mut found = Vec::new();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.iter().any(u8::is_ascii_whitespace) {
            let name = String::from_utf8_lossy(name);
            return Err(Invalid::new(format!(
                "line {}: variable {name:?} contains whitespaces",
                number + 1
            )));
        }
        let read = variable(OsStr::from_bytes(line), &host);
        found.extend(read.map_err(|error| Invalid::new(format!("line {}: {error}", number + 1)))?);
    }
    Ok(found)
}

/// `NAME=value`, `NAME` for an empty value: a label or annotation.
pub fn pair(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.trim().is_empty() {
        return Err(Invalid::new(format!("{text:?} has no name before the =")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The lines of a `--label-file`.
pub fn label_file(text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let lines = text.lines().map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &OsStr) -> Option<OsString> {
        (name == "HOME").then(|| "/home/me".into())
    }

    #[test]
    fn a_name_alone_takes_the_hosts_value() {
        assert_eq!(variable("HOME".as_ref(), host), Ok(Some(("HOME".into(), "/home/me".into()))));
        assert_eq!(variable("NOPE".as_ref(), host), Ok(None));
        assert_eq!(variable("A=b=c".as_ref(), host), Ok(Some(("A".into(), "b=c".into()))));
        assert_eq!(variable("A=".as_ref(), host), Ok(Some(("A".into(), OsString::new()))));
        assert!(variable("=x".as_ref(), host).is_err());
    }

    #[test]
    fn files_have_no_quoting_rules() {
        let text = b"# note\n\nA=\"quoted\"\n  B=two words\r\nHOME\nNOPE\n";
        let pairs = env_file(text, host).expect("valid");
        let shown: Vec<_> =
            pairs.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect();
        assert_eq!(shown, ["A=\"quoted\"", "B=two words", "HOME=/home/me"]);
        assert!(env_file(b"A B=c\n", host).is_err());
    }

    #[test]
    fn labels_may_be_empty() {
        assert_eq!(pair("a"), Ok(("a".into(), String::new())));
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("=b").is_err());
    }
}
