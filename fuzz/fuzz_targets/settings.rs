//! Files of a host's: registries.conf(5), a policy, resolv.conf(5), docker's daemon.json.
#![no_main]

use coracle::network::read_resolvers;
use coracle::registry::{Files, Registries};
use coracle::trust::Policy;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let paths = vec![file.path().to_owned()];
    let _ = Registries::read(&Files { main: paths.clone(), ..Files::default() });
    let _ = Registries::read(&Files { daemon: paths, ..Files::default() });
    let _ = Policy::read_from(file.path());
    let resolvers = read_resolvers(&String::from_utf8_lossy(text), |_| Some(1));
    assert!((1..=3).contains(&resolvers.count()));
});
