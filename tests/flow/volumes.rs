//! Volumes: with names, without, of the image, of others; images and throw-away overlays mounted.

use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::Value;

use super::home_with_busybox;
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, Run, has, image};

/// A home with busybox and an image that has volumes, and containers without a network in it.
struct Place {
    home: Home,
    busybox: String,
    filled: String,
}

impl Place {
    fn new() -> Self {
        let (home, busybox) = home_with_busybox();
        // By its ID: without a registry it has no name in the store.
        let filled = home.coracle(["pull", "-q", &image("busybox", "volume")]).ok();
        Self { home, busybox, filled }
    }

    fn coracle(&self, words: &[&str]) -> Run {
        self.home.coracle(words)
    }

    fn ok(&self, words: &[&str]) -> String {
        self.coracle(words).ok()
    }

    fn run(&self, image: &str, flags: &[&str], script: &str) -> Run {
        let first = ["run", "--network", "none"];
        self.coracle(&[&first[..], flags, &[image, "sh", "-c", script]].concat())
    }

    /// What a script prints in a container that leaves nothing.
    fn sh(&self, flags: &[&str], script: &str) -> String {
        self.run(&self.busybox, &[&["--rm"][..], flags].concat(), script).ok()
    }

    /// The same in the image with volumes: /data, 1000:1000, mode 0770, with /data/kept.
    fn filled(&self, flags: &[&str], script: &str) -> String {
        self.run(&self.filled, &[&["--rm"][..], flags].concat(), script).ok()
    }

