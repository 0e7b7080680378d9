//! `cp`, both ways.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{home_with_tree, run};
use crate::drivers::DRIVERS;
use crate::requires;
use crate::support::{Home, has};

/// Starts a container that stays, and gives its name.
fn start<'a>(home: &Home, name: &'a str, flags: &[&str], image: &str) -> &'a str {
    let first = ["run", "-d", "--network", "none", "--name", name];
    home.coracle(first.iter().chain(flags).chain(&[image, "sleep", "1000"])).ok();
    name
}

fn list(home: &Home, container: &str) -> String {
    let script = "cd /w; find . | sort | tr '\\n' ' '";
    home.coracle(["exec", container, "sh", "-c", script]).ok()
}

#[test]
fn names_and_slashes_are_dockers() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    home.write("src/a", "a");
    home.write("src/sub/b", "b");
    let c = start(&home, "cc", &[], &image);
    let cp = |from: &str, to: &str| home.coracle(["cp", from, to]);
    let sh = |script: &str| home.coracle(["exec", c, "sh", "-ec", script]).ok();
    let fresh = || sh("rm -rf /w; mkdir -p /w/dir; echo old >/w/file; ln -s dir /w/link");
    let into = |from: &str, to: &str| {
        fresh();
        cp(from, &format!("cc:/w/{to}")).ok();
        list(&home, c)
    };
    let base = ". ./dir ./file ./link ";
    assert_eq!(into("src/a", "dir"), ". ./dir ./dir/a ./file ./link ");
    assert_eq!(into("src/a", "link"), ". ./dir ./dir/a ./file ./link ");
    assert_eq!(into("src/a", "new"), format!("{base}./new "));
    assert_eq!(into("src/a", "file"), base);
    assert_eq!(sh("cat /w/file"), "a");
    assert_eq!(
        into("src", "dir"),
        ". ./dir ./dir/src ./dir/src/a ./dir/src/sub ./dir/src/sub/b ./file ./link "
    );
    assert_eq!(into("src/.", "dir"), ". ./dir ./dir/a ./dir/sub ./dir/sub/b ./file ./link ");
    assert_eq!(into("src", "new"), format!("{base}./new ./new/a ./new/sub ./new/sub/b "));
    assert_eq!(into("src/.", "new/"), format!("{base}./new ./new/a ./new/sub ./new/sub/b "));
    has(&cp("src", "cc:/w/file").fails(1), &["cannot copy directory"]);
    has(&cp("src/a", "cc:/w/none/").fails(1), &["no such directory"]);
    has(&cp("src/a/", "cc:/w").fails(1), &["not a directory"]);
    has(&cp("src/none", "cc:/w").fails(1), &["lstat", "no such file or directory"]);
    has(&cp("src/a", "cc:/none/x").fails(1), &["Could not find the file /none in container cc"]);
    has(&cp("cc:/none", ".").fails(1), &["Could not find the file /none in container cc"]);
    has(&cp("cc:/w", "cc:/x").fails(125), &["copying between containers is not supported"]);
    has(&cp("src", "dst").fails(125), &["must specify at least one container source"]);
    has(&cp("src/a", "cc:/dev/null").fails(1), &["cannot copy to device"]);
    // Out again.
    fresh();
    sh("mkdir /w/dir/in; echo x >/w/dir/in/x; chmod 750 /w/dir/in; chown 33:42 /w/dir/in/x");
    fs::create_dir(home.path().join("out")).unwrap();
    cp("cc:/w/dir", "out").ok();
    cp("cc:/w/dir/.", "flat").ok();
    cp("cc:/w/file", "out/renamed").ok();
    cp("cc:w/link", "out").ok();
    home.coracle(["cp", "-L", "cc:/w/link", "out/followed"]).ok();
    let read = |path: &str| fs::read_to_string(home.path().join(path)).unwrap();
    assert_eq!((read("out/dir/in/x"), read("flat/in/x")), ("x\n".into(), "x\n".into()));
    assert_eq!(read("out/renamed"), "old\n");
    assert_eq!(fs::read_link(home.path().join("out/link")).unwrap().to_str(), Some("dir"));
    assert_eq!(read("out/followed/in/x"), "x\n");
    let mode = home.path().join("out/dir/in").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    home.coracle(["rm", "-f", c]).ok();
}

