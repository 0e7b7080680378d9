//! The calls that are answered here: one table for the filter and for the server.

use std::ffi::c_long;

/// Which file a call is about, by the places of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// A path from the working directory; `follow` a link at its end or not.
    Path { path: usize, follow: bool },
    /// A path from a directory's descriptor, and flags (`AT_SYMLINK_NOFOLLOW`, `AT_EMPTY_PATH`).
    At { directory: usize, path: usize, flags: Option<usize> },
    /// The same, and a link at the end is never followed.
    New { directory: usize, path: usize },
    /// A descriptor.
    Open { descriptor: usize },
}

const fn path(path: usize) -> File {
    File::Path { path, follow: true }
}

const fn link(path: usize) -> File {
    File::Path { path, follow: false }
}

const fn at(directory: usize, path: usize, flags: usize) -> File {
    File::At { directory, path, flags: Some(flags) }
}

/// User ids or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    User,
    Group,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Owner and the rest, into a `struct stat` at an argument.
    Stat {
        file: File,
        to: usize,
    },
    /// The same into a `struct statx`.
    Statx,
    /// Change of owner; the ids stand at an argument and the next.
    Chown {
        file: File,
        ids: usize,
    },
    /// One id of the process.
    Id {
        whose: Whose,
        effective: bool,
    },
    /// All three.
    Ids(Whose),
    /// The supplementary groups.
    Groups,
    /// Changes of ids.
    Set(Whose),
    SetTwo(Whose),
    SetThree(Whose),
    SetFileSystem(Whose),
    SetGroups,
    /// A device, pipe, socket or file by mknod(2); its mode stands at an argument, its number next.
    Node {
        file: File,
        mode: usize,
    },
    /// A file that open(2) may make; the flags stand at an argument, the mode next.
    Open {
        file: File,
        flags: usize,
    },
    /// creat(2)
    Create,
    /// A directory; its mode stands at an argument.
    Directory {
        file: File,
        mode: usize,
    },
    /// A symbolic link; its text is the first argument.
    Symlink {
        file: File,
    },
    /// bind(2)
    Bind,
    /// connect(2), for the network's sake
    Connect,
    /// setsockopt(2) of what is rarely set (`options`)
    SetOption,
    /// A new program.
    Execute {
        file: File,
    },
    /// `SO_PEERCRED`
    Peer,
    /// `PR_SET_KEEPCAPS`
    KeepPowers,
    /// capget(2), capset(2)
    Powers,
    SetPowers,
    /// A change of root or mounts, after which the caller's paths are not the supervisor's.
    Leave {
        roots: bool,
    },
    /// The tag's own limit: said to be unlimited. Where the old value goes.
    Limit {
        old: Option<usize>,
    },
}

/// A condition of the filter: `argument & mask == value`, in the low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: usize,
    pub(super) mask: u32,
    pub(super) value: u32,
}

const fn is(argument: usize, value: u32) -> Condition {
    Condition { argument, mask: u32::MAX, value }
}

const fn has(argument: usize, bits: u32) -> Condition {
    Condition { argument, mask: bits, value: bits }
}

const MAKES: u32 = libc::O_CREAT.cast_unsigned();
const MOUNTS: u32 = libc::CLONE_NEWNS.cast_unsigned();
const TAG: u32 = super::people::RESOURCE;
const SOCKET: u32 = libc::SOL_SOCKET.cast_unsigned();
const PEER: u32 = libc::SO_PEERCRED.cast_unsigned();

