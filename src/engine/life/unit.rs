//! What another program needs to know to start a container: systemd's unit.

use std::path::{Path, PathBuf};

use crate::container::Record;
use crate::engine::{Engine, Error};

impl Engine {
    /// The text of a unit for a user's systemd (systemd.service(5)) that starts a container with the
    /// machine, by `program`.
    pub fn systemd_unit(&self, query: &str, program: &Path) -> Result<(Record, String), Error> {
        let record = self.container_named(query)?;
        // It must be there to be started again.
        self.containers.creation(&record)?;
        let directory = self.containers.directory(&record);
        let root = self.options.root.as_path();
        let text = unit(&record, program, root, &directory.join(super::monitor::PID_FILE));
        Ok((record, text))
    }
}

fn unit(record: &Record, program: &Path, root: &Path, pid_file: &Path) -> String {
    let (name, id) = (&record.name, &record.id);
    let grace = record.config.grace().map(|grace| grace.as_secs().saturating_add(10));
    let timeout = grace.map_or_else(|| "infinity".to_owned(), |seconds| seconds.to_string());
    let command = format!("{} --root={}", quoted(program), quoted(root));
    format!(
        "# {name}.service: a container of coracle {version}, for the user's systemd.\n\
         #   ~/.config/systemd/user/{name}.service\n\
         #   systemctl --user enable --now {name}.service\n\
         #   loginctl enable-linger              (at boot, and not at the first login)\n\
         [Unit]\n\
         Description=coracle container {name}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         # The monitor stays. It keeps the container's own restart policy ({policy}); systemd starts\n\
         # it again only if the monitor itself is killed.\n\
         Type=forking\n\
         PIDFile={pid_file}\n\
         ExecStart={command} start {id}\n\
         ExecStop={command} stop --ignore {id}\n\
         Restart=on-failure\n\
         TimeoutStopSec={timeout}\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        version = env!("CARGO_PKG_VERSION"),
        policy = record.config.restart,
        pid_file = specifiers(&pid_file.display().to_string()),
    )
}

/// A word of a command line of systemd's (systemd.syntax(7), "Quoting").
fn quoted(path: &Path) -> String {
    let text = specifiers(&path.display().to_string()).replace('$', "$$");
    let plain = |c: char| c.is_alphanumeric() || "/._-%$+@:,=".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A per cent sign begins a specifier (systemd.unit(5)).
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// `monitor.pid`, for those who know processes by files.
pub(super) fn write_pid(directory: &Path, name: &str) -> Result<(), Error> {
    let path: PathBuf = directory.join(name);
    std::fs::write(&path, format!("{}\n", std::process::id())).map_err(|source| Error::Io {
        action: "write",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_systemd_would_read_more_into_them() {
        assert_eq!(quoted(Path::new("/usr/bin/coracle")), "/usr/bin/coracle");
        assert_eq!(quoted(Path::new("/a b/100%/$x")), "\"/a b/100%%/$$x\"");
    }
}
