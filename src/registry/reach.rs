//! Whether anybody answers at an address, without asking for anything.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Why nobody could be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The name has no address, or nobody could be asked for it.
    #[error("the name {host} was not found: {why}")]
    Name {
        /// The name.
        host: String,
        /// Why not.
        why: String,
    },
    /// None of the addresses answers.
    #[error("{address} does not answer: {why}")]
    Connection {
        /// The address tried last.
        address: SocketAddr,
        /// Why not.
        why: String,
    },
    /// The time is up.
    #[error("{host} gave no sign of life for {} seconds", patience.as_secs())]
    Silence {
        /// The host.
        host: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// This process may not use the network.
    #[error("the network cannot be used: {0}")]
    Runtime(String),
}

/// Connects to `host` and hangs up; gives the address that answered. Starts no thread.
pub fn reach(host: &str, port: u16, patience: Duration) -> Result<SocketAddr, Unreachable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Unreachable::Runtime(error.to_string()))?;
    runtime.block_on(async {
        tokio::time::timeout(patience, connect(host, port))
            .await
            .unwrap_or_else(|_| Err(Unreachable::Silence { host: host.to_owned(), patience }))
    })
}

async fn connect(host: &str, port: u16) -> Result<SocketAddr, Unreachable> {
    let unknown = |why: String| Unreachable::Name { host: host.to_owned(), why };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = Vec::new();
    if let Ok(address) = bare.parse() {
        addresses.push(SocketAddr::new(address, port));
    } else {
        // The same resolver as the requests': a static binary has no libc that could be asked.
        let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        let resolver = resolver.map_err(|error| unknown(error.to_string()))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| {
            let none = error.is_no_records_found();
            unknown(if none { "it has no address".into() } else { error.to_string() })
        })?;
        addresses.extend(found.iter().map(|address| SocketAddr::new(address, port)));
    }
    let mut failure = unknown("it has no address".into());
    for address in addresses {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => return Ok(address),
            Err(error) => {
                failure = Unreachable::Connection { address, why: error.to_string() };
            }
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_reached_and_who_does_not_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let patience = Duration::from_secs(5);
        assert_eq!(reach("127.0.0.1", address.port(), patience), Ok(address));
        drop(listener);
        let refused = reach("127.0.0.1", address.port(), patience);
        assert!(matches!(refused, Err(Unreachable::Connection { .. })), "{refused:?}");
    }
}