/// Number, meaning, conditions. The frequent ones first: a filter is read from its start. What is
/// not here costs nothing, since the kernel remembers which calls a filter lets through unseen.
const CALLS: &[(c_long, Call, &[Condition])] = &[
    (libc::SYS_newfstatat, Call::Stat { file: at(0, 1, 3), to: 2 }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, Call::Stat { file: path(0), to: 1 }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, Call::Stat { file: link(0), to: 1 }, &[]),
    (libc::SYS_fstat, Call::Stat { file: File::Open { descriptor: 0 }, to: 1 }, &[]),
    (libc::SYS_statx, Call::Statx, &[]),
    (libc::SYS_geteuid, Call::Id { whose: Whose::User, effective: true }, &[]),
    (libc::SYS_getuid, Call::Id { whose: Whose::User, effective: false }, &[]),
    (libc::SYS_getegid, Call::Id { whose: Whose::Group, effective: true }, &[]),
    (libc::SYS_getgid, Call::Id { whose: Whose::Group, effective: false }, &[]),
    (
        libc::SYS_openat,
        Call::Open { file: File::At { directory: 0, path: 1, flags: None }, flags: 2 },
        &[has(2, MAKES)],
    ),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, Call::Open { file: path(0), flags: 1 }, &[has(1, MAKES)]),
    (libc::SYS_execve, Call::Execute { file: path(0) }, &[]),
    (libc::SYS_prlimit64, Call::Limit { old: Some(3) }, &[is(1, TAG)]),
    (libc::SYS_getsockopt, Call::Peer, &[is(1, SOCKET), is(2, PEER)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, Call::Chown { file: path(0), ids: 1 }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, Call::Chown { file: link(0), ids: 1 }, &[]),
    (libc::SYS_fchown, Call::Chown { file: File::Open { descriptor: 0 }, ids: 1 }, &[]),
    (libc::SYS_fchownat, Call::Chown { file: at(0, 1, 4), ids: 2 }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, Call::Directory { file: link(0), mode: 1 }, &[]),
    (
        libc::SYS_mkdirat,
        Call::Directory { file: File::New { directory: 0, path: 1 }, mode: 2 },
        &[],
    ),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, Call::Symlink { file: link(1) }, &[]),
    (libc::SYS_symlinkat, Call::Symlink { file: File::New { directory: 1, path: 2 } }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, Call::Node { file: link(0), mode: 1 }, &[]),
    (libc::SYS_mknodat, Call::Node { file: File::New { directory: 0, path: 1 }, mode: 2 }, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, Call::Create, &[]),
    (libc::SYS_bind, Call::Bind, &[]),
    (libc::SYS_getresuid, Call::Ids(Whose::User), &[]),
    (libc::SYS_getresgid, Call::Ids(Whose::Group), &[]),
    (libc::SYS_getgroups, Call::Groups, &[]),
    (libc::SYS_setuid, Call::Set(Whose::User), &[]),
    (libc::SYS_setgid, Call::Set(Whose::Group), &[]),
    (libc::SYS_setreuid, Call::SetTwo(Whose::User), &[]),
    (libc::SYS_setregid, Call::SetTwo(Whose::Group), &[]),
    (libc::SYS_setresuid, Call::SetThree(Whose::User), &[]),
    (libc::SYS_setresgid, Call::SetThree(Whose::Group), &[]),
    (libc::SYS_setfsuid, Call::SetFileSystem(Whose::User), &[]),
    (libc::SYS_setfsgid, Call::SetFileSystem(Whose::Group), &[]),
    (libc::SYS_setgroups, Call::SetGroups, &[]),
    (libc::SYS_execveat, Call::Execute { file: at(0, 1, 4) }, &[]),
    (libc::SYS_chroot, Call::Leave { roots: true }, &[]),
    (libc::SYS_pivot_root, Call::Leave { roots: true }, &[]),
    (libc::SYS_setns, Call::Leave { roots: false }, &[]),
    (libc::SYS_unshare, Call::Leave { roots: false }, &[has(0, MOUNTS)]),
    (libc::SYS_prctl, Call::KeepPowers, &[is(0, libc::PR_SET_KEEPCAPS.cast_unsigned())]),
    (libc::SYS_capget, Call::Powers, &[]),
    (libc::SYS_capset, Call::SetPowers, &[]),
    (libc::SYS_getrlimit, Call::Limit { old: Some(1) }, &[is(0, TAG)]),
    (libc::SYS_setrlimit, Call::Limit { old: None }, &[is(0, TAG)]),
];

/// What is asked for a network that has a fast path. Of the second the filter knows which
/// (`options::RARE`).
const CONNECTIONS: &[(c_long, Call, &[Condition])] =
    &[(libc::SYS_connect, Call::Connect, &[]), (libc::SYS_setsockopt, Call::SetOption, &[])];

/// Why there is a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    /// To emulate ids.
    pub(super) ids: bool,
    /// To make connections.
    pub(super) connections: bool,
}

impl Purpose {
    /// The calls that are answered for it.
    pub(super) fn calls(
        self,
    ) -> impl Iterator<Item = &'static (c_long, Call, &'static [Condition])> {
        let ids = if self.ids { CALLS } else { &[] };
        ids.iter().chain(if self.connections { CONNECTIONS } else { &[] })
    }
}

/// Finds a call by its number.
#[derive(Debug)]
pub(super) struct Calls(Vec<Option<Call>>);

impl Calls {
    pub(super) fn new() -> Self {
        let mut calls = vec![None; 512];
        let all = Purpose { ids: true, connections: true };
        for (number, call, _) in all.calls() {
            if let Some(place) = usize::try_from(*number).ok().and_then(|at| calls.get_mut(at)) {
                *place = Some(*call);
            }
        }
        Self(calls)
    }

    pub(super) fn get(&self, number: i32) -> Option<Call> {
        usize::try_from(number).ok().and_then(|at| self.0.get(at).copied()).flatten()
    }
}
