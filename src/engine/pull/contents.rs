//! The table of contents of a zstd:chunked or eStargz layer, read into the pieces of its blob.
//!
//! ```text
//! zstd:chunked  headers | payload | rest of a block, headers | payload | … | table | … | footer
//! eStargz       headers | payload, rest, headers | payload, rest, headers | … | table | footer
//! ```
//!
//! Each piece is compressed for itself, so that what holds the same is mostly packed into the same
//! bytes. What a piece holds is told by its key: a hash of all that the table says of it. Keys are
//! compared and nothing else is done with them, so names and numbers of the table lead nowhere.
//! Whatever comes of a wrong one shows in the digest of the blob.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::inflate::inflated;
use crate::oci::{Digest, Hashed};
use crate::registry::{Compression, Contents};

/// The most bytes of a table as it is shipped. One of 12,000 entries has some 500 kB.
const LARGEST_TABLE: u64 = 8 << 20;
/// The most bytes of a table's text; it is read as a stream.
const LARGEST_TEXT: u64 = 64 << 20;
/// The most pieces of a blob: there are some three to a file.
const MOST_PIECES: usize = 500_000;
/// Bytes of an eStargz blob's footer: an empty gzip member with a field of its own.
const STARGZ_FOOTER: u64 = 51;
/// Bytes before a frame that is skipped: its mark and its length.
const FRAME_HEADER: u64 = 8;
/// The most bytes that are looked at for a footer.
pub(super) const LONGEST_FOOTER: usize = 64 + 8;

/// How a blob with a table is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    Chunked,
    Stargz,
}

/// Where a blob's table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) format: Format,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    /// What it holds, and how long it is.
    pub(super) key: u64,
}

impl Format {
    pub(super) fn of(contents: &Contents) -> Self {
        match contents {
            Contents::Chunked { .. } => Self::Chunked,
            Contents::Stargz { .. } => Self::Stargz,
        }
    }
}

impl Place {
    /// By what a manifest says; `None` where the blob itself must tell.
    pub(super) fn told(contents: &Contents, size: u64) -> Option<io::Result<Self>> {
        let Contents::Chunked { offset, length, .. } = *contents else { return None };
        let end = offset.saturating_add(length);
        Some(Self { format: Format::Chunked, start: offset, end }.within(size))
    }

    /// By a blob's last bytes; `None` for one without a table.
    pub(super) fn of_footer(size: u64, tail: &[u8]) -> Option<Self> {
        let place = chunked_footer(tail).or_else(|| stargz_footer(size, tail))?;
        place.within(size).ok()
    }

    fn within(self, size: u64) -> io::Result<Self> {
        let length = self.end.checked_sub(self.start);
        let sound = self.end <= size && length.is_some_and(|it| it > 0 && it <= LARGEST_TABLE);
        if sound && self.start >= FRAME_HEADER {
            return Ok(self);
        }
        Err(odd("it lies nowhere in its blob, or is too large"))
    }

    /// The table in what follows the contents.
    pub(super) fn table_in(self, ending: &[u8]) -> Option<&[u8]> {
        let place = |at: u64| usize::try_from(at - self.contents_end()).ok();
        ending.get(place(self.start)?..place(self.end)?)
    }

    /// Where the pieces end that the table tells of.
    pub(super) fn contents_end(self) -> u64 {
        match self.format {
            Format::Chunked => self.start - FRAME_HEADER,
            Format::Stargz => self.start,
        }
    }
}

