//! Users and owners in a container. Both passes run all of it: with a range the kernel keeps the
//! ids, with one id coracle does, and nobody inside can tell.

use super::background::Background;
use super::{home_with_busybox, pulled, run_image, sh};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, has};

fn debian(flags: &[&str], script: &str) -> String {
    let image = pulled("debian", "12");
    let first = ["run", "--rm", "--network", "none"];
    let command = [image.as_str(), "sh", "-ec", script];
    let all: Vec<&str> = first.iter().chain(flags).chain(&command).copied().collect();
    Home::shared().coracle(all).ok()
}

/// Who gives up root has no capabilities, unless it keeps some, and can do no more than those say.
#[test]
fn capabilities_go_with_root() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script = r#"$| = 1;
        sub sets { my @v = unpack 'L6', $_[0]; sprintf "%x %x\n", $v[0] | $v[3] << 32, $v[1] | $v[4] << 32 }
        sub header { pack 'LL', 0x20080522, 0 }
        sub told { my ($h, $d) = (header, "\0" x 24); syscall 125, $h, $d; sets $d }
        sub set { my ($h, $d) = (header, pack 'L6', $_[0], $_[0], 0, 0, 0, 0); (syscall 126, $h, $d) == 0 ? 'set ' : "$! " }
        sub becomes { (syscall 117, $_[0], $_[0], $_[0]) == 0 ? "becomes $_[0]\n" : "$!\n" }
        sub child { my $pid = fork; if (!$pid) { $_[0]->(); exit } waitpid $pid, 0 }
        print told;
        child sub { becomes 33; print told, set(1 << 10), told, set(0), told, becomes 0 };
        child sub { becomes 33; exec 'perl', '-e', 'my ($h, $d) = (pack("LL", 0x20080522, $$), "1" x 24);
            syscall 125, $h, $d; print unpack("L", $d), "\n"' };
        for my $kept (7, 10) {
            child sub { syscall 157, 8, 1, 0, 0, 0; becomes 33; print set(1 << $kept), told, becomes 5 };
        }
    "#;
    let told = debian(&[], &format!("exec perl -e '{}'", script.replace('\'', "'\\''")));
    let expected = "a80425fb a80425fb\n0 0\nOperation not permitted 0 0\nset 0 0\nOperation not permitted\n0\n\
        set 80 80\nbecomes 5\nset 400 400\nOperation not permitted";
    assert_eq!(told, expected);
}

/// One process and one program, so that nothing of it is remembered by a shell.
#[test]
fn what_a_process_did_it_is_told() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script = r#"
        open my $f, '>', '/f'; close $f;
        chown 33, 34, '/f' or die "chown: $!";
        my @s = stat '/f'; print "$s[4]:$s[5]\n";
        open $f, '<', '/f'; @s = stat $f; print "$s[4]:$s[5]\n";
        $) = '34 34 44'; $( = 34; $> = 33; $< = 33;
        print "$<:$> ", join(',', sort split / /, $)), "\n";
        print chown(0, 0, '/f') ? "given away\n" : "kept: $!\n";
        $> = 0; print $> == 0 ? "root again\n" : "no way back\n";
    "#;
    let told = debian(&[], &format!("exec perl -e '{}'", script.replace('\'', "'\\''")));
    assert_eq!(told, "33:34\n33:34\n33:33 34,34,44\nkept: Operation not permitted\nno way back");
}

#[test]
fn owners_are_kept_by_the_usual_tools() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script = "cd /tmp; mkdir -p d/e; touch d/e/f; ln -s f d/e/l; chown -hR 33:34 d
        install -o 5 -g 6 -m 4755 /bin/true i; cp -a d copy; tar cf t d i; mkdir x; tar xpf t -C x
        stat -c '%n %u:%g %a' d/e/f d/e/l copy/e i x/d/e/f x/d/e/l x/i
        chown 7 i; stat -c '%u %a' i; mv i j; stat -c %u j; ln j k; stat -c %u:%h k
        chown 0:0 j; stat -c %u:%g k; echo $(find . -user 33 | sort)";
    let kept = "d/e/f 33:34 644\nd/e/l 33:34 777\ncopy/e 33:34 755\ni 5:6 4755\n\
        x/d/e/f 33:34 644\nx/d/e/l 33:34 777\nx/i 5:6 4755\n7 755\n7\n7:2\n0:0\n\
        ./copy ./copy/e ./copy/e/f ./copy/e/l ./d ./d/e ./d/e/f ./d/e/l ./x/d ./x/d/e \
        ./x/d/e/f ./x/d/e/l ";
    assert_eq!(debian(&[], script), kept.trim_end());
}

