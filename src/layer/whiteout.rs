//! The special names of a layer (image-spec, layer.md, "Whiteouts"), read once.

use super::name::Name;

/// What a name in a layer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Itself.
    Plain(Name),
    /// `.wh.NAME`: the layers below have no NAME.
    Whiteout(Name),
    /// `.wh..wh..opq`: nothing of this directory comes from below.
    Opaque(Name),
    /// Bookkeeping of aufs.
    Ignored,
}

const WHITEOUT: &[u8] = b".wh.";
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads a name.
pub(super) fn read(name: Name) -> Result<Meaning, &'static str> {
    let Some((directory, last)) = name.split() else { return Ok(Meaning::Plain(name)) };
    if last == OPAQUE {
        return Ok(Meaning::Opaque(directory));
    }
    if name.parts().any(|part| part.starts_with(RESERVED)) {
        return Ok(Meaning::Ignored);
    }
    if directory.parts().any(|part| part.starts_with(WHITEOUT)) {
        return Err("it lies in a whiteout");
    }
    match last.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Plain(name)),
        Some(b"" | b"." | b"..") => Err("it hides no name"),
        Some(hidden) => Ok(Meaning::Whiteout(directory.join(hidden))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).expect("a name")
    }

    #[test]
    fn special_names_are_read_once() {
        assert_eq!(read(name("a/.wh.b")), Ok(Meaning::Whiteout(name("a/b"))));
        assert_eq!(read(name(".wh..wh..opq")), Ok(Meaning::Opaque(name(""))));
        assert_eq!(read(name("a/.wh..wh..opq")), Ok(Meaning::Opaque(name("a"))));
        assert_eq!(read(name(".wh..wh.plnk/1.2")), Ok(Meaning::Ignored));
        assert_eq!(read(name("a/.whx")), Ok(Meaning::Plain(name("a/.whx"))));
    }

    #[test]
    fn whiteouts_that_name_nothing_are_refused() {
        for text in [".wh.", ".wh..", ".wh...", "a/.wh.b/c"] {
            assert!(read(name(text)).is_err(), "{text}");
        }
    }
}
