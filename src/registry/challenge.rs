//! `WWW-Authenticate`: what a registry wants to see (RFC 9110, distribution's token
//! authentication specification).

use std::collections::BTreeMap;

/// One demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A password.
    Basic,
    /// A token.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// Reads a header; the demand that a client should meet, a token before a password.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let mut found = None;
    for (scheme, parameters) in schemes(header) {
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => {
                return Some(Challenge::Bearer {
                    realm: parameters.get("realm")?.clone(),
                    service: parameters.get("service").cloned(),
                    scope: parameters.get("scope").cloned(),
                });
            }
            "basic" => found = Some(Challenge::Basic),
            _ => {}
        }
    }
    found
}

type Parameters = BTreeMap<String, String>;

/// `Scheme a="b", c=d, Other e=f`
fn schemes(header: &str) -> Vec<(String, Parameters)> {
    let mut schemes: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = rest[end..].trim_start();
        if let Some(value) = rest.strip_prefix('=') {
            let (value, after) = take_value(value.trim_start());
            if let Some((_, parameters)) = schemes.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else if !word.is_empty() {
            schemes.push((word.to_owned(), Parameters::new()));
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    schemes
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[place + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_before_a_password() {
        let header = r#"Basic realm="x", Bearer realm="https://a/token",service="r",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse(header),
            Some(Challenge::Bearer {
                realm: "https://a/token".into(),
                service: Some("r".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        assert_eq!(parse("basic realm=x"), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(parse("Bearer service=x"), None);
        assert_eq!(
            parse("Bearer realm=\"unclosed"),
            Some(Challenge::Bearer { realm: "unclosed".into(), service: None, scope: None })
        );
    }
}
