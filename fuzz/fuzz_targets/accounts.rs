//! An image's passwd(5) and group(5), a zero byte between them, and whom it runs as before them.
#![no_main]

use coracle::bundle::{HostAccount, User};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (user, passwd, group) = (String::from_utf8_lossy(part()), part(), part());
    if let Ok(user) = User::resolve(&user, passwd, group) {
        // -1 and what wraps to root is nobody's id.
        let ids = user.groups.iter().chain([&user.uid, &user.gid]);
        assert!(ids.into_iter().all(|id| i32::try_from(*id).is_ok()));
    }
    let _ = HostAccount::find(passwd, group, &user);
});
