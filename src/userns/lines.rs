//! `--uidmap`, `--gidmap`: maps in the user's words, and what the kernel makes of them.
//!
//! As podman has it, the ids that a line maps to are those of the caller's own range: 0 is the caller
//! itself, what follows its subordinate ids. `@` makes them the host's; `+` adds a line to the usual
//! map in place of standing alone.

use std::fmt;
use std::str::FromStr;

use super::{Error, Extent};

/// One `--uidmap` or `--gidmap`: `[+][u|g]INSIDE:[@]OUTSIDE[:COUNT]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each a letter of its own
pub struct Line {
    /// The first id in the container.
    pub inside: u32,
    /// The first id that it is.
    pub outside: u32,
    /// How many.
    pub count: u32,
    /// `@`: `outside` is the host's id, not one of the caller's range.
    pub of_host: bool,
    /// `+`: in addition to the usual map.
    pub adds: bool,
    /// `u` or nothing: for user ids.
    pub users: bool,
    /// `g` or nothing: for group ids.
    pub groups: bool,
}

/// A text that is no line of a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid id map {0:?}: want [+]INSIDE:[@]OUTSIDE[:COUNT], such as 0:1:1000 (OUTSIDE 0 is the \
     caller itself, 1 its first subordinate id; @ for an id of the host)"
)]
pub struct InvalidLine(pub String);

impl FromStr for Line {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, InvalidLine> {
        let invalid = || InvalidLine(text.to_owned());
        let numbers = text.trim_start_matches(['+', 'u', 'g']);
        let flags = &text[..text.len() - numbers.len()];
        let mut fields = numbers.split(':');
        let (inside, outside) = fields.next().zip(fields.next()).ok_or_else(invalid)?;
        let count = fields.next().unwrap_or("1");
        let number = |text: &str| -> Result<u32, InvalidLine> {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or_else(invalid)
        };
        let (of_host, outside) = match outside.strip_prefix('@') {
            Some(outside) => (true, outside),
            None => (false, outside),
        };
        let (inside, outside, count) = (number(inside)?, number(outside)?, number(count)?);
        // The last id is nobody's: it means "unchanged" to the kernel.
        let fits = |first: u32| first.checked_add(count).is_some();
        if fields.next().is_some() || count == 0 || !fits(inside) || !fits(outside) {
            return Err(invalid());
        }
        let (users, groups) = (flags.contains('u'), flags.contains('g'));
        let both = users == groups;
        let adds = flags.contains('+');
        let (users, groups) = (users || both, groups || both);
        Ok(Self { inside, outside, count, of_host, adds, users, groups })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = match (self.users, self.groups) {
            (true, false) => "u",
            (false, true) => "g",
            _ => "",
        };
        let (plus, at) = (if self.adds { "+" } else { "" }, if self.of_host { "@" } else { "" });
        write!(f, "{plus}{kinds}{}:{at}{}:{}", self.inside, self.outside, self.count)
    }
}

impl Line {
    /// A line that says which ids of the host an extent is.
    pub(super) fn of_extent(extent: &Extent) -> Self {
        Self {
            inside: extent.inside,
            outside: extent.outside,
            count: extent.count,
            of_host: true,
            adds: false,
            users: true,
            groups: true,
        }
    }
}

/// What lines come to. `usual` is the map that a container gets without them, which is the caller's
/// range too: what stands inside there is what a line's `outside` counts by.
pub(super) fn resolve(
    what: &'static str,
    lines: &[Line],
    usual: &[Extent],
) -> Result<Vec<Extent>, Error> {
    let mut extents: Vec<Extent> = Vec::new();
    if lines.iter().any(|line| line.adds) {
        extents.extend_from_slice(usual);
    }
    for line in lines {
        let found = ids_of(line, usual).ok_or_else(|| Error::Unmappable {
            what,
            line: line.to_string(),
            own: usual.iter().map(|extent| u64::from(extent.count)).sum(),
        })?;
        for one in found {
            if line.adds {
                extents = without(&extents, &one);
            }
            let clash = extents.iter().any(|known| {
                overlap(known.inside, known.count, one.inside, one.count)
                    || overlap(known.outside, known.count, one.outside, one.count)
            });
            if clash {
                return Err(Error::MappedTwice { what, line: line.to_string() });
            }
            extents.push(one);
        }
    }
    extents.sort_unstable_by_key(|extent| extent.inside);
    Ok(joined(extents))
}

