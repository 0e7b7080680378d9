//! `--filter`.

use std::str::FromStr;

use super::Invalid;

/// `KEY=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What is looked at.
    pub key: String,
    /// What it must be.
    pub value: String,
}

impl FromStr for Filter {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_ascii_lowercase(), value: value.trim().to_owned() })
            }
            _ => Err(Invalid::new(format!("invalid filter {text:?}: want KEY=VALUE"))),
        }
    }
}

/// Whether something passes: one filter of each key must hold, but every one of `label`.
pub fn passes(filters: &[Filter], holds: impl Fn(&str, &str) -> bool) -> bool {
    filters.iter().all(|filter| {
        let one_of_key = filter.key != "label";
        holds(&filter.key, &filter.value)
            || one_of_key
                && filters
                    .iter()
                    .any(|other| other.key == filter.key && holds(&other.key, &other.value))
    })
}

/// Refuses keys that nobody would look at.
pub fn check(filters: &[Filter], known: &[&str]) -> Result<(), Invalid> {
    match filters.iter().find(|filter| !known.contains(&filter.key.as_str())) {
        None => Ok(()),
        Some(filter) => Err(Invalid::new(format!(
            "invalid filter '{}': there are {}",
            filter.key,
            known.join(", ")
        ))),
    }
}

/// Whether a label filter, `NAME` or `NAME=value`, holds.
pub fn label_holds<'a>(
    wanted: &str,
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> bool {
    let (name, value) = wanted.split_once('=').map_or((wanted, None), |(n, v)| (n, Some(v)));
    labels.into_iter().any(|(key, held)| key == name && value.is_none_or(|value| value == held))
}

/// Shell patterns as Go's `path.Match` has them: `*`, `?`, and letters; `*` stops at a slash.
pub fn matches(pattern: &str, text: &str) -> bool {
    fn from(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                let reach = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                (0..=reach).any(|at| from(rest, &text[at..]))
            }
            (Some((b'?', rest)), Some((letter, text))) => *letter != b'/' && from(rest, text),
            (Some((wanted, rest)), Some((letter, text))) => wanted == letter && from(rest, text),
            _ => false,
        }
    }
    // Each star may try every place: few are enough.
    pattern.matches('*').count() <= 8 && from(pattern.as_bytes(), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_a_key_are_alternatives_but_labels() {
        let filters = |all: &[&str]| -> Vec<Filter> {
            all.iter().map(|text| text.parse().expect("a filter")).collect()
        };
        let holds = |key: &str, value: &str| matches!((key, value), ("name", "a") | ("label", "x"));
        assert!(passes(&filters(&["name=a", "name=b"]), holds));
        assert!(!passes(&filters(&["label=x", "label=y"]), holds));
        assert!(!passes(&filters(&["name=a", "status=up"]), holds));
        assert!("name".parse::<Filter>().is_err());
        assert!(check(&filters(&["nme=a"]), &["name"]).is_err());
    }

    #[test]
    fn patterns_stop_at_slashes() {
        assert!(matches("deb*", "debian") && matches("*:1?", "debian:12"));
        assert!(!matches("deb*", "debian/x") && matches("*/*", "team/app"));
    }
}
