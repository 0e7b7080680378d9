//! Instructions of a Dockerfile that change an image's configuration.

use super::{Invalid, duration};
use crate::engine::{Instruction, Line};
use crate::oci::Healthcheck;

/// Reads one instruction, such as `ENV NAME=value`.
pub fn instruction(text: &str) -> Result<Instruction, Invalid> {
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
        "CMD" => Instruction::Cmd(line(rest)),
        "ENTRYPOINT" => Instruction::Entrypoint(line(rest)),
        "ENV" => Instruction::Env(pairs(rest)?),
        "LABEL" => Instruction::Label(pairs(rest)?),
        "EXPOSE" => {
            Instruction::Expose(rest.split_whitespace().map(port).collect::<Result<_, _>>()?)
        }
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(rest)?),
        "ONBUILD" => Instruction::Onbuild(whole()),
        "STOPSIGNAL" => {
            if crate::engine::bundle::signal::parse(rest).is_none() {
                return Err(Invalid::new(format!("invalid signal: {rest}")));
            }
            Instruction::StopSignal(whole())
        }
        "USER" => Instruction::User(whole()),
        "VOLUME" => Instruction::Volume(match line(rest) {
            Line::Words(words) => words,
            Line::Shell(text) => words(&text)?,
        }),
        "WORKDIR" => Instruction::Workdir(whole()),
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
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
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

/// `80`, `80/udp`
fn port(text: &str) -> Result<String, Invalid> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ends = number.split_once('-').map_or(vec![number], |(first, last)| vec![first, last]);
    let known = matches!(protocol, "tcp" | "udp" | "sctp");
    if !known || ends.iter().any(|end| end.parse::<u16>().is_err()) {
        return Err(Invalid::new(format!("invalid containerPort: {text}")));
    }
    Ok(format!("{number}/{protocol}"))
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
        assert_eq!(
            read("cmd [\"a\", \"b c\"]"),
            Instruction::Cmd(Line::Words(words(&["a", "b c"])))
        );
        assert_eq!(read("CMD a b"), Instruction::Cmd(Line::Shell("a b".into())));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("ENV A=1 B=\"two words\" C=a\\ b"),
            Instruction::Env(vec![pair("A", "1"), pair("B", "two words"), pair("C", "a b")])
        );
        assert_eq!(read("ENV A one two"), Instruction::Env(vec![pair("A", "one two")]));
        assert_eq!(read("EXPOSE 80 53/udp"), Instruction::Expose(words(&["80/tcp", "53/udp"])));
        assert_eq!(read("VOLUME /a /b"), Instruction::Volume(words(&["/a", "/b"])));
        assert_eq!(read("VOLUME [\"/a b\"]"), Instruction::Volume(words(&["/a b"])));
        assert_eq!(read("HEALTHCHECK none"), Instruction::Healthcheck(None));
        let Instruction::Healthcheck(Some((line, times))) =
            read("HEALTHCHECK --interval=5s --retries=2 CMD true")
        else {
            panic!("a check")
        };
        assert_eq!(
            (line, times.interval, times.retries),
            (Line::Shell("true".into()), 5_000_000_000, 2)
        );
        for bad in
            ["RUN x", "CMD", "ENV A=1 B", "EXPOSE x", "EXPOSE 1/x", "LABEL a=\"x", "HEALTHCHECK x"]
        {
            assert!(instruction(bad).is_err(), "{bad}");
        }
    }
}