    fn volumes(&self) -> Vec<String> {
        self.ok(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
    }

    fn directory(&self, name: &str) -> (PathBuf, String) {
        let path = self.home.path().join(name);
        fs::create_dir_all(&path).unwrap();
        let text = path.to_str().unwrap().to_owned();
        (path, text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.coracle(&["rm", "-fa"]).output();
        self.coracle(&["volume", "prune", "-fa"]).output();
    }
}

macro_rules! needs_images {
    () => {
        requires!(UserNamespaces, Image("busybox", "latest"), Image("busybox", "volume"));
    };
}

#[test]
fn a_named_volume_outlives_its_containers() {
    needs_images!();
    let p = Place::new();
    p.sh(&["-v", "data:/d"], "echo kept >/d/file; chown 33:33 /d/file");
    assert_eq!(
        p.sh(
            &["--mount", "src=data,dst=/e,ro"],
            "cat /e/file; stat -c %u /e/file; touch /e/x 2>&1 | tail -c 24"
        ),
        "kept\n33\n: Read-only file system"
    );
    assert_eq!(p.ok(&["volume", "create", "data"]), "data", "there already, as docker has it");
    assert_eq!(p.ok(&["volume", "create", "--label", "a=b", "-l", "c", "other"]), "other");
    assert_eq!(p.ok(&["volume", "create"]).len(), 64);
    let all = p.volumes();
    assert!(all.len() == 3 && all.contains(&"data".into()) && all.contains(&"other".into()));
    // docker's shape.
    let told: Value = serde_json::from_str(&p.ok(&["volume", "inspect", "other"])).unwrap();
    assert_eq!(told[0]["Labels"], serde_json::json!({"a": "b", "c": ""}));
    assert_eq!((&told[0]["Driver"], &told[0]["Scope"]), (&"local".into(), &"local".into()));
    let place = p.home.store().join("volumes/other/_data");
    assert_eq!(told[0]["Mountpoint"], place.to_str().unwrap());
    assert_eq!(p.ok(&["inspect", "-f", "{{.Name}}", "--type", "volume", "data"]), "data");
    let list = |words: &[&str]| p.ok(&[&["volume", "ls"][..], words].concat());
    has(&list(&[]), &["DRIVER", "VOLUME NAME", "local    data"]);
    assert_eq!(
        list(&["--filter", "label=a=b", "--format", "{{.Name}} {{.Labels}}"]),
        "other a=b,c="
    );
    assert_eq!(list(&["-qf", "name=dat"]), "data");
    p.coracle(&["volume", "ls", "--filter", "colour=red"]).fails(125);
    p.ok(&["volume", "exists", "data"]);
    p.coracle(&["volume", "exists", "nothing"]).fails(1);
    // Of a container, running or not.
    p.run(&p.busybox, &["--name", "user", "-v", "data:/d:z"], "true").ok();
    assert_eq!(list(&["-qf", "dangling=false"]), "data");
    has(&list(&["-qf", "dangling=true"]), &["other"]);
    has(&p.coracle(&["volume", "rm", "data"]).fails(1), &["volume is in use - [", "coracle rm "]);
    assert_eq!(p.ok(&["ps", "-aq", "--filter", "volume=data"]).len(), 12);
    assert_eq!(p.ok(&["ps", "-a", "--format", "{{.Mounts}} {{.LocalVolumes}}"]), "data 1");
    let mount = |field: &str| {
        p.ok(&["inspect", "-f", &format!("{{{{(index .Mounts 0).{field}}}}}"), "user"])
    };
    let fields = ["Type", "Name", "Driver", "Destination", "Mode", "RW"].map(mount);
    assert_eq!(fields, ["volume", "data", "local", "/d", "z", "true"]);
    p.ok(&["rm", "-v", "user"]);
    let all: Value = serde_json::from_str(&p.ok(&["volume", "inspect", "--all"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3);
    assert_eq!(p.ok(&["volume", "rm", "data", "other"]), "data\nother", "rm -v leaves names");
    p.ok(&["volume", "create", "free"]);
    p.run(&p.busybox, &["--name", "user", "-v", "bound:/d"], "true").ok();
    has(&p.ok(&["volume", "rm", "--all"]), &["free"]);
    assert_eq!(p.volumes(), ["bound"]);
    p.ok(&["rm", "user"]);
    p.ok(&["volume", "rm", "bound"]);
    has(&p.coracle(&["volume", "rm", "data"]).fails(1), &["no such volume: data"]);
    p.ok(&["volume", "rm", "-f", "data"]);
    for words in [&["volume", "create", "a/b"][..], &["volume", "create", "-d", "nfs", "xx"]] {
        p.coracle(words).fails(125);
    }
    has(
        &p.coracle(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "xx"]).fails(1),
        &["type tmpfs"],
    );
    assert!(p.ok(&["volume", "prune", "-f"]).contains("reclaimed space: 0B"), "named ones stay");
    let unnamed = p.ok(&["volume", "create"]);
    has(&p.ok(&["volume", "prune", "-f"]), &["Deleted Volumes:", &unnamed]);
    p.ok(&["volume", "create", "named"]);
    has(&p.ok(&["volume", "prune", "-af"]), &["Deleted Volumes:", "named"]);
    assert_eq!(p.volumes(), Vec::<String>::new());
}

#[test]
fn an_empty_volume_begins_with_the_images_files() {
    needs_images!();
    let p = Place::new();
    let look = "stat -c '%n %u:%g %a' /data /data/kept; cat /data/kept";
    let want = "/data 1000:1000 770\n/data/kept 1000:1000 644\nfrom the image";
    p.ok(&["volume", "create", "data"]);
    assert_eq!(p.filled(&["-v", "data:/data"], look), want);
    // Not again: what the user has changed stays changed.
    assert_eq!(p.filled(&["-v", "data:/data"], "echo mine >/data/kept; touch /data/new"), "");
    assert_eq!(p.filled(&["-v", "data:/data"], "cat /data/kept; ls /data"), "mine\nkept\nnew");
    for flag in [["-v", "none:/data:nocopy"], ["--mount", "src=nomore,dst=/data,volume-nocopy"]] {
        assert_eq!(p.filled(&flag, "ls -A /data"), "", "{flag:?}");
    }
    // A container that runs sees what another brings, and keeps what it wrote itself.
    p.run(&p.busybox, &["-d", "--name", "first", "-v", "shared:/s"], "sleep 600").ok();
    p.filled(&["-v", "shared:/data"], "true");
    assert_eq!(p.ok(&["exec", "first", "cat", "/s/kept"]), "from the image");
    // What a killed coracle did not bring to its place is brought there.
    let place = p.home.store().join("volumes/half");
    p.ok(&["volume", "create", "half"]);
    fs::create_dir_all(place.join("filling/rubbish")).unwrap();
    fs::create_dir_all(place.join("fill/deep")).unwrap();
    fs::write(place.join("fill/late"), "late\n").unwrap();
    fs::write(place.join("_data/early"), "early\n").unwrap();
    assert_eq!(p.filled(&["-v", "half:/data"], "ls /data"), "deep\nearly\nlate");
    assert!(!place.join("fill").exists());
}

#[test]
fn volumes_without_names_go_with_their_containers() {
    needs_images!();
    let p = Place::new();
    assert_eq!(
        p.filled(&["-v", "/own"], "cat /data/kept; touch /own/x /fresh/volume/x"),
        "from the image"
    );
    assert_eq!(p.filled(&["--read-only"], "touch /data/x /fresh/volume/x && echo ok"), "ok");
    assert_eq!(p.volumes(), Vec::<String>::new(), "--rm");
    p.run(&p.filled, &["--rm"], "no-such-command").output();
    p.coracle(&["run", "--rm", "--network", "none", &p.filled, "no-such-command"]).fails(127);
    assert_eq!(p.volumes(), Vec::<String>::new(), "what never ran");
    p.run(&p.filled, &["-d", "--name", "one", "-v", "/own"], "echo its >/own/file; sleep 600").ok();
    assert_eq!(p.volumes().len(), 3);
    assert_eq!(
        p.ok(&["volume", "ls", "-qf", "label=com.docker.volume.anonymous"]).lines().count(),
        3
    );
    // Another has them too, and its own in place of one.
    let other = ["--volumes-from", "one:ro", "-v", "mine:/data"];
    let script = "ls /data; touch /own/x 2>&1 | tail -c 24; cat /own/file";
    assert_eq!(
        p.run(&p.busybox, &[&other[..], &["--name", "two"]].concat(), script).ok(),
        ": Read-only file system\nits"
    );
    p.ok(&["rm", "-fv", "one"]);
    assert_eq!(p.volumes().len(), 3, "two are the other's too, and mine");
    // Started again it has the same ones.
    assert_eq!(p.ok(&["start", "-a", "two"]), ": Read-only file system\nits");
    p.ok(&["rm", "two"]);
    assert_eq!(p.volumes().len(), 3);
    has(&p.ok(&["volume", "prune", "-f"]), &["Deleted Volumes:", "Total reclaimed space: "]);
    assert_eq!(p.volumes(), ["mine"]);
    // They go with a container that was made and never started, too.
    p.coracle(&["create", "--name", "new", "--network", "none", &p.filled]).ok();
    assert_eq!(p.volumes().len(), 3);
    p.ok(&["rm", "-v", "new"]);
    assert_eq!(p.volumes(), ["mine"]);
}

#[test]
fn files_of_any_owner_are_measured_and_removed() {
    needs_images!();
    let p = Place::new();
    let script = "mkdir -m 0 /d/closed; echo text >/d/file; chown 33:33 /d/file /d/closed";
    p.sh(&["-v", "data:/d"], script);
    p.ok(&["volume", "rm", "data"]);
    let tmp: Vec<_> = fs::read_dir(p.home.store().join("tmp")).unwrap().flatten().collect();
    assert!(tmp.is_empty(), "{tmp:?}");
    p.sh(&["-v", "more:/d"], "dd if=/dev/zero of=/d/big bs=1000 count=3000 2>&1; chmod 0 /d");
    has(&p.ok(&["volume", "prune", "-af"]), &["more", "Total reclaimed space: 3MB"]);
}

#[test]
fn host_directories_in_every_manner() {
    needs_images!();
    let p = Place::new();
    let (path, text) = p.directory("src");
    fs::write(path.join("file"), "host\n").unwrap();
    let bind = |options: &str| format!("{text}:/b:{options}");
    // Thrown away at the end, whatever was written or removed.
    let script = "cat /b/file; rm /b/file; echo new >/b/new; ls /b";
    assert_eq!(p.sh(&["-v", &bind("O")], script), "host\nnew");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    p.run(&p.busybox, &["--name", "again", "-v", &bind("O")], "ls /b; touch /b/new").ok();
    assert_eq!(p.ok(&["start", "-a", "again"]), "file", "from the beginning");
    let flags = p.sh(&["-v", &bind("nosuid,nodev,noexec")], "grep ' /b ' /proc/mounts");
    has(&flags, &["nosuid", "nodev", "noexec"]);
    // Given to the container's user, who can write to it.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let own = p.sh(
        &["-u", "1234:1234", "-v", &bind("U")],
        "stat -c %u:%g /b /b/file; touch /b/x && echo ok",
    );
    assert_eq!(own, "1234:1234\n1234:1234\nok");
    p.sh(&["-v", &bind("U")], "rm /b/x"); // root's, which is the user's, again
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "host\n");
    // The caller's own number is another's in a range, who may not write there.
    let uid = rustix::process::geteuid().to_string();
    let flags = ["-u", &uid, "-v", &bind("rw")];
    let told = p.run(&p.busybox, &flags, "touch /b/y || true").output().stderr;
    assert_eq!(told.contains("--userns host-id"), pass() == "range", "{told}");
    let told = p.run(&p.busybox, &["-u", &uid, "-v", &bind("ro")], "true").output().stderr;
    assert_eq!(told, "");
    // Refused with the reason.
    if !matches!(&*pass(), "own" | "root") {
        let refused = p.run(&p.busybox, &["-v", &bind("idmap")], "true").fails(125);
        has(&refused, &["keeps idmapped mounts from users"]);
    }
    let name = format!("volume={text}");
    p.run(&p.busybox, &["--name", "user", "-v", &bind("ro,rslave")], "true").output();
    if p.ok(&["ps", "-aq", "-f", &name]).lines().count() == 2 {
        // The host passes mounts on: docker's words for it.
        let point = "{{range .Mounts}}{{.Type}} {{.Propagation}} {{.RW}}{{end}}";
        assert_eq!(p.ok(&["inspect", "-f", point, "user"]), "bind rslave false");
    }
    let (own, target) = (path.join("dev"), "type=none");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("there"), "").unwrap();
    let device = format!("device={}", own.display());
    p.ok(&["volume", "create", "-o", target, "-o", "o=bind", "-o", &device, "bound"]);
    assert_eq!(p.filled(&["-v", "bound:/data"], "ls /data"), "there");
    p.ok(&["volume", "rm", "bound"]);
    assert!(own.join("there").exists(), "the user's own");
}

