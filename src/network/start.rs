//! The server's process: forked early, put to work by the container's first process, gone with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use super::device::Device;
use super::publish::Opened;
use super::serve::{Joining, Parts, Pause, Server as Loop};
use super::{
    Entrance, LinkOptions, LinkPlan, Membership, Publications, Resolvers, confine, messages,
};
use crate::sys;
use crate::sys::fork::{self, Child, Side};

/// What a server is told.
#[derive(Debug)]
pub struct Options {
    /// The container's links, the first of which leads out.
    pub links: Vec<LinkOptions>,
    /// Where it is told of more while it serves.
    pub control: OwnedFd,
    /// The host's resolvers.
    pub resolvers: Resolvers,
    /// Ports that are open on the host.
    pub publications: Publications,
}

impl Options {
    /// The container's links.
    pub fn plans(&self) -> Vec<LinkPlan> {
        self.links.iter().map(|link| link.plan.clone()).collect()
    }
}

/// A server, held by who launches: it ends with its container.
#[derive(Debug)]
pub struct Server {
    child: Child,
    outlives: bool,
    /// Whether its end was noticed.
    ended: bool,
}

impl Server {
    /// Readable when it has ended, until that was noticed.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.child.pidfd.as_fd())
    }

    /// Its end was noticed.
    pub fn notice(&mut self) {
        self.ended = true;
    }
}

/// Where a server will meet the container's first process: made before the clone.
#[derive(Debug)]
pub struct Meeting(OwnedFd);

impl Meeting {
    /// A meeting that nobody has come to yet, and the way in for who makes the devices of `plans`.
    pub fn new<'a>(
        plans: impl IntoIterator<Item = &'a LinkPlan>,
    ) -> Result<(Self, Entrance), Errno> {
        let kind = SocketType::SEQPACKET;
        let (servers, socket) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let devices = plans.into_iter().map(Device::new).collect();
        Ok((Self(servers), Entrance { socket, devices }))
    }

    /// The next device, once it is made.
    pub fn device(&self) -> Result<OwnedFd, Errno> {
        receive(&self.0)?.ok_or(Errno::PIPE)
    }

    /// Forks the server, while the container's first process, `container`, is on its way and nobody
    /// here holds its entrance any more. With `outlives` it is not waited for.
    pub fn fork(
        self,
        options: &Options,
        container: &OwnedFd,
        outlives: bool,
    ) -> Result<Server, Errno> {
        match fork::fork().map_err(|error| error.errno)? {
            Side::Parent(child) => Ok(Server { child, outlives, ended: false }),
            Side::Child => {
                let served = serve(options, &self.0, container);
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
    let Options { links, control, resolvers, publications } = options;
    let descriptors = sys::process::raise_descriptors();
    let ports = publications.sockets.iter().map(Opened::copy).collect::<Result<Vec<_>, _>>()?;
    let control = rustix::io::fcntl_dupfd_cloexec(control, 3)?;
    let memberships = links.iter().map(|link| link.membership.as_ref().map(Membership::copy));
    let memberships = memberships.map(Option::transpose).collect::<Result<Vec<_>, _>>()?;
    let mut kept = vec![socket, container, &control];
    kept.extend(ports.iter().map(|opened| &opened.socket));
    kept.extend(memberships.iter().flatten().flat_map(Membership::descriptors));
    sys::process::hold_only(&kept)?;
    // A panic must end it, whatever the profile says of unwinding.
    std::panic::set_hook(Box::new(|_| fork::exit(101)));
    let resolvers = resolvers.0.clone();
    let mut server = Loop::new(Parts { resolvers, ports, descriptors, control: Some(control) })?;
    for (link, membership) in links.iter().zip(memberships) {
        let Some(tap) = receive(socket)? else { return Ok(()) };
        server.join(Joining { plan: link.plan.clone(), tap, membership })?;
    }
    server.end_with(container)?;
    // What of the launching coracle is of no use here is given back, and then what of this process is of
    // none while it waits.
    let trimmer = sys::trim::Trimmer::new();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = trimmer.trim_and_poll(&mut [], Some(&at_once));
    confine::confine()?;
    loop {
        let Pause::Idle(until) = server.serve()? else { return Ok(()) };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut waker = [PollFd::new(server.waker(), PollFlags::IN)];
        let _ = trimmer.trim_and_poll(&mut waker, left.as_ref());
    }
}

/// Waits for the container's first process and a device of its. `None` when it ended before.
fn receive(socket: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let (_, mut descriptors) = messages::receive(socket, &mut [0])?;
    Ok(descriptors.pop())
}
