//! Owners as files, images and containers say them: what is read is written the same.
#![no_main]

use coracle::owners::{LENGTH, Line, Record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = Record::parse(bytes) {
        assert_eq!(Record::parse(record.format(&mut [0; LENGTH])), Some(record));
    }
    for line in Line::read(bytes) {
        let (name, record) = (line.name(), line.record());
        let mut again = Line::of(&name);
        again.stat = record.map(|record| record.to_string());
        line.xattrs().for_each(|(name, value)| again.add_xattr(&name, &value));
        let mut text = Vec::new();
        again.write(&mut text).expect("written");
        let read: Vec<Line> = Line::read(&text).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].name(), read[0].record()), (name, record));
    }
});