#[test]
fn users_are_made_and_become_others() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script =
        "useradd -m joe; su joe -c 'id; touch ~/own; mkdir ~/dir; umask 077; echo x >~/closed'
        stat -c '%U:%G %a' /home/joe /home/joe/own /home/joe/dir /home/joe/closed
        cp /usr/bin/id /usr/local/bin/id2; chmod 4755 /usr/local/bin/id2
        su joe -c 'id2 -u; id2 -ru'; setpriv --reuid 33 --regid 33 --clear-groups id -G";
    has(
        &debian(&[], script),
        &[
            "uid=1000(joe) gid=1000(joe) groups=1000(joe)",
            "joe:joe 755\njoe:joe 644\njoe:joe 755\njoe:joe 600",
            "0\n1000\n33",
        ],
    );
    let kept = "cp /usr/bin/id /id2; chmod 4755 /id2; setpriv --reuid 33 --clear-groups /id2 -u";
    assert_eq!(debian(&["--security-opt", "no-new-privileges"], kept), "33");
}

#[test]
fn the_image_s_users_start_as_themselves() {
    requires!(UserNamespaces, Image("debian", "12"));
    let who = "id -u; id -g; touch /tmp/f; stat -c %u:%g /tmp/f; stat -c %U /etc/passwd";
    assert_eq!(debian(&["-u", "33:34"], who), "33\n34\n33:34\nroot");
    assert_eq!(
        debian(&["-u", "4321"], "id -u; grep CapEff /proc/self/status"),
        "4321\nCapEff:\t0000000000000000"
    );
    assert_eq!(debian(&[], "stat -c %u:%g /etc/shadow"), "0:42");
}

/// busybox is a static program: nothing is preloaded into it.
#[test]
fn static_programs_are_told_the_same() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(
        sh(&[], "touch /f; chown 33:34 /f; stat -c %u:%g /f; ls -ln /f | cut -c1-10"),
        "33:34\n-rw-r--r--"
    );
}

#[test]
fn device_nodes_look_like_it() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() == "range" {
        return; // there the kernel says no, as it does to podman
    }
    assert_eq!(
        sh(&[], "mknod /n c 1 3; stat -c '%F %t:%T' /n; chown 5 /n; stat -c %u /n"),
        "character special file 1:3\n5"
    );
}

#[test]
fn an_exec_sees_the_container_s_owners() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::start(
        &home,
        "box",
        &["--network", "none"],
        &["sh", "-c", "touch /f; chown 33:34 /f; exec sleep 600"],
    );
    let sh = |flags: &[&str], script: &str| container.exec(flags, &["sh", "-c", script]).ok();
    crate::support::until("the owner", || sh(&[], "stat -c %u:%g /f") == "33:34");
    sh(&[], "touch /g; chown 5:6 /g");
    assert_eq!(sh(&[], "stat -c %u:%g /g"), "5:6");
    assert_eq!(sh(&["-u", "nonroot"], "id -u; touch /tmp/h; stat -c %u /tmp/h"), "1000\n1000");
}

/// Who is root by name has whatever number the image says: a container that was begun as if it were 0 is
/// begun again.
#[test]
fn root_by_name_is_who_the_image_says() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let passwd = "printf 'root:x:5:6::/:/bin/sh\nzero:x:0:0::/:/bin/sh\n' >/etc/passwd";
    home.coracle(["run", "--name", "odd", &image, "sh", "-c", passwd]).ok();
    home.coracle(["commit", "-q", "odd", "odd"]).ok();
    let ids = |user: &[&str]| {
        let all = [&["run", "--rm", "--network", "none"], user, &["odd", "sh", "-c"]].concat();
        let script = "echo $(id -u):$(id -g); touch /tmp/f && stat -c %u:%g /tmp/f";
        home.coracle(all.into_iter().chain([script])).ok()
    };
    assert_eq!(ids(&["-u", "root"]), "5:6\n5:6");
    assert_eq!(ids(&["-u", "zero"]), "0:0\n0:0");
    assert_eq!(ids(&[]), "0:0\n0:0");
}

#[test]
fn one_id_alone_is_the_kernel_s() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let image = pulled("busybox", "latest");
    let nomap = |flags: &[&str], script: &str| {
        let all: Vec<&str> = ["--userns", "nomap"].iter().chain(flags).copied().collect();
        run_image(&image, &all, &["sh", "-c", script]).output()
    };
    assert_ne!(nomap(&[], "touch /f; chown 33 /f 2>/dev/null").code(), 0);
    let status = "awk '/^[UG]id:/ {print $2}' /proc/self/status; grep -c . /proc/self/uid_map";
    assert_eq!(nomap(&["-u", "4321:5"], status).stdout, "4321\n5\n1\n");
}
