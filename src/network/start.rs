//! The server's process: forked early, put to work by the container's first process, gone with it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::process::{Resource, Rlimit, Signal};

use super::frame::Link;
use super::policy::Policy;
use super::publish::Opened;
use super::serve::{Parts, Server as Loop};
use super::{Addresses, Entrance, Publications, Resolvers, Settings, confine, device};
use crate::sys;
use crate::sys::fork::{self, Child, Side};

/// What a server is told.
#[derive(Debug)]
pub struct Options {
    /// What is asked of the network.
    pub settings: Settings,
    /// The host's resolvers.
    pub resolvers: Resolvers,
    /// Ports that are open on the host.
    pub publications: Publications,
}

/// A server, held by who launches: it ends with its container.
#[derive(Debug)]
pub struct Server {
    child: Child,
    outlives: bool,
}

/// Where the container's first process and its server will meet: made before the clone.
#[derive(Debug)]
pub struct Meeting {
    servers: OwnedFd,
    containers: OwnedFd,
}

impl Meeting {
    /// A meeting that nobody has come to yet.
    pub fn new() -> Result<Self, Errno> {
        let kind = SocketType::SEQPACKET;
        let (servers, containers) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok(Self { servers, containers })
    }

    /// The side of the container's first process.
    pub fn entrance(self, options: &Options) -> Entrance {
        Entrance { socket: self.containers, messages: device::messages(&options.settings) }
    }

    /// Forks the server, while the container's first process, `container`, is on its way. Call it
    /// while the process has one thread. With `outlives` it is not waited for.
    pub fn fork(
        self,
        options: &Options,
        container: &OwnedFd,
        outlives: bool,
    ) -> Result<Server, Errno> {
        match fork::fork().map_err(|error| error.errno)? {
            Side::Parent(child) => Ok(Server { child, outlives }),
            Side::Child => {
                drop(self.containers);
                let served = serve(options, &self.servers, container);
                fork::exit(u8::from(served.is_err()))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.outlives {
            return;
        }
        // Its container is gone, or it would not be dropped; there is nothing to be written back.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// From a fresh fork to the loop, and its end.
fn serve(options: &Options, socket: &OwnedFd, container: &OwnedFd) -> Result<(), Errno> {
    let _ = rustix::thread::set_name(c"coracle-network");
    // The terminal's signals are for the container.
    sys::process::block_signals();
    rustix::process::setsid()?;
    let Options { settings, resolvers, publications } = options;
    let descriptors = raise_limit();
    let ports = publications.sockets.iter().map(Opened::copy).collect::<Result<Vec<_>, _>>()?;
    let mut kept = vec![socket, container];
    kept.extend(ports.iter().map(|opened| &opened.socket));
    sys::process::hold_only(&kept)?;
    // A panic must end it, whatever the profile says of unwinding.
    std::panic::set_hook(Box::new(|_| fork::exit(101)));
    let Some(tap) = receive(socket)? else { return Ok(()) };
    rustix::io::ioctl_fionbio(&tap, true)?;
    let link = Link::new(tap, settings.mac(), settings.mtu());
    let policy = Policy {
        addresses: Addresses::new(settings),
        host_loopback: settings.host_loopback,
        resolvers: resolvers.0.clone(),
    };
    let mut server = Loop::new(Parts { link, policy, ports, descriptors })?;
    server.end_with(container)?;
    // What of the launching coracle is of no use here is given back.
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = sys::trim::Trimmer::new().trim_and_poll(&mut [], Some(&at_once));
    confine::confine()?;
    server.serve()
}

/// As many descriptors as may be; gives how many those are.
fn raise_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Waits for the container's first process and its device. `None` when it ended before.
fn receive(socket: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let slices = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(received)
}