#[test]
fn mount_takes_every_type() {
    needs_images!();
    let p = Place::new();
    let mount = |text: &str, script: &str| p.sh(&["--mount", text], script);
    let image = format!("type=image,source={},target=/i", p.filled);
    let look = "cat /i/data/kept; stat -c %u /i/data; touch /i/x 2>&1 | tail -c 24";
    assert_eq!(mount(&image, look), "from the image\n1000\n: Read-only file system");
    let part = format!("{image},image-subpath=data");
    assert_eq!(
        mount(&part, "ls /i; touch /i/x 2>&1 | tail -c 24"),
        "kept\n: Read-only file system"
    );
    assert_eq!(mount(&format!("{image},rw"), "echo x >/i/data/kept; cat /i/data/kept"), "x");
    assert_eq!(mount(&image, "cat /i/data/kept"), "from the image");
    assert_eq!(
        p.sh(&["--storage-driver", "copy", "--mount", &image], "cat /i/data/kept"),
        "from the image"
    );
    // An image that is mounted is not removed.
    p.run(&p.busybox, &["--name", "user", "--mount", &image], "true").ok();
    has(&p.coracle(&["rmi", &p.filled]).fails(1), &["container"]);
    let point = "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{end}}";
    assert_eq!(p.ok(&["inspect", "-f", point, "user"]), "image /i false");
    has(&mount("type=ramfs,dst=/r", "grep ' /r ' /proc/mounts"), &["ramfs"]);
    has(&mount("type=devpts,dst=/pts,max=5", "grep ' /pts ' /proc/mounts"), &["devpts", "max=5"]);
    let tmpfs = p.sh(&["--tmpfs", "/data:tmpcopyup,nr_inodes=77"], "df -i /data | tail -1");
    has(&tmpfs, &["77"]);
    assert_eq!(p.filled(&["--tmpfs", "/data:tmpcopyup"], "ls /data"), "kept");
    p.sh(&["-v", "data:/d"], "mkdir -p /d/a/b; echo deep >/d/a/b/c");
    assert_eq!(mount("src=data,dst=/s,volume-subpath=a/b", "cat /s/c; ls /s"), "deep\nc");
    assert_eq!(mount("src=data,dst=/s,subpath=a/b/c", "cat /s"), "deep");
    let missing = p.run(&p.busybox, &["--mount", "src=data,dst=/s,subpath=no"], "true").fails(125);
    has(&missing, &["no below"]);
    for wrong in ["type=glob,src=/x,dst=/y", "dst=/y,colour=red", "type=image,dst=/y"] {
        p.run(&p.busybox, &["--mount", wrong], "true").fails(125);
    }
    has(&p.run(&p.busybox, &["-v", "a1:/x", "-v", "a2:/x"], "true").fails(125), &["/x"]);
}

