//! Names and IDs of containers.

use std::fmt;
use std::str::FromStr;

/// A container's name: a letter or digit, then letters, digits, `_`, `.` and `-` (docker's rule).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct InvalidName(pub String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for who gave none: two words, as docker's are. `seed` is random; who finds the name
    /// taken asks again, with the number of the try, and gets one with a number behind the words.
    pub fn generate(seed: u64, tries: u32) -> Self {
        let pick = |words: &[&str], seed: u64| -> String {
            let count = words.len() as u64;
            words[usize::try_from(seed % count).unwrap_or(0)].to_owned()
        };
        let (manner, boat) = (pick(&MANNERS, seed), pick(&BOATS, seed >> 16));
        match tries {
            0 => Self(format!("{manner}_{boat}")),
            // One digit first; among thousands of containers more of them.
            tries => {
                let number = (seed >> 32) % 10_u64.saturating_pow(tries.min(9));
                Self(format!("{manner}_{boat}{number}"))
            }
        }
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        // One character alone is refused by docker too; 255 is the longest file name.
        if starts && text.len() > 1 && text.len() <= 255 && bytes.all(goes_on) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MANNERS: [&str; 32] = [
    "able", "bold", "brave", "bright", "brisk", "calm", "clever", "daring", "deft", "eager",
    "fair", "fleet", "gentle", "glad", "hardy", "hearty", "jolly", "keen", "kind", "lively",
    "merry", "nimble", "patient", "plucky", "quick", "quiet", "ready", "sober", "steady", "sturdy",
    "swift", "wise",
];

const BOATS: [&str; 32] = [
    "barque", "brig", "canoe", "catboat", "clipper", "cog", "currach", "cutter", "dhow", "dinghy",
    "dory", "felucca", "frigate", "galleon", "gig", "junk", "kayak", "ketch", "launch", "lugger",
    "pinnace", "pirogue", "praam", "punt", "raft", "sampan", "schooner", "skiff", "sloop",
    "tender", "wherry", "yawl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["web", "web-1", "a.b_c", "/web", "9x"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "x", "-web", ".web", "a/b", "../x", "a b", "é1"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_names_are_two_words_and_a_number_where_they_are_taken() {
        for (tries, digits) in [(0, 0..=0), (1, 1..=1), (2, 1..=2), (40, 1..=9)] {
            for seed in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
                let name = Name::generate(seed, tries);
                assert!(name.as_str().parse::<Name>().is_ok());
                let words = name.as_str().trim_end_matches(|c: char| c.is_ascii_digit());
                assert_eq!(words.split('_').count(), 2, "{name}");
                assert!(digits.contains(&(name.as_str().len() - words.len())), "{name}");
            }
        }
    }
}
