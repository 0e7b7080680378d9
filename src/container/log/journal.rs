//! Lines to systemd's journal, in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
//! datagram a line.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use super::{Stream, Subject};

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    /// The fields that every line has.
    fields: Vec<u8>,
}

impl Journal {
    /// Connects; fields are named as docker and podman name them.
    pub(super) fn open(
        of: &Subject<'_>,
        tag: Option<&str>,
        attributes: &BTreeMap<String, String>,
    ) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/run/systemd/journal/socket")?;
        // A journal that does not keep up loses lines; the container does not wait for it.
        socket.set_nonblocking(true)?;
        let mut fields = Vec::new();
        let short = of.id.get(..12).unwrap_or(of.id);
        for (field, value) in [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", of.id),
            ("CONTAINER_NAME", of.name),
            ("CONTAINER_TAG", tag.unwrap_or(short)),
            ("SYSLOG_IDENTIFIER", tag.unwrap_or(short)),
            ("IMAGE_NAME", of.image),
        ] {
            put(&mut fields, field, value.as_bytes());
        }
        for (name, value) in attributes {
            let name = field_name(name);
            // One without letters, and what the line itself says, cannot be said.
            if !["", "MESSAGE", "PRIORITY"].contains(&&*name) {
                put(&mut fields, &name, value.as_bytes());
            }
        }
        Ok(Self { socket, fields })
    }

    pub(super) fn send(&self, stream: Stream, line: &[u8]) {
        let mut datagram = self.fields.clone();
        // As docker does it: stderr is an error, stdout an information (syslog(3)).
        put(&mut datagram, "PRIORITY", if stream == Stream::Stderr { b"3" } else { b"6" });
        put(&mut datagram, "MESSAGE", line.strip_suffix(b"\n").unwrap_or(line));
        let _ = self.socket.send(&datagram);
    }
}

/// Capitals, digits and underscores, and no underscore first: what the journal takes, and what docker
/// makes of a label's name.
fn field_name(name: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_uppercase(),
        false => '_',
    };
    name.chars().map(letter).collect::<String>().trim_start_matches('_').to_owned()
}

/// A field: `NAME=value`, or with the value's length before it where the value has several lines.
fn put(datagram: &mut Vec<u8>, field: &str, value: &[u8]) {
    datagram.extend_from_slice(field.as_bytes());
    if value.contains(&b'\n') {
        datagram.push(b'\n');
        let _ = datagram.write_all(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_is_counted() {
        let mut datagram = Vec::new();
        put(&mut datagram, "A", b"b");
        put(&mut datagram, "C", b"d\ne");
        assert_eq!(datagram, b"A=b\nC\n\x03\0\0\0\0\0\0\0d\ne\n");
    }

    #[test]
    fn names_of_labels_are_made_fields() {
        assert_eq!(field_name("com.example.tier-1"), "COM_EXAMPLE_TIER_1");
        assert_eq!((&*field_name("_UID"), &*field_name("..")), ("UID", ""));
    }
}
