//! The options of a mount in `config.json`: mount(8)'s words, and the file system's own.

use crate::mount::{AccessTime, Attributes, Propagation};

/// What a list of options says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) attributes: Attributes,
    pub(super) recursive_attributes: Option<Attributes>,
    pub(super) propagation: Option<Propagation>,
    pub(super) bind: bool,
    pub(super) recursive: bool,
    pub(super) copy_up: bool,
    /// `idmap` or `ridmap`; whether the mounts below are mapped too.
    pub(super) id_map: Option<bool>,
    /// What is the file system's own.
    pub(super) own: Vec<String>,
}

/// The words of the specification (config.md, "Linux mount options") that `features` lists.
pub const WORDS: [&str; 48] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "lazytime",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "relatime",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnoexec",
    "rnosuid",
    "ro",
    "rprivate",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rsuid",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "tmpcopyup",
    "unbindable",
    "rrelatime",
];

/// Reads the options; a later word overrides an earlier one.
pub(super) fn read(options: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    for option in options {
        let word = option.as_str();
        if let Some(propagation) = propagation(word) {
            parsed.propagation = Some(propagation);
        } else if attribute(&mut parsed.attributes, word) {
        } else if let Some(all) = word
            .strip_prefix('r')
            .filter(|all| WORDS.contains(&word) && !["bind", "idmap"].contains(all))
        {
            let mut recursive = parsed.recursive_attributes.unwrap_or_default();
            attribute(&mut recursive, all);
            parsed.recursive_attributes = Some(recursive);
        } else {
            match word {
                "bind" => parsed.bind = true,
                "rbind" => (parsed.bind, parsed.recursive) = (true, true),
                "tmpcopyup" => parsed.copy_up = true,
                // What the kernel does anyway, or what has no meaning for a mount of its own.
                "defaults" | "async" | "loud" | "silent" | "nolazytime" | "lazytime" => {}
                "idmap" => parsed.id_map = Some(false),
                "ridmap" => parsed.id_map = Some(true),
                "sync" | "dirsync" | "mand" | "nomand" | "iversion" | "noiversion" | "remount"
                | "acl" | "noacl" => {
                    return Err(format!("the option {word} cannot be honoured"));
                }
                _ => parsed.own.push(option.clone()),
            }
        }
    }
    Ok(parsed)
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" | "rprivate" => Propagation::Private,
        "slave" | "rslave" => Propagation::Slave,
        "shared" | "rshared" => Propagation::Shared,
        "unbindable" | "runbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

/// Takes a word that is about attributes; `false` for another.
fn attribute(attributes: &mut Attributes, word: &str) -> bool {
    match word {
        "ro" => attributes.read_only = true,
        "rw" => attributes.read_only = false,
        "nosuid" => attributes.no_suid = true,
        "suid" => attributes.no_suid = false,
        "nodev" => attributes.no_dev = true,
        "dev" => attributes.no_dev = false,
        "noexec" => attributes.no_exec = true,
        "exec" => attributes.no_exec = false,
        "nosymfollow" => attributes.no_symfollow = true,
        "symfollow" => attributes.no_symfollow = false,
        "nodiratime" => attributes.no_dir_atime = true,
        "diratime" => attributes.no_dir_atime = false,
        "noatime" => attributes.access_time = AccessTime::Never,
        "relatime" => attributes.access_time = AccessTime::Relative,
        "strictatime" => attributes.access_time = AccessTime::Always,
        "atime" | "norelatime" | "nostrictatime" => attributes.access_time = AccessTime::Unsaid,
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Parsed {
        let own: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        read(&own).expect("options")
    }

    #[test]
    fn the_last_word_wins() {
        let parsed = words(&["ro", "nosuid", "rw", "noatime", "rro", "size=1m", "rshared"]);
        assert!(!parsed.attributes.read_only && parsed.attributes.no_suid);
        assert_eq!(parsed.attributes.access_time, AccessTime::Never);
        assert!(parsed.recursive_attributes.is_some_and(|all| all.read_only));
        assert_eq!(
            (parsed.own, parsed.propagation),
            (vec!["size=1m".into()], Some(Propagation::Shared))
        );
    }

    #[test]
    fn a_bind_is_no_attribute_of_all() {
        let parsed = words(&["rbind", "relatime"]);
        assert!(parsed.bind && parsed.recursive && parsed.recursive_attributes.is_none());
        assert_eq!(parsed.attributes.access_time, AccessTime::Relative);
    }

    #[test]
    fn ids_are_mapped_here_or_below_too() {
        let of = |word: &str| words(&["rbind", word]);
        assert_eq!((of("idmap").id_map, of("ridmap").id_map), (Some(false), Some(true)));
        assert_eq!((of("ro").id_map, of("ridmap").recursive_attributes), (None, None));
    }
}
