//! Three containers stitched into a pod by hand: the second and third share the network and the
//! message queues of the first, and live in its user namespace.
//!
//! ```console
//! $ cargo run --example pod -- /path/to/a/root/with/busybox
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use coracle::bundle::{ContainerSpec, NsKind, Process};
use coracle::mount::RootMount;
use coracle::runtime::seccomp::Profile;
use coracle::runtime::{
    self, Attachment, Attendance, Exit, HookState, Launch, Parting, Running, Signals,
};
use coracle::userns::{self, IdMaps};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name a root directory")?;
    let facts = userns::gather(Path::new("/"), &OsString::new());
    let ids = userns::choose(&userns::Request::NoMap, (0, 0), &facts)?;
    let signals = Signals::hold()?;

    // The first has namespaces of its own, and holds them open.
    let holder = start(&spec(&root, "exec sleep 60").build()?, &ids)?;

    // The others find its loopback, and each other on it.
    let shared = holder.namespaces(&[NsKind::Network, NsKind::Ipc])?;
    let server = spec(&root, "echo served by the second | exec nc -l -p 8080");
    let server = start(&server.stitch(shared.clone()).build()?, &ids)?;
    let client = "until nc 127.0.0.1 8080 </dev/null; do sleep 0.05; done";
    let client = start(&spec(&root, client).stitch(shared).build()?, &ids)?;

    let ended = wait(client, &signals)?;
    wait(server, &signals)?;
    drop(holder); // it dies with this process
    Ok(ExitCode::from(ended.code()))
}

fn spec(root: &Path, script: &str) -> coracle::bundle::Builder {
    let args = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
    let root = RootMount::Directory(root.to_owned());
    ContainerSpec::builder(root, Process::new(args))
}

fn start(spec: &ContainerSpec, ids: &IdMaps) -> Result<Running, runtime::Error> {
    let state = HookState::default();
    let profile = Profile::Default;
    runtime::start(&Launch {
        spec,
        ids,
        profile: Some(&profile),
        volatile: true,
        attachment: Attachment { inherit: true, ..Attachment::default() },
        gate: None,
        no_pivot: false,
        group: None,
        network: None,
        state: &state,
    })?
    .finish()
}

fn wait(running: Running, signals: &Signals) -> Result<Exit, runtime::Error> {
    match runtime::supervise(running, signals, &Attendance::default(), None, &mut || ())? {
        Parting::Ended(exit) => Ok(exit),
        Parting::Detached(_) => Ok(Exit::Code(0)),
        Parting::Left(signal) => Ok(Exit::Signal(signal)),
    }
}