#[test]
fn it_goes_into_every_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    home.write("f", "word");
    home.write("bound/here", "");
    let bound = format!("{}:/bound", home.path().join("bound").display());
    for driver in DRIVERS {
        let first = ["--storage-driver", driver, "create", "--network", "none", "--name", driver];
        let flags = ["-v", &bound, "--tmpfs", "/tmpfs"];
        let command = [image.as_str(), "sh", "-c", "cat /f /bound/f; sleep 1000"];
        home.coracle(first.iter().chain(&flags).chain(&command)).ok();
        // It does not run yet.
        home.coracle(["cp", "f", &format!("{driver}:/")]).ok();
        home.coracle(["cp", "f", &format!("{driver}:/bound")]).ok();
        home.coracle(["cp", &format!("{driver}:/t/kept/f"), "out"]).ok();
        assert_eq!(fs::read_to_string(home.path().join("out")).unwrap(), "old\n");
        assert_eq!(home.coracle(["diff", driver]).ok(), "A /f", "{driver}");
        let status = ["inspect", "--format", "{{.State.Status}}", driver];
        assert_eq!(home.coracle(status).ok(), "created");
        home.coracle(["start", driver]).ok();
        home.coracle(["cp", "f", &format!("{driver}:/tmpfs/g")]).ok();
        let told = home.coracle([
            "exec",
            driver,
            "sh",
            "-c",
            "cat /f /bound/f /tmpfs/g; stat -c %u:%g /f",
        ]);
        assert_eq!(told.ok(), "wordwordword0:0", "{driver}");
        assert_eq!(fs::read_to_string(home.path().join("bound/f")).unwrap(), "word");
        home.coracle(["rm", "-f", driver]).ok();
        fs::remove_file(home.path().join("bound/f")).unwrap();
    }
}

#[test]
fn what_is_read_only_stays_so() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    home.write("f", "word");
    let bound = format!("{}:/bound:ro", home.path().display());
    let c = start(&home, "ro", &["--read-only", "--tmpfs", "/tmp", "-v", &bound], &image);
    has(&home.coracle(["cp", "f", "ro:/t"]).fails(1), &["container rootfs is marked read-only"]);
    has(&home.coracle(["cp", "f", "ro:/bound"]).fails(1), &["mounted volume is marked read-only"]);
    home.coracle(["cp", "f", "ro:/tmp"]).ok();
    home.coracle(["rm", "-f", c]).ok();
}

#[test]
fn archives_go_in_and_out_with_their_owners() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/tar"));
    let (home, image) = home_with_tree();
    let script =
        "cd /t; chown 33:42 deep; chown 1000:1000 deep/er/same; ln -s a deep/l; mkfifo deep/p";
    run(&home, &["--name", "from"], &image, script);
    let c = start(&home, "to", &[], &image);
    let coracle = crate::support::binary().display().to_string();
    let shell = |script: &str| {
        let mut shell = Command::new("/bin/bash");
        shell.args(["-o", "pipefail", "-ec", script]);
        home.run(shell)
    };
    let list =
        shell(&format!("{coracle} cp from:/t/deep - | /usr/bin/tar --numeric-owner -tv")).ok();
    has(&list, &["drwxr-xr-x 33/42", "1000/1000", " deep/er/same", "prw-r--r-- 0/0"]);
    let stat = |container: &str, path: &str| {
        home.coracle([
            "exec",
            container,
            "sh",
            "-c",
            &format!("cd {path}; stat -c '%n %u:%g' . er/same l p"),
        ])
        .ok()
    };
    shell(&format!("{coracle} cp from:/t/deep - | {coracle} cp -a - to:/t/emptied")).ok();
    assert_eq!(stat(c, "/t/emptied/deep"), ". 33:42\ner/same 1000:1000\nl 0:0\np 0:0");
    shell(&format!("{coracle} cp from:/t/deep - | {coracle} cp - to:/t/gone")).ok();
    assert_eq!(stat(c, "/t/gone/deep"), ". 0:0\ner/same 0:0\nl 0:0\np 0:0");
    let refused =
        shell(&format!("{coracle} cp from:/t/deep - | {coracle} cp - to:/t/kept/f")).fails(1);
    has(&refused, &["destination \"to:/t/kept/f\" must be a directory"]);
    shell(&format!("echo rubbish | {coracle} cp - to:/t")).fails(1);
    home.coracle(["rm", "-f", c]).ok();
}