#[test]
fn two_at_once_lose_nothing() {
    needs_images!();
    let p = Place::new();
    // All of them find the whole copy, whoever made it.
    thread::scope(|scope| {
        let run = || p.filled(&["-v", "data:/data"], "cat /data/kept; stat -c %u /data");
        let all: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), "from the image\n1000");
        }
    });
    // A volume is removed, or used; never both.
    for _ in 0..5 {
        p.ok(&["volume", "create", "race"]);
        thread::scope(|scope| {
            let run = scope.spawn(|| p.sh(&["-v", "race:/r"], "echo x >/r/file && cat /r/file"));
            p.coracle(&["volume", "rm", "-f", "race"]).output();
            assert_eq!(run.join().unwrap(), "x");
        });
    }
}

#[test]
fn a_kill_while_a_volume_is_filled() {
    needs_images!();
    let p = Place::new();
    let rounds = std::env::var("CORACLE_KILLS").ok().and_then(|it| it.parse().ok()).unwrap_or(6);
    for round in 0..rounds {
        let name = format!("v{round}:/data");
        let mut run = p
            .coracle(&["run", "--rm", "--network", "none", "-v", &name, &p.filled, "true"])
            .spawn();
        thread::sleep(std::time::Duration::from_millis(4 * (round % 12) + 2));
        let _ = run.child.kill();
        let _ = run.child.wait();
        let kept = p.filled(&["-v", &name], "cat /data/kept; stat -c %u /data");
        assert_eq!(kept, "from the image\n1000", "{round}");
    }
    p.ok(&["ps", "-a"]); // what is left is cleared away
    p.ok(&["volume", "prune", "-f"]);
    let named = p.volumes();
    assert_eq!(named.len(), usize::try_from(rounds).unwrap(), "{named:?}");
}

