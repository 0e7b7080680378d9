//! The log of errors and remarks, in runc's two forms: podman and containerd read it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::super::super::Error;
use super::LogFormat;

/// Opens the log, making it where there is none.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.append(true).create(true).open(path);
    opened.map_err(|source| Error::File { action: "open the log", path: path.to_owned(), source })
}

/// Appends an error or a remark to the log; `level` is runc's word for it.
pub(super) fn append(
    path: &Path,
    format: LogFormat,
    level: &str,
    message: &str,
) -> Result<(), Error> {
    let failed = |source| Error::File { action: "write the log", path: path.to_owned(), source };
    let time = jiff::Timestamp::now().to_string();
    let line = match format {
        LogFormat::Json => {
            serde_json::json!({"level": level, "msg": message, "time": time}).to_string()
        }
        LogFormat::Text => format!("time={time:?} level={level} msg={message:?}"),
    };
    writeln!(open(path)?, "{line}").map_err(failed)
}
