//! Which process has a port that is taken (proc_net_tcp(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Protocol;

/// The process that listens at an address, or that keeps others from it, in words; `None` where it is
/// not to be seen.
pub fn holder(address: SocketAddr, protocol: Protocol) -> Option<String> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let socket = tables.into_iter().find_map(|table| {
        let text = std::fs::read_to_string(Path::new("/proc/net").join(table)).ok()?;
        text.lines().skip(1).filter_map(read).find(|socket| {
            // A connection that somebody has through the port is not what keeps others from it.
            let waits = socket.remote.port() == 0;
            waits && socket.local.port() == address.port() && meet(socket.local.ip(), address.ip())
        })
    })?;
    process_of(socket.inode).or_else(|| Some(format!("a process of the user {}", socket.owner)))
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    owner: u32,
    inode: u64,
}

/// Whether two that listen at these would be in each other's way.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// A line of the table.
fn read(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, _, _, _, _, owner, _, inode, ..] = fields[..] else { return None };
    Some(Socket {
        local: socket_address(local)?,
        remote: socket_address(remote)?,
        owner: owner.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// `0100007F:1F90`: words as the kernel has them in memory, and a port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has a socket open, among those that this user may look into.
fn process_of(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let has = |process: &Path| {
        let open = std::fs::read_dir(process.join("fd")).ok();
        let mut links = open.into_iter().flatten().flatten();
        links.any(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == Path::new(&wanted)))
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let process = processes
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok())
        })
        .find(|path| has(path))?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (pid {})", name.trim(), process.file_name()?.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_s_tables_are_read() {
        if cfg!(target_endian = "little") {
            let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                        1000        0 54321 1 0000000000000000 100 0 0 10 0";
            let socket = read(line).expect("a socket");
            assert_eq!(socket.local, "127.0.0.1:8080".parse().expect("an address"));
            assert_eq!((socket.owner, socket.inode), (1000, 54_321));
            let six = socket_address("0000000000000000FFFF00000100007F:0016");
            assert_eq!(six, "[::ffff:127.0.0.1]:22".parse().ok());
        }
        for text in ["", "sl  local_address", "1: 0100007F:1F90 zz:0 0A a b c x 0 1"] {
            assert_eq!(read(text), None);
        }
    }

    #[test]
    fn this_process_has_the_ports_that_it_opens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = format!("(pid {})", std::process::id());
        let told = holder(listener.local_addr().expect("bound"), Protocol::Tcp).expect("told");
        assert!(told.ends_with(&own), "{told}");
        let any = SocketAddr::new(
            Ipv6Addr::UNSPECIFIED.into(),
            listener.local_addr().expect("bound").port(),
        );
        assert!(holder(any, Protocol::Tcp).is_some_and(|told| told.ends_with(&own)));
    }
}
