//! The ids of a container that runs, read from the kernel.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::facts::extents;
use super::lines::Line;
use super::{Error, Extent, IdMaps, Mode, Request};
use crate::sys::fork;

/// The maps of the user namespace that a process lives in.
pub fn maps_of(pid: Pid) -> Result<IdMaps, Error> {
    read(Path::new("/proc"), &pid.as_raw_nonzero().to_string())
}

/// The maps of a user namespace, of which there is a descriptor: told of by a child that goes there.
pub fn maps_behind(namespace: BorrowedFd<'_>) -> Result<IdMaps, Error> {
    let failed = Error::Call;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed);
    let ((arrived, arrival), (leave, left)) = (pipe()?, pipe()?);
    let mut ours = Some((arrived, left));
    let child = fork::in_child(|| {
        drop(ours.take()); // or it would wait for itself
        let kind = Some(LinkNameSpaceType::User);
        let entered = move_into_link_name_space(namespace, kind)
            .and_then(|()| rustix::io::write(&arrival, b"!"))
            .and_then(|_| rustix::io::read(&leave, &mut [0_u8; 1]));
        entered.map_or_else(|errno| u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX), |_| 0)
    });
    let child = child.map_err(|error| failed(error.errno))?;
    drop((arrival, leave));
    let there = match &ours {
        Some((arrived, _)) => rustix::io::read(arrived, &mut [0_u8; 1]).map_err(failed)?,
        None => 0,
    };
    let maps = (there > 0).then(|| maps_of(child.pid));
    drop(ours);
    let code = child.wait().map_err(failed)?;
    maps.unwrap_or_else(|| Err(failed(Errno::from_raw_os_error(code.into()))))
}

/// What to ask for to get ids that fit a user namespace with these.
pub fn request_for(maps: &IdMaps) -> Request {
    Request::Lines(lines(maps))
}

/// The very ids that a map has.
fn lines(maps: &IdMaps) -> Vec<Line> {
    let of = |extents: &[Extent], users: bool| {
        let line = |extent| Line { users, groups: !users, ..Line::of_extent(extent) };
        extents.iter().map(line).collect::<Vec<_>>()
    };
    [of(&maps.uids, true), of(&maps.gids, false)].concat()
}

fn read(proc: &Path, pid: &str) -> Result<IdMaps, Error> {
    let text = |name: &'static str| {
        std::fs::read_to_string(proc.join(pid).join(name))
            .map_err(|source| Error::Map { what: name, source })
    };
    let (uids, gids) = (extents(&text("uid_map")?), extents(&text("gid_map")?));
    // Denied for good where one id was mapped without privilege (user_namespaces(7)).
    let single = text("setgroups")?.trim() == "deny";
    Ok(IdMaps {
        uids,
        gids,
        mode: if single { Mode::Single } else { Mode::Direct },
        usual: false,
        emulated: false,
        reason: "joined".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(uid: &str, gid: &str, setgroups: &str) -> IdMaps {
        let proc = tempfile::tempdir().expect("a directory");
        let process = proc.path().join("7");
        std::fs::create_dir(&process).expect("a process");
        for (name, text) in [("uid_map", uid), ("gid_map", gid), ("setgroups", setgroups)] {
            std::fs::write(process.join(name), text).expect("a file");
        }
        read(proc.path(), "7").expect("maps")
    }

    #[test]
    fn one_id_is_asked_for_by_its_number() {
        let one = maps("33 1000 1\n", "34 1000 1\n", "deny\n");
        assert_eq!(Request::Lines(lines(&one)).to_string(), "map=u33:@1000:1,g34:@1000:1");
        assert!(!one.may_set_groups());
    }

    #[test]
    fn a_range_is_asked_for_line_by_line() {
        let range = maps("0 1000 1\n1 100000 65536\n", "0 1000 1\n1 100000 65536\n", "allow\n");
        let text = "map=u0:@1000:1,u1:@100000:65536,g0:@1000:1,g1:@100000:65536";
        assert_eq!(Request::Lines(lines(&range)).to_string(), text);
        assert!(range.maps_uid(999) && range.may_set_groups());
    }
}
