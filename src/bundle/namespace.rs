//! Which namespaces a container has of its own, and which it shares.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A kind of namespace (namespaces(7)). The mount namespace is not among them: every container has
/// one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NsKind {
    /// User and group ids, capabilities (user_namespaces(7)).
    User,
    /// Process ids (pid_namespaces(7)).
    Pid,
    /// Devices, addresses, ports (network_namespaces(7)).
    Network,
    /// System V IPC and POSIX message queues (ipc_namespaces(7)).
    Ipc,
    /// Host and domain name (uts_namespaces(7)).
    Uts,
    /// The root of the cgroup tree as it is seen (cgroup_namespaces(7)).
    Cgroup,
}

impl NsKind {
    /// All of them, the user namespace first: joining the others takes power over it.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Pid, Self::Network, Self::Ipc, Self::Uts, Self::Cgroup];

    /// The name of its file in `/proc/PID/ns`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }

    /// The runtime specification's name (runtime-spec, config-linux.md, "Namespaces").
    pub fn spec_name(self) -> &'static str {
        if let Self::Network = self { "network" } else { self.file_name() }
    }
}

/// Where a namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    #[default]
    New,
    /// The caller's.
    Host,
    /// One that is there.
    Join(Joined),
}

/// An open namespace, `/proc/PID/ns/KIND` or a file that it is bound to.
#[derive(Clone)]
pub struct Joined(Arc<OwnedFd>);

impl Joined {
    /// The namespace behind a descriptor.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl AsFd for Joined {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Joined {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Joined {}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joined({:?})", self.0)
    }
}

/// The namespaces of a container; all new by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces([Namespace; 6]);

impl Namespaces {
    /// Each kind and where it comes from, the user namespace first.
    pub fn iter(&self) -> impl Iterator<Item = (NsKind, &Namespace)> {
        NsKind::ALL.into_iter().zip(&self.0)
    }

    /// The kinds that are new.
    pub fn new_kinds(&self) -> impl Iterator<Item = NsKind> + '_ {
        self.iter().filter(|(_, from)| **from == Namespace::New).map(|(kind, _)| kind)
    }

    /// The namespaces to join, the user namespace first.
    pub fn joined(&self) -> impl Iterator<Item = (NsKind, &Joined)> {
        self.iter().filter_map(|(kind, from)| match from {
            Namespace::Join(joined) => Some((kind, joined)),
            Namespace::New | Namespace::Host => None,
        })
    }

    /// Whether the container has its own or another container's, and not the caller's.
    pub fn is_private(&self, kind: NsKind) -> bool {
        self[kind] != Namespace::Host
    }
}

impl std::ops::Index<NsKind> for Namespaces {
    type Output = Namespace;

    fn index(&self, kind: NsKind) -> &Namespace {
        &self.0[kind as usize]
    }
}

impl std::ops::IndexMut<NsKind> for Namespaces {
    fn index_mut(&mut self, kind: NsKind) -> &mut Namespace {
        &mut self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_place() {
        for kind in NsKind::ALL {
            let mut namespaces = Namespaces::default();
            namespaces[kind] = Namespace::Host;
            let hosts: Vec<_> =
                NsKind::ALL.into_iter().filter(|one| !namespaces.is_private(*one)).collect();
            assert_eq!(hosts, [kind]);
            assert!(!namespaces.new_kinds().any(|new| new == kind));
        }
    }
}