#[test]
fn unshare_is_root_over_all_files_and_may_mount() {
    needs_images!();
    let p = Place::new();
    if pass() == "root" {
        return; // who has no need of it
    }
    p.run(&p.busybox, &["--name", "one"], "echo text >/file; chown 33:33 /file").ok();
    has(
        &p.coracle(&["mount", "one"]).fails(125),
        &["cannot run command \"coracle mount\" in rootless mode, must execute `coracle unshare`"],
    );
    let coracle = crate::support::binary().display().to_string();
    let inside =
        |script: &str| p.coracle(&["unshare", "sh", "-ec", &script.replace("coracle", &coracle)]);
    assert_eq!(inside("id -u; echo $CORACLE_UNSHARED").ok().lines().count(), 2);
    let text = inside("m=$(coracle mount one); cat $m/file; echo more >>$m/file; coracle mount; coracle umount one; ls -A $m 2>&1").output();
    has(&text.stdout, &["text\n", "/mounted/merged\n"]);
    assert_eq!(p.ok(&["start", "-a", "one"]), "", "{text}");
    assert_eq!(
        inside(&format!("cat $(coracle image mount {})/data/kept", p.filled)).ok(),
        "from the image"
    );
    // All of them, and away again though something is in there.
    let script = "coracle image mount --all; cd $(coracle image mount IMAGE); \
                  coracle image unmount IMAGE 2>/dev/null || echo busy; coracle image unmount -f IMAGE >/dev/null; \
                  cat data/kept; coracle image unmount --all >/dev/null; coracle image mount";
    let all = p.coracle(&["images", "-q"]).ok().lines().count();
    let told = inside(&script.replace("IMAGE", &p.filled)).ok();
    assert_eq!(told.lines().skip(all).collect::<Vec<_>>(), ["busy", "from the image"], "{told}");
    // One that runs is shown as it is.
    p.run(&p.busybox, &["-d", "--name", "two"], "echo live >/file; sleep 600").ok();
    crate::support::until("the file", || {
        p.coracle(&["exec", "two", "cat", "/file"]).output().stdout == "live\n"
    });
    let script = "m=$(coracle mount two); cat $m/file; (echo >$m/x) 2>/dev/null || echo refused";
    assert_eq!(inside(script).ok(), "live\nrefused");
    if pass() == "range" {
        // Files of subordinate ids are root's own in there, and coracle finds its images.
        p.sh(&["-v", "data:/d"], "mkdir -m 700 /d/deep; chown 33:33 /d/deep");
        let find = "stat -c %u $(coracle volume inspect -f '{{.Mountpoint}}' data)/deep";
        assert_eq!(inside(find).ok(), "33");
        let run = format!("coracle run --rm --network none {} cat /data/kept", p.filled);
        assert_eq!(inside(&run).ok(), "from the image");
        assert_eq!(p.filled(&[], "cat /data/kept"), "from the image");
    }
    p.coracle(&["unshare", "no-such-program"]).fails(127);
    p.coracle(&["unshare", "sh", "-c", "exit 7"]).fails(7);
}

