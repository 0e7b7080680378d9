//! What a name's symbolic link says: the container's ID, in 43 letters in place of 64.
//!
//! Up to 59 bytes a link's text lies in its inode (ext4, xfs); a longer one has a block of its own,
//! which takes ten times as long to give back.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The text for an ID.
pub(super) fn text_of(id: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = id.as_bytes().chunks(2).map(byte).collect();
    bytes.map_or_else(|| id.to_owned(), |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The ID that a name leads to, if it is taken. Links with the ID itself are from before 0.1.
pub(super) fn id_at(link: &Path) -> std::io::Result<String> {
    let text = std::fs::read_link(link)?.to_string_lossy().into_owned();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).ok().filter(|bytes| bytes.len() == 32);
    Ok(bytes.map_or(text, |bytes| super::hexadecimal(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_links_of_both_forms() {
        let root = tempfile::tempdir().expect("a directory");
        let id = super::super::new_id().expect("an ID");
        let text = text_of(&id);
        assert!(text.len() < 60, "{text}");
        for (name, text) in [("new", text), ("old", id.clone())] {
            let link = root.path().join(name);
            std::os::unix::fs::symlink(text, &link).expect("a link");
            assert_eq!(id_at(&link).expect("an ID"), id);
        }
        assert!(id_at(&root.path().join("nobody")).is_err());
    }
}
