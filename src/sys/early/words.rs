//! The words of a command, read without the C library.

/// The words of a command, as the kernel has laid them.
#[derive(Clone, Debug)]
pub struct Words {
    next: *const *const u8,
    left: usize,
}

impl Words {
    /// # Safety
    ///
    /// `count` texts that end with 0 are there, for as long as the process lives.
    pub unsafe fn at(place: *const *const u8, count: usize) -> Self {
        Self { next: place, left: count }
    }
}

impl Iterator for Words {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        // SAFETY: `left` of them are there, and each ends with 0 (execve(2)).
        unsafe {
            let word = *self.next;
            self.next = self.next.add(1);
            let mut length = 0;
            // Volatile: or the compiler would see that this is strlen(3).
            while word.add(length).read_volatile() != 0 {
                length += 1;
            }
            Some(std::slice::from_raw_parts(word, length))
        }
    }
}

/// Whether two texts are the same, without the C library.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && begins_with(one, other)
}

/// Whether a text begins with another, without the C library.
pub fn begins_with(text: &[u8], other: &[u8]) -> bool {
    text.len() >= other.len() && text.iter().zip(other).all(|(one, other)| one == other)
}

#[cfg(test)]
impl Words {
    /// As the kernel would lay them.
    pub fn of(words: &[&str]) -> Self {
        let laid = |word: &&str| -> *const u8 {
            std::ffi::CString::new(*word).expect("no 0").into_raw().cast_const().cast()
        };
        let words: Vec<*const u8> = words.iter().map(laid).collect();
        let words = words.leak();
        Self { next: words.as_ptr(), left: words.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_lie() {
        let words: Vec<&[u8]> = Words::of(&["coracle", "", "run"]).collect();
        assert_eq!(words, [&b"coracle"[..], b"", b"run"]);
        assert!(Words::of(&[]).next().is_none());
        assert!(is_same(b"run", b"run") && !is_same(b"run", b"ru") && !is_same(b"ru", b"run"));
        assert!(begins_with(b"--rm", b"--") && !begins_with(b"-", b"--"));
    }
}