/// Two marks and two lengths are in use, of before and after containers/storage 1.46; the numbers are little-endian, the first are offset, length, length of
/// the text, and a kind that must be 1.
fn chunked_footer(tail: &[u8]) -> Option<Place> {
    let body = tail.strip_suffix(b"GNUlInUx").or_else(|| tail.strip_suffix(b"GnUlInUx"))?;
    let footer = [32, 56].into_iter().find_map(|length| {
        let (front, footer) = body.split_at_checked(body.len().checked_sub(length)?)?;
        let told = u32::try_from(length + 8).ok()?.to_le_bytes();
        let (mark, size) = front.get(front.len().checked_sub(8)?..)?.split_at(4);
        (mark == [0x50, 0x2a, 0x4d, 0x18] && size == told).then_some(footer)
    })?;
    let number = |at: usize| {
        let bytes = footer.get(at * 8..at * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (start, length) = (number(0)?, number(1)?);
    let end = start.checked_add(length)?;
    (number(3)? == 1).then_some(Place { format: Format::Chunked, start, end })
}

fn stargz_footer(size: u64, tail: &[u8]) -> Option<Place> {
    let footer = tail.get(tail.len().checked_sub(usize::try_from(STARGZ_FOOTER).ok()?)?..)?;
    let digits = footer.get(16..)?.get(..22)?.strip_suffix(b"STARGZ")?;
    if !footer.starts_with(&[0x1f, 0x8b]) || footer.get(12..16)? != [b'S', b'G', 22, 0] {
        return None;
    }
    let start = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some(Place { format: Format::Stargz, start, end: size.checked_sub(STARGZ_FOOTER)? })
}

/// Reads a table: `each` gets the pieces of the blob in their order. `contents` has the digest that
/// it must have.
pub(super) fn read(
    place: Place,
    table: &[u8],
    contents: Option<&Contents>,
    each: &mut dyn FnMut(Piece),
) -> io::Result<()> {
    let text: Box<dyn Read + '_> = match place.format {
        Format::Chunked => {
            if let Some(Contents::Chunked { digest, .. }) = contents {
                check(digest, &Digest::of(table))?;
            }
            inflated(Compression::Zstd, table)?
        }
        Format::Stargz => Box::new(stargz_text(table)?),
    };
    let mut text = Hashed::new(text.take(LARGEST_TEXT));
    let mut pieces = Pieces::new(place.format, place.contents_end(), each);
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(&mut text));
    Table(&mut pieces).deserialize(&mut json)?;
    json.end()?;
    drop(json);
    io::copy(&mut text, &mut io::sink())?;
    if let Some(Contents::Stargz { digest }) = contents {
        check(digest, &text.finish().1)?;
    }
    Ok(())
}

/// The table is the only file of an archive of its own.
fn stargz_text(table: &[u8]) -> io::Result<impl Read> {
    let mut archive = MultiGzDecoder::new(table);
    let mut header = tar::Header::new_old();
    archive.read_exact(header.as_mut_bytes())?;
    let length = header.entry_size()?;
    if header.path_bytes().as_ref() != b"stargz.index.json" || length > LARGEST_TEXT {
        return Err(odd("another file stands in its place"));
    }
    Ok(archive.take(length))
}

fn check(want: &Digest, got: &Digest) -> io::Result<()> {
    if want == got { Ok(()) } else { Err(odd("it is not the one that the manifest names")) }
}

fn odd(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Entries on their way to pieces.
struct Pieces<'a> {
    format: Format,
    /// Where the last one ends.
    end: u64,
    each: &'a mut dyn FnMut(Piece),
    /// Where the current one starts.
    start: u64,
    key: DefaultHasher,
    count: usize,
    /// The size of the current file.
    size: u64,
    /// Where its payload ends.
    payload_end: Option<u64>,
}

impl<'a> Pieces<'a> {
    fn new(format: Format, end: u64, each: &'a mut dyn FnMut(Piece)) -> Self {
        Self {
            format,
            end,
            each,
            start: 0,
            key: DefaultHasher::new(),
            count: 0,
            size: 0,
            payload_end: None,
        }
    }

    fn add(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if !entry.is_chunk {
            self.end_payload()?;
            entry.about.hash(&mut self.key);
            self.size = entry.size;
        }
        if entry.offset > 0 {
            if entry.offset != self.start {
                self.close(entry.offset)?;
            }
            entry.chunk_digest.or(entry.digest).hash(&mut self.key);
            if self.format == Format::Stargz {
                (entry.inner_offset, self.size % 512).hash(&mut self.key);
            }
            if entry.end_offset > 0 && self.format == Format::Chunked {
                self.payload_end = Some(entry.end_offset);
            }
        }
        Ok(())
    }

