//! Files to a tar stream: a layer of the differences, or all of a root.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Write};

use rustix::fs::Stat;

use super::difference::{Change, Differences};
use super::encode::Encoder;
use super::entry::Kind;
use super::error::{At, Error};
use super::name::Name;
use super::source::{Source, Thing};
use super::stack::{Directory, Found};
use super::tree::c_string;

/// Writes the layer that makes `now` of the image it was compared with. Gives back what was written
/// to.
///
/// What has vanished since is left out. Sockets are, as docker does it.
pub fn write_layer<W: Write>(now: &Source, differences: &Differences, to: W) -> Result<W, Error> {
    let mut writer = Writer::new(now, to);
    if differences.root
        && let Some(root) = now.describe_root().at("look at", &Name::default())?
    {
        writer.put(root, None)?;
    }
    if differences.is_emptied(&Name::default()) {
        writer.encoder.hide_below(&Name::default()).map_err(Error::Write)?;
    }
    for (name, change) in differences.iter() {
        let Some((directory, last)) = name.split() else { continue };
        if last.starts_with(b".wh.") && change != Change::Deleted {
            return Err(Error::Unnameable { name });
        }
        if change == Change::Deleted {
            if !differences.is_emptied(&directory) {
                writer.encoder.hide(&directory, last).map_err(Error::Write)?;
            }
            continue;
        }
        writer.enter(&directory)?;
        let written = writer.one(&name, &c_string(last))?;
        // A socket, or nothing by now, is in the place of what the image has there.
        if !written && change == Change::Changed {
            writer.encoder.hide(&directory, last).map_err(Error::Write)?;
        }
        if differences.is_emptied(&name) {
            writer.encoder.hide_below(&name).map_err(Error::Write)?;
        }
    }
    writer.encoder.finish().map_err(Error::Write)
}

/// Writes everything in `now`. Gives back what was written to.
pub fn write_all<W: Write>(now: &Source, to: W) -> Result<W, Error> {
    let mut writer = Writer::new(now, to);
    writer.all(&now.root, &Name::default())?;
    writer.encoder.finish().map_err(Error::Write)
}

struct Writer<'a, W> {
    now: &'a Source,
    encoder: Encoder<W>,
    /// The first names of files that have several, by device and inode.
    seen: HashMap<(u64, u64), Name>,
    /// The way to the directory that is being written, below the root.
    way: Vec<(Name, Directory)>,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(now: &'a Source, to: W) -> Self {
        Self { now, encoder: Encoder::new(to), seen: HashMap::new(), way: Vec::new() }
    }

    fn all(&mut self, directory: &Directory, name: &Name) -> Result<(), Error> {
        let mut names = directory.names().at("read", name)?;
        names.sort_unstable();
        for last in names {
            let full = name.join(last.to_bytes());
            let Some(found) = directory.find(&last).at("look at", &full)? else { continue };
            self.found(directory, &last, &found, &full)?;
            if let Found::Directory(inner) = &found {
                self.all(inner, &full)?;
            }
        }
        Ok(())
    }

    /// Makes the way lead to `directory`, as far as it is still there.
    fn enter(&mut self, directory: &Name) -> Result<(), Error> {
        while self.way.last().is_some_and(|(at, _)| at != directory && !directory.is_below(at)) {
            self.way.pop();
        }
        let known = self.way.last().map_or(0, |(at, _)| at.parts().count());
        for part in directory.parts().skip(known) {
            let at = self.way.last().map_or(Name::default(), |(at, _)| at.clone());
            let name = at.join(part);
            let here = self.way.last().map_or(&self.now.root, |(_, directory)| directory);
            match here.find(&c_string(part)).at("look at", &name)? {
                Some(Found::Directory(found)) => self.way.push((name, found)),
                _ => break,
            }
        }
        Ok(())
    }

    /// `false` where there is nothing to write.
    fn one(&mut self, name: &Name, last: &CString) -> Result<bool, Error> {
        let way = std::mem::take(&mut self.way);
        let is_there =
            way.last().map_or(1, |(at, _)| at.parts().count() + 1) == name.parts().count();
        let here = way.last().map_or(&self.now.root, |(_, directory)| directory);
        let found = here.find(last).at("look at", name);
        let done = match found {
            Ok(Some(found)) if is_there => self.found(here, last, &found, name),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        self.way = way;
        done
    }

    fn found(
        &mut self,
        parent: &Directory,
        last: &CString,
        found: &Found,
        name: &Name,
    ) -> Result<bool, Error> {
        let stat = match found {
            Found::Other(other) => Some(&other.stat),
            Found::Directory(_) => None,
        };
        match self.now.describe(parent, last, found, name.clone()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            thing => match thing.at("read", name)? {
                Some(thing) => self.put(thing, stat).map(|()| true),
                None => Ok(false),
            },
        }
    }

    /// Writes one thing; another name of a file that was written before is a link to it.
    fn put(&mut self, mut thing: Thing, stat: Option<&Stat>) -> Result<(), Error> {
        if let Some(stat) = stat.filter(|stat| stat.st_nlink > 1) {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.seen.get(&identity) {
                thing.entry.kind = Kind::HardLink(first.clone());
                thing.data = None;
            } else {
                self.seen.insert(identity, thing.entry.name.clone());
            }
        }
        self.encoder.put(&thing.entry, thing.data.as_ref()).map_err(Error::Write)
    }
}
