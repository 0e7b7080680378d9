//! A compiler is installed by a package manager, and a C project is built and tested by it: with the
//! same result on every driver.

use std::thread;

use super::DRIVERS;
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, fixtures, image};

/// apt's own source is the directory of packages; what came out is listed without the log, which
/// has the time in it.
const SCRIPT: &str = r"
rm -f /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/debs ./' >/etc/apt/sources.list
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io gcc libc6-dev make >/tmp/apt 2>&1 ||
    { cat /tmp/apt; exit 1; }
mkdir /zlib; cd /zlib; tar -xf /debs/zlib.tar --no-same-owner
export CFLAGS=-O0
{ ./configure && make && make check; } >/tmp/made 2>&1 || { tail -50 /tmp/made; exit 1; }
grep 'test OK' /tmp/made
make install >/dev/null
find . /usr/local /usr/include -type f ! -name configure.log -print0 | sort -z | xargs -0 sha256sum | sha256sum
# How many names a merged directory has, overlayfs does not count.
find . /usr ! -name configure.log \( -type d -printf '%p %m\n' -o -printf '%p %y %m %n %l\n' \) | sort | sha256sum
";

#[test]
fn a_compiler_and_a_project_on_every_driver() {
    if pass() == "plain" {
        return; // once is enough: what differs with one id, `flow::ids` installs servers for
    }
    requires!(UserNamespaces, Image("debian", "12"), Fixture("compiler/zlib.tar"));
    let home = Home::new();
    let image = image("debian", "12");
    home.coracle(["pull", "-q", &image]).ok();
    let debs = format!("{}:/debs:ro", fixtures().join("compiler").display());
    let build = |driver: &str| {
        let first = ["--storage-driver", driver, "run", "--rm", "--network", "none", "-v", &debs];
        let command = [&image, "bash", "-ec", SCRIPT];
        home.coracle(first.into_iter().chain(command)).timeout_s(600).ok()
    };
    // At once: each of them waits now and then.
    let told = thread::scope(|scope| {
        let threads = DRIVERS.map(|driver| scope.spawn(move || build(driver)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(told[0].matches("zlib test OK").count(), 1, "{}", told[0]);
    assert_eq!(told[0].matches("64-bit test OK").count(), 1, "{}", told[0]);
    for (driver, text) in DRIVERS.iter().zip(&told) {
        assert_eq!(text, &told[0], "{driver}");
    }
}