    /// What follows a payload begins with what fills its last block.
    fn end_payload(&mut self) -> Result<(), &'static str> {
        if let Some(end) = self.payload_end.take() {
            self.close(end)?;
            (self.size % 512).hash(&mut self.key);
        }
        Ok(())
    }

    fn close(&mut self, end: u64) -> Result<(), &'static str> {
        if end < self.start || end > self.end {
            return Err("its offsets are in no order, or beyond its blob");
        }
        self.count += 1;
        if self.count > MOST_PIECES {
            return Err("it tells of too many pieces");
        }
        (end - self.start).hash(&mut self.key);
        let key = std::mem::take(&mut self.key).finish();
        (self.each)(Piece { start: self.start, end, key });
        self.start = end;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), &'static str> {
        self.end_payload()?;
        self.close(self.end)
    }
}

/// What a table says of a file, or of a chunk of it.
#[derive(Default)]
struct Entry {
    is_chunk: bool,
    /// All that stands in the file's header.
    about: u64,
    size: u64,
    offset: u64,
    end_offset: u64,
    inner_offset: u64,
    digest: Option<u64>,
    chunk_digest: Option<u64>,
}

/// `{"version": 1, "entries": […]}`
struct Table<'a, 'b>(&'a mut Pieces<'b>);

impl<'de> DeserializeSeed<'de> for Table<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut version, mut whole) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value::<u64>()?),
                "entries" if !whole => {
                    map.next_value_seed(Entries(&mut *self.0))?;
                    whole = true;
                }
                "entries" => return Err(de::Error::custom("it has its entries twice")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if version == Some(1) && whole { Ok(()) } else { Err(de::Error::custom("it is unknown")) }
    }
}

struct Entries<'a, 'b>(&'a mut Pieces<'b>);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<Entry>()? {
            self.0.add(&entry).map_err(de::Error::custom)?;
        }
        self.0.finish().map_err(de::Error::custom)
    }
}

impl<'de> de::Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let (mut entry, mut about) = (Entry::default(), DefaultHasher::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "offset" => entry.offset = map.next_value()?,
                        "endOffset" => entry.end_offset = map.next_value()?,
                        "innerOffset" => entry.inner_offset = map.next_value()?,
                        "digest" => entry.digest = Some(map.next_value::<Print>()?.0),
                        "chunkDigest" => entry.chunk_digest = Some(map.next_value::<Print>()?.0),
                        "chunkSize" | "chunkOffset" | "chunkType" => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        "size" => {
                            entry.size = map.next_value()?;
                            entry.size.hash(&mut about);
                        }
                        "type" => {
                            let kind = map.next_value::<String>()?;
                            entry.is_chunk = kind == "chunk";
                            kind.hash(&mut about);
                        }
                        _ => (key, map.next_value::<Print>()?.0).hash(&mut about),
                    }
                }
                entry.about = about.finish();
                Ok(entry)
            }
        }

        from.deserialize_map(Fields)
    }
}

/// A hash of any value. Nothing of it is kept, however much it is.
struct Print(u64);

impl<'de> de::Deserialize<'de> for Print {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Printing)
    }
}

struct Printing;

fn print(value: impl Hash) -> Print {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    Print(hasher.finish())
}

