//! One call to the user's systemd: a scope for this process, with its controllers delegated.
//!
//! ```text
//! socket ─► AUTH EXTERNAL ─► Hello ─► StartTransientUnit(coracle-….scope, PIDs, Delegate) ─► job
//!                                     then: /proc/self/cgroup until the job has moved us
//! ```
//!
//! The D-Bus of it is written here (D-Bus specification, "Message Protocol"): four messages do not
//! need a library with an executor. As a scope of its own the process breaks no rule of systemd's:
//! only systemd writes above a delegated unit, only the unit's owner below.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any answer to these calls.
const ANSWER_LIMIT: u32 = 1 << 20;

/// Moves this process to a new scope of the user's systemd, in a slice or in the usual one.
pub(super) fn ask_for_scope(bus: &Path, name: &str, slice: Option<&str>) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Systemd(error.to_string());
    let before = own_groups();
    let unit = format!("{name}.scope");
    let stream = UnixStream::connect(bus).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut bus = BufReader::new(stream);
    authenticate(&mut bus, rustix::process::geteuid().as_raw())?;
    call(&mut bus, &hello(1), 1)?;
    call(&mut bus, &start_scope(2, &unit, slice, std::process::id()), 2)?;
    // The answer names a job; that it is done shows in where this process is.
    let deadline = Instant::now() + PATIENCE;
    while own_groups() == before {
        if Instant::now() > deadline {
            return Err(Error::Systemd(format!("the job of {unit} did not end")));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn own_groups() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// The SASL of D-Bus: the socket's credentials say who we are, the text only repeats it.
fn authenticate<S: Read + Write>(bus: &mut BufReader<S>, user: u32) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Systemd(error.to_string());
    // In hexadecimal, digit by digit: 1 is 31.
    let id: String = user.to_string().chars().flat_map(|digit| ['3', digit]).collect();
    bus.get_mut().write_all(format!("\0AUTH EXTERNAL {id}\r\n").as_bytes()).map_err(failed)?;
    let mut line = String::new();
    bus.by_ref().take(4096).read_line(&mut line).map_err(failed)?;
    if !line.starts_with("OK ") {
        return Err(Error::Systemd(format!("the bus refused the login: {}", line.trim())));
    }
    bus.get_mut().write_all(b"BEGIN\r\n").map_err(failed)
}

/// Sends a call and waits for its answer.
fn call<S: Read + Write>(bus: &mut BufReader<S>, message: &[u8], serial: u32) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Systemd(error.to_string());
    bus.get_mut().write_all(message).map_err(failed)?;
    loop {
        let answer = Answer::read(bus).map_err(failed)?;
        match (answer.reply_to == serial, answer.kind) {
            (true, METHOD_RETURN) => return Ok(()),
            (true, ERROR) => return Err(Error::Systemd(answer.text)),
            _ => {} // signals
        }
    }
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

fn hello(serial: u32) -> Vec<u8> {
    let bus = "org.freedesktop.DBus";
    message(serial, bus, "/org/freedesktop/DBus", bus, "Hello", "", &Marshal::default())
}

/// `StartTransientUnit(in s name, in s mode, in a(sv) properties, in a(sa(sv)) aux)`
fn start_scope(serial: u32, unit: &str, slice: Option<&str>, pid: u32) -> Vec<u8> {
    let mut body = Marshal::default();
    body.string(unit);
    body.string("fail");
    body.array(8, |body| {
        body.property("Description", "s", |body| body.string("coracle container"));
        body.property("PIDs", "au", |body| body.array(4, |body| body.u32(pid)));
        body.property("Delegate", "b", |body| body.u32(1));
        if let Some(slice) = slice {
            body.property("Slice", "s", |body| body.string(slice));
        }
        body.property("CollectMode", "s", |body| body.string("inactive-or-failed"));
    });
    body.array(8, |_| {});
    message(
        serial,
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        &body,
    )
}

fn message(
    serial: u32,
    destination: &str,
    path: &str,
    interface: &str,
    member: &str,
    signature: &str,
    body: &Marshal,
) -> Vec<u8> {
    let mut header = Marshal(vec![b'l', METHOD_CALL, 0, 1]);
    header.u32(u32::try_from(body.0.len()).unwrap_or(u32::MAX));
    header.u32(serial);
    header.array(8, |fields| {
        fields.field(1, "o", path);
        fields.field(2, "s", interface);
        fields.field(3, "s", member);
        fields.field(6, "s", destination);
        if !signature.is_empty() {
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    header.align(8);
    header.0.extend_from_slice(&body.0);
    header.0
}

/// D-Bus's wire format, little-endian; alignment counts from the message's start, which is where
/// header and body both begin.
#[derive(Default)]
struct Marshal(Vec<u8>);

impl Marshal {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// The length counts the elements, not what aligns the first.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn field(&mut self, code: u8, signature: &str, text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        self.string(text);
    }

    fn property(&mut self, name: &str, signature: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.string(name);
        self.signature(signature);
        value(self);
    }
}

/// What came back, as far as it is of interest.
struct Answer {
    kind: u8,
    reply_to: u32,
    /// An error's name and message.
    text: String,
}

impl Answer {
    fn read(bus: &mut impl Read) -> std::io::Result<Self> {
        let mut head = [0; 16];
        bus.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            if head[0] == b'B' { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (body, fields) = (number(4), number(12));
        if head[0] != b'l' || body > ANSWER_LIMIT || fields > ANSWER_LIMIT {
            return Err(std::io::Error::other("the bus speaks another D-Bus"));
        }
        let mut header = vec![0; (fields as usize).next_multiple_of(8)];
        bus.read_exact(&mut header)?;
        let mut content = vec![0; body as usize];
        bus.read_exact(&mut content)?;
        let mut answer = Self { kind: head[1], reply_to: 0, text: String::new() };
        header.truncate(fields as usize);
        answer.read_fields(&header);
        if let Some(message) = text_at(&content, 0).filter(|_| answer.kind == ERROR) {
            answer.text = format!("{}: {message}", answer.text);
        }
        Ok(answer)
    }

    /// Fields are of the types u, s, o and g; each begins on eight bytes.
    fn read_fields(&mut self, fields: &[u8]) -> Option<()> {
        let mut at = 0;
        while at < fields.len() {
            let code = *fields.get(at)?;
            let kind = *fields.get(at + 2)?; // behind the signature's length, which is 1
            let value = at + 4;
            at = match kind {
                b'u' => {
                    let bytes = fields.get(value..value + 4)?.try_into().ok()?;
                    if code == 5 {
                        self.reply_to = u32::from_le_bytes(bytes);
                    }
                    value + 4
                }
                b'g' => value + usize::from(*fields.get(value)?) + 2,
                _ => {
                    let text = text_at(fields, value)?;
                    if code == 4 {
                        text.clone_into(&mut self.text);
                    }
                    value + 4 + text.len() + 1
                }
            };
            at = at.next_multiple_of(8);
        }
        Some(())
    }
}

fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    let length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    std::str::from_utf8(bytes.get(at + 4..at.checked_add(4)?.checked_add(length)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a bus says, and what it was told.
    struct Fake {
        says: std::io::Cursor<Vec<u8>>,
        told: Vec<u8>,
    }

    impl Read for Fake {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.says.read(into)
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.told.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn fake(says: Vec<u8>) -> BufReader<Fake> {
        BufReader::new(Fake { says: std::io::Cursor::new(says), told: Vec::new() })
    }

    fn reply(kind: u8, to: u32, name: &str, body: &str) -> Vec<u8> {
        let mut content = Marshal::default();
        content.string(body);
        let mut header = Marshal(vec![b'l', kind, 1, 1]);
        header.u32(u32::try_from(content.0.len()).expect("short"));
        header.u32(77);
        header.array(8, |fields| {
            fields.field(7, "s", "org.freedesktop.DBus");
            if !name.is_empty() {
                fields.field(4, "s", name);
            }
            fields.align(8);
            fields.0.extend_from_slice(&[5, 1, b'u', 0]);
            fields.u32(to);
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature("s");
        });
        header.align(8);
        header.0.extend_from_slice(&content.0);
        header.0
    }

    #[test]
    fn the_login_is_by_user_id() {
        let mut bus = fake(b"OK 0123\r\n".to_vec());
        authenticate(&mut bus, 1000).expect("accepted");
        assert_eq!(bus.get_ref().told, b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n");
        assert!(authenticate(&mut fake(b"REJECTED EXTERNAL\r\n".to_vec()), 1000).is_err());
    }

    #[test]
    fn the_answer_to_this_call_counts() {
        let both = [reply(METHOD_RETURN, 1, "", ":1.5"), reply(METHOD_RETURN, 2, "", "/job")];
        call(&mut fake(both.concat()), &hello(1), 2).expect("answered");
        let error = reply(ERROR, 2, "org.freedesktop.DBus.Error.AccessDenied", "no");
        let error = call(&mut fake(error), &hello(1), 2).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "systemd made no scope: org.freedesktop.DBus.Error.AccessDenied: no"
        );
        assert!(call(&mut fake(vec![0; 64]), &hello(1), 2).is_err());
    }

    #[test]
    fn hello_is_as_the_specification_has_it() {
        let bytes = hello(1);
        assert_eq!(&bytes[..12], b"l\x01\0\x01\0\0\0\0\x01\0\0\0");
        assert_eq!(bytes.len() % 8, 0);
        let fields = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        assert_eq!((16 + fields).next_multiple_of(8), bytes.len());
        assert_eq!(&bytes[16..20], b"\x01\x01o\0");
    }
}
