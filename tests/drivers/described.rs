//! Images of some layers more: the kernel's overlay has them as one tree of metadata, and shows and
//! writes what it does with the layers themselves.

use std::fs;

use super::deep::merged;
use crate::requires;
use crate::support::image::{Entry, Image, Tar};
use crate::support::registry::Registry;
use crate::support::{Home, Output};

/// More layers than are left as they are.
const MANY: usize = 36;

/// Both images hold the same: in the one a file is changed again and again.
fn images() -> [Image; 2] {
    let program = fs::read("/bin/busybox").unwrap();
    let long = "x".repeat(200);
    let base = Tar::new()
        .entry(&Entry { name: b"bin/busybox", mode: 0o755, data: &program, ..Default::default() })
        .symlink("bin/sh", "busybox")
        .directory("d", 0o2775)
        .file("d/kept", "kept")
        .file("d/removed", "removed")
        .file("d/empty", "")
        .hardlink("d/further", "d/kept")
        .hardlink("d/hidden", "d/kept")
        .symlink("d/link", "kept")
        .file(&format!("d/{long}/{long}"), "deep")
        .pax(&[("SCHILY.xattr.user.colour", b"blue"), ("SCHILY.xattr.user.large", &[b'l'; 3000])])
        .file("d/dressed", "dressed")
        .entry(&Entry { name: b"d/set", mode: 0o4755, data: b"set", ..Default::default() })
        .entry(&Entry { name: b"d/closed", mode: 0, data: b"closed", ..Default::default() })
        .entry(&Entry {
            name: b"d/owned",
            uid: b"1750",
            gid: b"1751",
            data: b"owned",
            ..Default::default()
        })
        .entry(&Entry { name: b"d/pipe", kind: b'6', uid: b"1750", ..Default::default() })
        .directory("e", 0o755)
        .file("e/hidden", "hidden")
        .file("large", &"a line of it\n".repeat(100_000));
    let above = Tar::new()
        .file("d/.wh.removed", "")
        .file("d/.wh.hidden", "")
        .file("e/.wh..wh..opq", "")
        .directory("e", 0o711)
        .file("e/new", "new");
    let again = |number: usize| Tar::new().file("again", &number.to_string()).finish();
    let (base, above) = (base.finish(), above.finish());
    let many = (0..MANY).map(again);
    let many: Vec<_> = [base.clone(), above.clone()].into_iter().chain(many).collect();
    [Image::of(&[base, above, again(MANY - 1)]), Image::of(&many)]
}

/// Everything is looked at, changed in all ways, and looked at again. `st_nlink` is that of the names
/// that are there: a layer's own counts those that are hidden too.
const SCRIPT: &str = r#"
export PATH=/bin
look() {
    busybox find /d /e /again /large | busybox sort | while read -r name; do
        busybox stat -c '%n %f %s %u %g %Y' "$name"
        busybox test ! -f "$name" -o -L "$name" || busybox md5sum "$name"
    done
}
look
busybox stat -c '%n %h' /d/owned /large /d/set
echo more >>/d/dressed
echo more >>/large
busybox chmod 600 /d/set
busybox chown 7:8 /d/kept
busybox touch -d @1000 /again
busybox mv /d/empty /d/closed /e/
busybox ln /d/owned /e/owned
busybox rm /d/link /e/new
busybox cp -p /e/closed /e/copied
busybox mkdir /d/made
busybox mv /d/xx* /d/made/ || echo no
busybox dd if=/dev/zero of=/large bs=1 count=3 seek=70000 conv=notrunc 2>/dev/null
busybox touch -d @1000 /d/dressed /large /d/made /d /e
look
"#;

fn changed(home: &Home, name: &str, image: &str) -> [String; 4] {
    let run = ["--storage-driver", "overlay", "run", "--name", name, "--network", "none", image];
    let shown = home.coracle(run.into_iter().chain(["sh", "-c", SCRIPT])).output();
    let of = |arguments: &[&str]| home.coracle(arguments).ok();
    let diff = of(&["diff", name]);
    let committed = format!("{name}-committed");
    of(&["commit", "-q", name, &committed]);
    let format = "{{range .RootFS.Layers}}{{.}} {{end}}";
    let layers = of(&["image", "inspect", "--format", format, &committed]);
    let layer = layers.split_whitespace().next_back().unwrap_or_default().to_owned();
    let exported = home.path().join(name);
    of(&["export", "-o", exported.to_str().unwrap(), name]);
    let list = |output: Output| format!("{}{}", output.stdout, output.stderr);
    [list(shown), diff, layer, crate::support::image::digest(&fs::read(exported).unwrap())]
}

#[test]
fn a_tree_of_metadata_is_what_its_layers_are() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let [few, many] = images();
    let [few, many] = [("few", &few), ("many", &many)].map(|(name, image)| {
        let reference = registry.push(name, "1", image);
        home.coracle(["pull", "-q", &reference]).ok();
        reference
    });
    let works = !home.coracle(["info"]).ok().contains("one layer for many:");
    assert_eq!(merged(&home), usize::from(works), "the image of many layers, where it is allowed");
    let [few, many_changed] =
        [("few", &few), ("many", &many)].map(|(name, image)| changed(&home, name, image));
    assert!(few[0].contains("/d/made") && few[0].lines().count() > 50, "{}", few[0]);
    for (what, (few, many)) in
        ["shown", "diff", "commit", "export"].iter().zip(few.iter().zip(&many_changed))
    {
        let first = few.lines().zip(many.lines()).find(|(few, many)| few != many);
        assert!(few == many, "{what}: {first:#?}\n{few}\n{many}");
    }
    if !works {
        return;
    }
    // An image mounts as it, too, and what is hurt in it is found and taken away.
    let mount = format!("cat $({} image mount {many})/d/kept", crate::support::binary().display());
    assert_eq!(home.coracle(["unshare", "sh", "-c", &mount]).ok(), "kept");
    home.coracle(["system", "check"]).ok();
    let tree = home.store().join("metadata/*/*/fs");
    let script = format!("/bin/cp --remove-destination {0}/d/owned {0}/d/set", tree.display());
    home.coracle(["unshare", "sh", "-c", &script]).ok();
    let output = home.coracle(["system", "check"]).output();
    assert!(output.stdout.contains("metadata/") && output.stdout.contains("d/set"), "{output}");
    home.coracle(["rm", "few", "many"]).ok();
    home.coracle(["system", "check", "--repair"]).ok();
    home.coracle(["pull", "-q", &many]).ok();
    assert_eq!(merged(&home), 1, "made again");
    home.coracle(["system", "check"]).ok();
    home.coracle(["rmi", &many]).ok();
    assert_eq!(merged(&home), 0, "gone with its image, though another has the layers");
    let left = ["run", "--rm", "--network", "none", "many-committed", "busybox", "cat", "/again"];
    assert_eq!(home.coracle(left).ok(), (MANY - 1).to_string());
}
