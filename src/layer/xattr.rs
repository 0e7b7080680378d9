//! Which extended attributes of an image go where.

/// What becomes of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is set as it is.
    Set,
    /// Only root of a user namespace may set it; recorded where there is none.
    Privileged,
    /// It would steer the host's or our own machinery (CVE-2023-0386 and kin).
    Dropped,
}

/// Prefix under which attributes are recorded that could not be set.
pub const RECORDED: &str = "user.coracle.xattr.";
/// overlayfs: `y` hides what lies below a directory, `x` says it holds [`XWHITEOUT`]s.
pub const OPAQUE: &str = "user.overlay.opaque";
/// overlayfs: a file's data is elsewhere, where [`REDIRECT`] says.
pub const METACOPY: &str = "user.overlay.metacopy";
/// overlayfs: a path in a data-only layer, from its root.
pub const REDIRECT: &str = "user.overlay.redirect";
/// overlayfs: an empty file with this attribute is a whiteout.
pub(super) const XWHITEOUT: &str = "user.overlay.whiteout";

/// The fate of an attribute by its name.
pub(super) fn fate(name: &[u8]) -> Fate {
    const STEERING: [&[u8]; 5] = [
        b"user.overlay.",
        b"user.fuseoverlayfs.",
        b"user.containers.",
        b"user.coracle.",
        b"trusted.",
    ];
    let steers = STEERING.iter().any(|prefix| name.starts_with(prefix));
    if steers || name == b"security.selinux" || name.contains(&0) {
        Fate::Dropped
    } else if name.starts_with(b"user.") {
        Fate::Set
    } else if name.starts_with(b"security.") || name.starts_with(b"system.") {
        Fate::Privileged
    } else {
        Fate::Dropped // a namespace no kernel has
    }
}

/// A file capability as root of the namespace sets it: the kernel itself adds whose root it is.
pub(super) fn without_root_id(name: &[u8], value: &[u8]) -> Vec<u8> {
    const VERSION_2: [u8; 4] = [0, 0, 0, 2];
    let is_version_3 = value.len() == 24 && value[3] == 3;
    if name != b"security.capability" || !is_version_3 {
        return value.to_vec();
    }
    // Only the effective flag of the first byte is kept beside the version.
    let mut rewritten = value[..20].to_vec();
    rewritten[..4].copy_from_slice(&VERSION_2);
    rewritten[0] = value[0] & 1;
    rewritten
}

/// The name under which a layer ships an attribute that a file on disk has; `None` for what the host
/// or coracle keeps there.
pub(super) fn shipped(name: &[u8]) -> Option<&[u8]> {
    if let Some(recorded) = name.strip_prefix(RECORDED.as_bytes()) {
        return (fate(recorded) == Fate::Privileged).then_some(recorded);
    }
    // Labels and signatures are the host's; only these three are the files' own.
    let own =
        [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"];
    match fate(name) {
        Fate::Set => Some(name),
        Fate::Privileged => own.contains(&name).then_some(name),
        Fate::Dropped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_do_not_steer_overlayfs() {
        for name in [
            "user.overlay.redirect",
            "user.overlay.metacopy",
            "trusted.overlay.opaque",
            "user.containers.override_stat",
            "user.coracle.xattr.security.capability",
            "security.selinux",
            "odd.name",
        ] {
            assert_eq!(fate(name.as_bytes()), Fate::Dropped, "{name}");
        }
        assert_eq!(fate(b"user.mime_type"), Fate::Set);
        assert_eq!(fate(b"security.capability"), Fate::Privileged);
    }

    #[test]
    fn what_is_kept_on_disk_is_not_shipped() {
        for name in ["user.overlay.origin", "user.containers.override_stat", "user.coracle.x"] {
            assert_eq!(shipped(name.as_bytes()), None, "{name}");
        }
        assert_eq!(shipped(b"security.ima"), None);
        assert_eq!(shipped(b"user.coracle.xattr.user.overlay.opaque"), None);
        assert_eq!(
            shipped(b"user.coracle.xattr.security.capability"),
            Some(&b"security.capability"[..])
        );
        assert_eq!(shipped(b"user.colour"), Some(&b"user.colour"[..]));
    }

    #[test]
    fn a_capability_belongs_to_the_root_of_the_namespace() {
        let mut value = vec![1, 0, 0, 3];
        value.extend([0; 16]);
        value.extend(1000_u32.to_le_bytes());
        let rewritten = without_root_id(b"security.capability", &value);
        assert_eq!(rewritten.len(), 20);
        assert_eq!(&rewritten[..4], [1, 0, 0, 2]);
    }
}