/// The host's ids that a line names, piece by piece; `None` where the caller has not all of them.
fn ids_of(line: &Line, usual: &[Extent]) -> Option<Vec<Extent>> {
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < line.count {
        let wanted = line.outside + done;
        let start = |extent: &Extent| if line.of_host { extent.outside } else { extent.inside };
        let (offset, extent) = usual.iter().find_map(|extent| {
            let offset = wanted.checked_sub(start(extent))?;
            (offset < extent.count).then_some((offset, extent))
        })?;
        let count = (extent.count - offset).min(line.count - done);
        pieces.push(Extent { inside: line.inside + done, outside: extent.outside + offset, count });
        done += count;
    }
    Some(pieces)
}

fn overlap(one: u32, length: u32, other: u32, others: u32) -> bool {
    one < other.saturating_add(others) && other < one.saturating_add(length)
}

/// `extents` without what `one` maps, inside and outside.
fn without(extents: &[Extent], one: &Extent) -> Vec<Extent> {
    let inside =
        extents.iter().flat_map(|extent| cut(extent, extent.inside, one.inside, one.count));
    let rest: Vec<Extent> = inside.collect();
    rest.iter().flat_map(|extent| cut(extent, extent.outside, one.outside, one.count)).collect()
}

/// The parts of an extent, which begins at `start`, before and behind a hole.
fn cut(
    extent: &Extent,
    start: u32,
    hole: u32,
    length: u32,
) -> impl Iterator<Item = Extent> + use<> {
    let end = start + extent.count;
    let part = |from: u32, to: u32| {
        let offset = from - start;
        (from < to).then(|| Extent {
            inside: extent.inside + offset,
            outside: extent.outside + offset,
            count: to - from,
        })
    };
    let hole_end = hole.saturating_add(length);
    if hole_end <= start || end <= hole {
        return [Some(*extent), None].into_iter().flatten();
    }
    [part(start, hole.max(start)), part(hole_end.min(end), end)].into_iter().flatten()
}

/// Neighbours made one.
pub(super) fn joined(extents: Vec<Extent>) -> Vec<Extent> {
    extents.into_iter().fold(Vec::new(), |mut all: Vec<Extent>, next| {
        match all.last_mut() {
            Some(last)
                if last.inside + last.count == next.inside
                    && last.outside + last.count == next.outside =>
            {
                last.count += next.count;
            }
            _ => all.push(next),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: [Extent; 2] = [
        Extent { inside: 0, outside: 1000, count: 1 },
        Extent { inside: 1, outside: 100_000, count: 65536 },
    ];

    fn extents(lines: &[&str]) -> Result<Vec<(u32, u32, u32)>, Error> {
        let lines: Vec<Line> = lines.iter().map(|line| line.parse().expect("a line")).collect();
        let extents = resolve("user ids", &lines, &USUAL)?;
        Ok(extents.iter().map(|it| (it.inside, it.outside, it.count)).collect())
    }

    #[test]
    fn lines_are_podmans() {
        for text in ["0:1:1000", "+5:@1000:1", "u0:0:1", "+g7:3:2"] {
            assert_eq!(text.parse::<Line>().expect(text).to_string(), text);
        }
        assert_eq!("0:1".parse::<Line>().expect("a line").count, 1);
        for bad in ["", "0", "0:1:0", "a:1:1", "0:-1:1", "0:1:2:3", "4294967295:0:1", "0:@:1"] {
            assert!(bad.parse::<Line>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_count_from_the_caller_itself() {
        assert_eq!(extents(&["0:1:10"]).expect("maps"), [(0, 100_000, 10)]);
        // Over the border between its own id and the first range.
        assert_eq!(extents(&["7:0:3"]).expect("maps"), [(7, 1000, 1), (8, 100_000, 2)]);
        assert_eq!(extents(&["5:@1000:1"]).expect("maps"), [(5, 1000, 1)]);
        let keep = extents(&["0:1:1000", "1000:0:1", "1001:1001:64536"]).expect("maps");
        assert_eq!(keep, [(0, 100_000, 1000), (1000, 1000, 1), (1001, 101_000, 64536)]);
    }

    #[test]
    fn a_plus_leaves_the_rest_as_it_is() {
        let maps = extents(&["+5:@1000:1"]).expect("maps");
        assert_eq!(maps, [(1, 100_000, 4), (5, 1000, 1), (6, 100_005, 65531)]);
    }

    #[test]
    fn what_the_caller_has_not_or_gave_already_is_refused() {
        let other = extents(&["0:70000:1"]).expect_err("too far");
        assert!(other.to_string().contains("65537"), "{other}");
        assert!(matches!(extents(&["0:@0:1"]), Err(Error::Unmappable { .. })));
        assert!(matches!(extents(&["0:1:5", "3:9:1"]), Err(Error::MappedTwice { .. })));
        assert!(matches!(extents(&["0:1:5", "9:3:1"]), Err(Error::MappedTwice { .. })));
    }
}