/// A volume's files as an archive, and an archive's files in a volume: whose they are with them.
#[test]
fn a_volume_goes_out_and_in_again() {
    requires!(UserNamespaces, Image("busybox", "latest"), Image("busybox", "volume"));
    let p = Place::new();
    let script = "cd /v; mkdir -m 750 in; echo x >in/file; chown 33:42 in in/file; ln -s in link; \
        ln in/file in/hard; touch -d @1000000000 in/file";
    p.sh(&["-v", "data:/v"], script);
    let tar = p.home.path().join("data.tar").display().to_string();
    p.ok(&["volume", "export", "-o", &tar, "data"]);
    let out = p.coracle(&["volume", "export", "data"]).output();
    has(&out.stdout, &["in/file", "ustar"]);
    p.ok(&["volume", "create", "other"]);
    p.sh(&["-v", "other:/v"], "echo old >/v/link; echo stays >/v/there");
    p.ok(&["volume", "import", "other", &tar]);
    let look = "cd /v; stat -c '%n %a %u:%g %h %Y' in/file in/hard | sort; readlink link; cat there in/file";
    let told = p.sh(&["-v", "other:/v"], look);
    let line = |name| format!("in/{name} 644 33:42 2 1000000000");
    assert_eq!(told, format!("{}\n{}\nin\nstays\nx", line("file"), line("hard")));
    assert_eq!(p.sh(&["-v", "other:/v"], "stat -c %a:%u /v/in"), "750:33");
    // Compressed, through a pipe.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &fs::read(&tar).unwrap()).unwrap();
    p.ok(&["volume", "create", "third"]);
    p.coracle(&["volume", "import", "third", "-"]).stdin(gzip.finish().unwrap()).ok();
    assert_eq!(p.sh(&["-v", "third:/v"], "cat /v/link/hard"), "x");
    // What no archive may do, and what is not there.
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..8].copy_from_slice(b"../evil\0");
    header.set_size(0);
    header.set_cksum();
    evil.append(&header, &[][..]).unwrap();
    let evil = evil.into_inner().unwrap();
    p.coracle(&["volume", "import", "third"]).stdin(evil).fails(1);
    assert!(!p.home.store().join("volumes/third/evil").exists());
    for words in [&["volume", "export", "nope"][..], &["volume", "import", "nope", &tar]] {
        has(&p.coracle(words).fails(1), &["nope"]);
    }
}
