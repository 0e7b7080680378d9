//! Questions to the user, on a terminal.

use std::io::{self, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// Asks for a line that may be seen.
pub fn line(question: &str) -> io::Result<String> {
    let mut err = io::stderr();
    write!(err, "{question}")?;
    err.flush()?;
    let mut text = String::new();
    io::stdin().read_line(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Asks for a line that nobody is to see. The terminal is as before however this ends: an interrupt
/// comes as a byte meanwhile, and is an error.
pub fn secret(question: &str) -> io::Result<String> {
    let mut err = io::stderr();
    write!(err, "{question}")?;
    err.flush()?;
    let _quiet = Quiet::new()?;
    let mut text = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte? {
            3 => {
                let _ = writeln!(err);
                return Err(io::ErrorKind::Interrupted.into());
            }
            4 if text.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            b'\n' | b'\r' | 4 => break,
            8 | 0x7f => {
                // A letter may have several bytes.
                while text.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            0x15 => text.clear(),
            byte => text.push(byte),
        }
    }
    let _ = writeln!(err);
    String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A terminal without echo, until dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
