use coracle::bundle::*;
use coracle::mount::RootMount;
use coracle::oci::ImageConfig;
use coracle::runtime;

use std::path::Path;
fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let dirs = std::env::var("DIRCC").unwrap_or("/tmp/cc".into()); let dir = Path::new(&dirs);
    let _ = std::fs::create_dir_all(dir.join("upper"));
    let _ = std::fs::create_dir_all(dir.join("work"));
    let tty = std::env::var("TTYX").is_ok();
    let request = Request {
        command: args,
        interactive: true, user: std::env::var("USERX").ok(), privileged: std::env::var("PRIVX").is_ok(),
        tty,
        init: std::env::var("INITX").is_ok(),
        network: if std::env::var("NETX").is_ok() { Network::None } else { Network::Host },
        read_only: std::env::var("ROX").is_ok(),
        ..Request::default()
    };
    let config = ImageConfig::default();
    let cx = Circumstances {
        id: "0123456789abcdef",
        config: &config,
        passwd: b"root:x:0:0::/root:/bin/sh\n",
        group: b"",
        host: &HostFiles::default(),
        directory: dir,
        root: if std::env::var("DIRX").is_ok() {
            RootMount::Directory("/tmp/rootfs".into())
        } else {
            RootMount::Overlay {
                lowers: vec!["/tmp/rootfs".into()],
                upper: dir.join("upper"),
                work: dir.join("work"),
            }
        },
        devices: &["/dev/fuse".into()],
    };
    let (spec, etc) = specify(&request, cx).unwrap();
    for (n, t) in
        [("hosts", &etc.hosts), ("hostname", &etc.hostname), ("resolv.conf", &etc.resolv_conf)]
    {
        std::fs::write(dir.join(n), t).unwrap();
    }
    let req: coracle::userns::Request = std::env::var("USERNSX").unwrap_or_default().parse().unwrap(); let facts = coracle::userns::gather(Path::new("/"), &std::env::var_os("PATH").unwrap()); let ids = coracle::userns::choose(req, (spec.process.user.uid, spec.process.user.gid), &facts).unwrap(); if std::env::var("V").is_ok() { eprintln!("{ids:?}"); }
    let signals = runtime::Signals::hold().unwrap();
    let r =
        runtime::start(&runtime::Launch { spec: &spec, ids: &ids, profile: None, volatile: true })
            .and_then(|s| s.finish())
            .and_then(|r| runtime::supervise(r, &signals, true));
    match r {
        Ok(e) => std::process::exit(e.code() as i32),
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(125)
        }
    }
}
