//! Instructions of a Dockerfile that change an image's configuration.

use super::{Invalid, duration};
use crate::oci::{Change, Healthcheck, Line};

/// Reads one instruction, such as `ENV NAME=value`.
pub fn instruction(text: &str) -> Result<Change, Invalid> {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
    // docker takes `CMD=…` as well.
    let missing = || Invalid::new(format!("{word} requires an argument: want {word} VALUE"));
    if rest.is_empty() {
        return Err(missing());
    }
    let whole = || rest.to_owned();
    Ok(match word.as_str() {
        "CMD" => Change::Cmd(line(rest)),
        "ENTRYPOINT" => Change::Entrypoint(line(rest)),
        "ENV" => Change::Env(pairs(rest)?),
        "LABEL" => Change::Label(pairs(rest)?),
        "EXPOSE" => {
            let ports = rest.split_whitespace().map(ports).collect::<Result<Vec<_>, _>>()?;
            Change::Expose(ports.concat())
        }
        "HEALTHCHECK" => Change::Healthcheck(healthcheck(rest)?),
        "ONBUILD" => match rest.split_whitespace().next().map(str::to_ascii_uppercase).as_deref() {
            // docker's words.
            Some("ONBUILD") => {
                return Err(Invalid::new("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
            }
            Some(word @ ("FROM" | "MAINTAINER")) => {
                return Err(Invalid::new(format!("{word} isn't allowed as an ONBUILD trigger")));
            }
            _ => Change::OnBuild(whole()),
        },
        "STOPSIGNAL" => {
            if crate::engine::bundle::signal::parse(rest).is_none() {
                return Err(Invalid::new(format!("invalid signal: {rest}")));
            }
            Change::StopSignal(whole())
        }
        "USER" => Change::User(whole()),
        "VOLUME" => Change::Volume(match line(rest) {
            Line::Words(words) => words,
            Line::Shell(text) => words(&text)?,
        }),
        "WORKDIR" => Change::WorkDir(whole()),
        _ => return Err(Invalid::new(format!("{word} is not a valid change command"))),
    })
}

/// A JSON list of words, or a line for the shell.
fn line(text: &str) -> Line {
    match serde_json::from_str(text) {
        Ok(words) => Line::Words(words),
        Err(_) => Line::Shell(text.to_owned()),
    }
}

/// `NAME=value` each, or one name and its value.
fn pairs(text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let two = || Invalid::new(format!("{text:?} wants a name and a value"));
        let (name, value) = text.split_once(char::is_whitespace).ok_or_else(two)?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Invalid::new(format!("{word:?} is no NAME=VALUE"))),
    };
    words(text)?.into_iter().map(pair).collect()
}

/// Words with quotes and backslashes, as a Dockerfile has them.
fn words(text: &str) -> Result<Vec<String>, Invalid> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (end, Some(begin)) if end == begin => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Invalid::new(format!("a quote is not closed in {text:?}")));
    }
    words.extend(word);
    Ok(words)
}

/// `80`, `80/udp`; of `80-82` each, as docker has it.
fn ports(text: &str) -> Result<Vec<String>, Invalid> {
    let invalid = || Invalid::new(format!("invalid containerPort: {text}"));
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = number.split_once('-').unwrap_or((number, number));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(&*protocol, "tcp" | "udp" | "sctp") || last < first {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn healthcheck(text: &str) -> Result<Option<(Line, Healthcheck)>, Invalid> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let mut times = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let nanoseconds =
            || duration(value).map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        match name {
            "interval" => times.interval = nanoseconds()?,
            "timeout" => times.timeout = nanoseconds()?,
            "start-period" => times.start_period = nanoseconds()?,
            "start-interval" => times.start_interval = nanoseconds()?,
            "retries" => {
                let invalid = |_| Invalid::new(format!("invalid number of retries {value:?}"));
                times.retries = value.parse().map_err(invalid)?;
            }
            _ => return Err(Invalid::new(format!("HEALTHCHECK has no option --{name}"))),
        }
        rest = behind.trim_start();
    }
    let command = rest.split_once(char::is_whitespace);
    match command.filter(|(word, _)| word.eq_ignore_ascii_case("cmd")) {
        Some((_, command)) => Ok(Some((line(command.trim()), times))),
        None => Err(Invalid::new("HEALTHCHECK wants CMD and a command, or NONE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_dockers() {
        let read = |text: &str| instruction(text).expect(text);
        let words = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read("cmd [\"a\", \"b c\"]"), Change::Cmd(Line::Words(words(&["a", "b c"]))));
        assert_eq!(read("CMD a b"), Change::Cmd(Line::Shell("a b".into())));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("ENV A=1 B=\"two words\" C=a\\ b"),
            Change::Env(vec![pair("A", "1"), pair("B", "two words"), pair("C", "a b")])
        );
        assert_eq!(read("ENV A one two"), Change::Env(vec![pair("A", "one two")]));
        assert_eq!(read("EXPOSE 80 53/udp"), Change::Expose(words(&["80/tcp", "53/udp"])));
        let range = ["80/tcp", "81/tcp", "82/tcp"];
        assert_eq!(read("EXPOSE 80-82"), Change::Expose(words(&range)));
        assert_eq!(read("VOLUME /a /b"), Change::Volume(words(&["/a", "/b"])));
        assert_eq!(read("VOLUME [\"/a b\"]"), Change::Volume(words(&["/a b"])));
        assert_eq!(read("HEALTHCHECK none"), Change::Healthcheck(None));
        let Change::Healthcheck(Some((line, times))) =
            read("HEALTHCHECK --interval=5s --retries=2 CMD true")
        else {
            panic!("a check")
        };
        assert_eq!(
            (line, times.interval, times.retries),
            (Line::Shell("true".into()), 5_000_000_000, 2)
        );
        for bad in [
            "RUN x",
            "CMD",
            "ENV A=1 B",
            "EXPOSE x",
            "EXPOSE 1/x",
            "EXPOSE 2-1",
            "LABEL a=\"x",
            "HEALTHCHECK x",
            "ONBUILD FROM x",
            "ONBUILD onbuild RUN x",
            "ENV A",
            "STOPSIGNAL odd",
            "ENV =x y=z",
        ] {
            assert!(instruction(bad).is_err(), "{bad}");
        }
    }
}