impl<'de> Visitor<'de> for Printing {
    type Value = Print;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Print, E> {
        Ok(print(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Print, E> {
        Ok(print(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Print, E> {
        Ok(print(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Print, E> {
        Ok(print(value.to_bits()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Print, E> {
        Ok(print(value))
    }

    fn visit_unit<E>(self) -> Result<Print, E> {
        Ok(print(()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Print, A::Error> {
        let mut hasher = DefaultHasher::new();
        while let Some(Print(value)) = list.next_element()? {
            value.hash(&mut hasher);
        }
        Ok(Print(hasher.finish()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Print, A::Error> {
        let mut hasher = DefaultHasher::new();
        while let Some((Print(key), Print(value))) = map.next_entry()? {
            (key, value).hash(&mut hasher);
        }
        Ok(Print(hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pieces(place: Place, table: &[u8]) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        read(place, table, None, &mut |piece| pieces.push(piece))?;
        Ok(pieces)
    }

    fn chunked(table: &Value) -> io::Result<Vec<Piece>> {
        let table = zstd::encode_all(table.to_string().as_bytes(), 1).expect("memory");
        let place = Place { format: Format::Chunked, start: 1008, end: 9999 };
        pieces(place, &table)
    }

    fn stargz(text: &str) -> io::Result<Vec<Piece>> {
        let mut header = tar::Header::new_ustar();
        header.set_path("stargz.index.json").expect("a name");
        header.set_size(text.len() as u64);
        header.set_cksum();
        let archive = [header.as_bytes(), text.as_bytes()].concat();
        let mut encoder = flate2::read::GzEncoder::new(&archive[..], flate2::Compression::fast());
        let mut table = Vec::new();
        encoder.read_to_end(&mut table).expect("memory");
        pieces(Place { format: Format::Stargz, start: 1000, end: 9999 }, &table)
    }

    /// As buildah 1.28 writes it: a directory, a file in two chunks, one in one.
    fn table() -> Value {
        json!({"version": 1, "entries": [
            {"type": "dir", "name": "d/", "mode": 16877},
            {"type": "reg", "name": "d/a", "size": 600, "digest": "sha256:aa", "offset": 100,
             "endOffset": 300, "chunkSize": 400, "chunkDigest": "sha256:a1"},
            {"type": "chunk", "name": "d/a", "offset": 200, "chunkSize": 200, "chunkOffset": 400,
             "chunkDigest": "sha256:a2"},
            {"type": "symlink", "name": "d/l", "linkName": "a", "xattrs": {"user.x": "eA=="}},
            {"type": "reg", "name": "d/b", "size": 5, "digest": "sha256:bb", "offset": 350,
             "endOffset": 400},
        ]})
    }

    #[test]
    fn a_chunked_table_covers_all_of_its_blob() {
        let pieces = chunked(&table()).expect("pieces");
        let places: Vec<(u64, u64)> = pieces.iter().map(|it| (it.start, it.end)).collect();
        assert_eq!(places, [(0, 100), (100, 200), (200, 300), (300, 350), (350, 400), (400, 1000)]);
    }

    #[test]
    fn a_key_is_what_its_piece_holds() {
        let before = chunked(&table()).expect("pieces");
        let differ = |change: &dyn Fn(&mut Value)| -> Vec<usize> {
            let mut changed = table();
            change(&mut changed["entries"]);
            let after = chunked(&changed).expect("pieces");
            let pairs = before.iter().zip(&after).enumerate();
            pairs.filter(|(_, (one, other))| one.key != other.key).map(|(at, _)| at).collect()
        };
        assert!(differ(&|_| ()).is_empty());
        assert_eq!(differ(&|entries| entries[2]["chunkDigest"] = "sha256:x".into()), [2]);
        assert_eq!(differ(&|entries| entries[4]["digest"] = "sha256:x".into()), [4]);
        // What stands in headers is what counts there: names, and what fills the last block.
        assert_eq!(differ(&|entries| entries[3]["xattrs"]["user.x"] = "eQ==".into()), [3]);
        assert_eq!(differ(&|entries| entries[1]["name"] = "d/c".into()), [0]);
        assert_eq!(differ(&|entries| entries[1]["size"] = 601.into()), [0, 3]);
        // And how long it is.
        assert_eq!(differ(&|entries| entries[2]["offset"] = 199.into()), [1, 2]);
    }

    #[test]
    fn a_stargz_member_holds_a_payload_and_the_headers_behind_it() {
        let of = |mode: u32| {
            let table = json!({"version": 1, "entries": [
                {"name": "a", "type": "reg", "size": 9, "offset": 90, "chunkDigest": "sha256:a",
                 "digest": "sha256:a"},
                {"name": "d/", "type": "dir", "mode": mode},
                {"name": "b", "type": "reg", "size": 9, "offset": 190, "chunkDigest": "sha256:b",
                 "digest": "sha256:b"},
                {"name": "c", "type": "reg", "size": 9, "offset": 190, "innerOffset": 1024,
                 "chunkDigest": "sha256:c", "digest": "sha256:c"},
            ]});
            stargz(&table.to_string()).expect("pieces")
        };
        let (one, other) = (of(0o755), of(0o700));
        let places: Vec<(u64, u64)> = one.iter().map(|it| (it.start, it.end)).collect();
        assert_eq!(places, [(0, 90), (90, 190), (190, 1000)]);
        let same: Vec<bool> = one.iter().zip(&other).map(|(a, b)| a.key == b.key).collect();
        assert_eq!(same, [true, false, true]);
    }

    #[test]
    fn footers_say_where_a_table_lies() {
        // The last bytes of a blob of buildah 1.28, and of one that has its archive's headers too.
        let numbers = |numbers: &[u64]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let footer = |mark: u32, body: &[u64]| {
            let name = if body.len() == 4 { b"GnUlInUx" } else { b"GNUlInUx" };
            let length = u32::try_from(body.len() * 8 + 8).expect("short");
            let head = [mark.to_le_bytes(), length.to_le_bytes()].concat();
            let whole = [vec![7; 72], head, numbers(body), name.to_vec()].concat();
            whole[whole.len() - LONGEST_FOOTER..].to_vec()
        };
        let size = 43_350_976;
        let old = [42_806_465, 544_463, 3_047_362, 1];
        let place = Place { format: Format::Chunked, start: 42_806_465, end: 43_350_928 };
        assert_eq!(Place::of_footer(size, &footer(0x184d_2a50, &old)), Some(place));
        let new = [old[0], old[1], old[2], old[3], 5, 6, 7];
        assert_eq!(Place::of_footer(size, &footer(0x184d_2a50, &new)), Some(place));
        assert_eq!(Place::of_footer(size, &footer(0x184d_2a51, &old)), None);
        assert_eq!(Place::of_footer(size, &footer(0x184d_2a50, &[7, 8, 9, 2])), None);
        for odd in [[size, 9, 9, 1], [u64::MAX, 9, 9, 1], [100, u64::MAX, 9, 1], [3, 9, 9, 1]] {
            assert_eq!(Place::of_footer(size, &footer(0x184d_2a50, &odd)), None, "{odd:?}");
        }
        let stargz = |offset: &str| {
            let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0];
            let tail = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
            let whole = [&[7; 21][..], &head, offset.as_bytes(), b"STARGZ", &tail].concat();
            assert_eq!(whole.len(), LONGEST_FOOTER);
            Place::of_footer(size, &whole)
        };
        let place = Place { format: Format::Stargz, start: 43_000_000, end: size - 51 };
        assert_eq!(stargz(&format!("{:016x}", 43_000_000)), Some(place));
        for odd in ["fffffffffffffff0", "-000000000000001", "zzzzzzzzzzzzzzzz", "0000000000000000"]
        {
            assert_eq!(stargz(odd), None, "{odd}");
        }
        assert_eq!(Place::of_footer(9, b"GNUlInUx"), None);
    }

    #[test]
    fn odd_tables_are_refused() {
        for (pointer, value) in [
            ("/version", json!(2)),
            ("/entries", json!(null)),
            ("/entries/1/offset", json!(-1)),
            ("/entries/2/offset", json!(99)),
            ("/entries/2/offset", json!(301)),
            ("/entries/4/endOffset", json!(349)),
            ("/entries/4/endOffset", json!(u64::MAX)),
            ("/entries/4/offset", json!(1001)),
            ("/entries/0", json!("d/")),
            ("/entries/1/size", json!("9")),
        ] {
            let mut table = table();
            *table.pointer_mut(pointer).expect(pointer) = value.clone();
            assert!(chunked(&table).is_err(), "{pointer} {value}");
        }
        for odd in ["", "{}", "[]", r#"{"version":1}"#, r#"{"version":1,"entries":[]} x"#] {
            assert!(stargz(odd).is_err(), "{odd}");
        }
        let digest = Contents::Stargz { digest: Digest::of(b"another") };
        let place = Place { format: Format::Stargz, start: 1000, end: 9999 };
        assert!(read(place, b"", Some(&digest), &mut |_| ()).is_err());
    }
}
