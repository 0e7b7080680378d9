//! Keys, and signatures as they lie beside an image.
#![no_main]

use coracle::oci::Digest;
use coracle::reference::Reference;
use coracle::trust::{Demand, Identity, Key, Signature, Subject, Verdict};

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut keys: Vec<Key> = Key::parse("it", bytes).into_iter().collect();
    keys.extend(Key::parse("ours", KEY.as_bytes()));
    assert!(!keys.is_empty());
    let by = "the target".to_owned();
    let demand = Demand { keys, identity: Identity::RepositoryIfSaid, by, again: false };
    let asked: Reference = "registry.example/app:1".parse().expect("a reference");
    let subject = Subject { digest: Digest::of(b"app"), bytes: b"app".to_vec() };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let simple = Signature::Simple { payload: bytes.to_vec(), signature: text };
    for signature in [Signature::Bundle(bytes.to_vec()), simple] {
        let verdict = demand.judge(&signature, &asked, std::slice::from_ref(&subject));
        assert_ne!(verdict, Verdict::Good, "nobody signed it");
    }
});
