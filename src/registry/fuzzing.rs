//! What a hostile registry's answers reach, for `fuzz/`.

use super::{answer, challenge, lists};

/// Reads the headers and bodies of an answer.
pub fn answer(bytes: &[u8]) {
    let said = answer::said(bytes);
    assert!(!said.contains(char::is_control), "a terminal could act on {said:?}");
    let Ok(header) = std::str::from_utf8(bytes) else { return };
    let _ = challenge::parse(header);
    if let Some(page) = lists::next_page(header) {
        assert!(header.contains(page));
    }
}
