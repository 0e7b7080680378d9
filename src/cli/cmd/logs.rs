//! `logs`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;

use super::super::parse::{self, Invalid};
use super::super::{Context, Error, complete};
use crate::engine::LogRequest;
use crate::engine::container::Stream;

/// Show what a container has written
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle logs -f --tail 20 web
  coracle logs -t --since 10m web")]
pub(crate) struct Args {
    /// Go on as it writes more, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Begin so many lines before the end, or `all`
    #[arg(short = 'n', long, value_name = "N", value_parser = tail, allow_hyphen_values = true)]
    tail: Option<Tail>,
    /// Leave out what is older: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Leave out what is newer
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Put before each line what --log-opt labels and env have go with it
    #[arg(long)]
    details: bool,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
}

#[derive(Clone, Copy, Debug)]
enum Tail {
    All,
    Lines(u64),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        // docker's way of saying all of it.
        _ if text.starts_with('-') && text[1..].parse::<u64>().is_ok() => Ok(Tail::All),
        _ => text.parse().map(Tail::Lines).map_err(|_| format!("{text:?} is no number of lines")),
    }
}

fn time(text: &str) -> Result<Timestamp, Invalid> {
    parse::moment(text, Timestamp::now())
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let request = LogRequest {
        follow: args.follow,
        tail: match args.tail {
            Some(Tail::Lines(lines)) => Some(lines),
            Some(Tail::All) | None => None,
        },
        since: args.since,
        until: args.until,
    };
    let mut logs = engine.logs(&args.container, request)?;
    // What was read is shown before more is waited for.
    while let Some(entry) = logs.next(|| cx.out.idle())? {
        let time = if args.timestamps { format!("{} ", entry.time) } else { String::new() };
        let details = if args.details { details(&entry.attrs) } else { String::new() };
        let line = [time.as_bytes(), details.as_bytes(), entry.log.as_bytes()].concat();
        match entry.stream {
            Stream::Stdout => cx.out.bytes(&line)?,
            Stream::Stderr => {
                // In their order, where both end up in one place.
                cx.out.flush()?;
                std::io::stderr().write_all(&line).map_err(Error::Output)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// docker's words: `A=1,tier=front `, and a space alone where there is nothing.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let quoted = |text: &str| -> String {
        let quoted = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(quoted).collect()
    };
    let pairs =
        attributes.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value)));
    pairs.collect::<Vec<_>>().join(",") + " "
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_quoted_as_a_query() {
        let pairs = [("tier", "front row"), ("A", "1,2")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(details(&pairs.into()), "A=1%2C2,tier=front+row ");
        assert_eq!(details(&BTreeMap::new()), " ");
    }
}
