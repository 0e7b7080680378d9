//! Maps written: for a child in a new namespace, or for this very process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::{Error, Extent, IdMaps, Mode, explain_refusal};
use crate::sys;
use crate::sys::fork::Side;

/// The child's part: write the maps itself, or wait until the parent has had them written.
#[derive(Debug)]
pub struct ChildMaps(Childs);

#[derive(Debug)]
enum Childs {
    Write { uids: String, gids: String },
    Await(File),
}

/// The parent's part.
#[derive(Debug)]
pub struct ParentMaps(Option<(File, IdMaps)>);

/// Splits the work between a child to be and its parent.
pub fn prepare(maps: &IdMaps) -> Result<(ChildMaps, ParentMaps), Error> {
    if maps.mode == Mode::Single {
        let (uids, gids) = (text(&maps.uids), text(&maps.gids));
        return Ok((ChildMaps(Childs::Write { uids, gids }), ParentMaps(None)));
    }
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Call)?;
    let parent = ParentMaps(Some((writer.into(), maps.clone())));
    Ok((ChildMaps(Childs::Await(reader.into())), parent))
}

impl ChildMaps {
    /// What the child waits at, where it does.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Childs::Write { .. } => None,
            Childs::Await(pipe) => Some(pipe.as_fd()),
        }
    }

    /// Called in the child, before anything that needs an id.
    pub fn complete(&mut self) -> Result<(), Errno> {
        match &mut self.0 {
            Childs::Write { uids, gids } => {
                // Without privilege gid_map takes a line only once setgroups(2) is denied
                // (user_namespaces(7), "Defining user and group ID mappings").
                write("/proc/self/setgroups", "deny")?;
                write("/proc/self/uid_map", uids)?;
                write("/proc/self/gid_map", gids)
            }
            Childs::Await(pipe) => match pipe.read(&mut [0]) {
                Ok(1) => Ok(()),
                // The parent gave up; it knows why.
                Ok(_) => Err(Errno::CANCELED),
                Err(error) => Err(errno(&error)),
            },
        }
    }
}

impl ParentMaps {
    /// Called in the parent, with the child's pid; the child goes on when it returns.
    pub fn write(self, child: Pid) -> Result<(), Error> {
        let Some((mut pipe, maps)) = self.0 else { return Ok(()) };
        write_maps(child, &maps)?;
        pipe.write_all(&[1]).map_err(|error| Error::Call(errno(&error)))
    }
}

/// Enters a new user namespace with `maps` in place: afterwards this process is its root.
///
/// Only while the process has one thread (unshare(2), `EINVAL`). A child that stays outside has the
/// maps written, because who is inside may not.
pub fn enter_in_place(maps: &IdMaps) -> Result<(), Error> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Call)?;
    let (answer, answers) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Call)?;
    let parent = rustix::process::getpid();
    let (mut reader, mut answers) = (File::from(reader), File::from(answers));
    let outside = sys::fork::in_child(|| {
        // It holds a copy of the pipe's other end and would wait for ever for a parent that died.
        if sys::process::die_with(parent).is_err() {
            return 1;
        }
        match reader.read(&mut [0]).map(|_| write_maps(parent, maps)) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                let _ = answers.write_all(error.to_string().as_bytes());
                1
            }
            Err(_) => 1,
        }
    });
    let outside = outside.map_err(|error| Error::Call(error.errno))?;
    drop(answers);
    let entered = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER);
    if entered.is_ok() {
        File::from(writer).write_all(&[1]).map_err(|error| Error::Call(errno(&error)))?;
    } else {
        let _ = rustix::process::pidfd_send_signal(&outside.pidfd, rustix::process::Signal::KILL);
    }
    let mut message = String::new();
    let _ = File::from(answer).read_to_string(&mut message);
    let status = rustix::process::waitpid(Some(outside.pid), rustix::process::WaitOptions::empty());
    entered.map_err(|error| explain_refusal(Errno::from_raw_os_error(error as i32)))?;
    match status {
        Ok(Some((_, status))) if status.exit_status() == Some(0) => become_root(),
        _ => Err(Error::Helper { helper: "newuidmap".into(), message }),
    }
}

/// A user namespace with `maps` that nobody is in, for an idmapped mount.
pub fn empty_namespace(maps: &IdMaps) -> Result<OwnedFd, Error> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Call)?;
    let made = sys::fork::clone_into(UnshareFlags::NEWUSER);
    match made.map_err(|error| explain_refusal(error.errno))? {
        Side::Child => {
            drop(writer);
            let _ = File::from(reader).read(&mut [0]);
            sys::fork::exit(0)
        }
        Side::Parent(child) => {
            let opened = write_maps(child.pid, maps).and_then(|()| {
                let path = format!("/proc/{}/ns/user", child.pid.as_raw_nonzero());
                let opened = File::open(path).map(OwnedFd::from);
                opened.map_err(|error| Error::Call(self::errno(&error)))
            });
            drop(writer);
            child.wait().map_err(Error::Call)?;
            opened
        }
    }
}

fn become_root() -> Result<(), Error> {
    use rustix::thread::{Gid, Uid};
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(Error::Call)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(Error::Call)
}

fn write_maps(process: Pid, maps: &IdMaps) -> Result<(), Error> {
    let pid = process.as_raw_nonzero();
    let map = |what: &'static str, text: &str| {
        write(&format!("/proc/{pid}/{what}"), text)
            .map_err(|errno| Error::Map { what, source: errno.into() })
    };
    match &maps.mode {
        Mode::Single => {
            map("setgroups", "deny")?;
            map("uid_map", &text(&maps.uids))?;
            map("gid_map", &text(&maps.gids))
        }
        Mode::Direct => {
            map("uid_map", &text(&maps.uids))?;
            map("gid_map", &text(&maps.gids))
        }
        Mode::Range { newuidmap, newgidmap } => {
            // Both at once: most of their time is their own start.
            let uids = start_helper(newuidmap, process, &maps.uids)?;
            let gids = start_helper(newgidmap, process, &maps.gids)?;
            finish_helper(newuidmap, uids)?;
            finish_helper(newgidmap, gids)
        }
    }
}

fn start_helper(
    helper: &Path,
    process: Pid,
    extents: &[Extent],
) -> Result<std::process::Child, Error> {
    let numbers = extents.iter().flat_map(|extent| [extent.inside, extent.outside, extent.count]);
    Command::new(helper)
        .arg(process.as_raw_nonzero().to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::Helper { helper: helper.to_owned(), message: error.to_string() })
}

fn finish_helper(helper: &Path, child: std::process::Child) -> Result<(), Error> {
    let failed = |message: String| Error::Helper { helper: helper.to_owned(), message };
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn text(extents: &[Extent]) -> String {
    use std::fmt::Write;
    extents.iter().fold(String::new(), |mut text, extent| {
        let _ = writeln!(text, "{} {} {}", extent.inside, extent.outside, extent.count);
        text
    })
}

/// A map is written by one write(2), whole or not at all.
fn write(path: &str, text: &str) -> Result<(), Errno> {
    std::fs::write(path, text).map_err(|error| errno(&error))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
