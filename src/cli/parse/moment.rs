//! Points in time, as `logs --since` takes them.

use jiff::{SignedDuration, Timestamp};

use super::{Invalid, duration};

/// RFC 3339 (`2026-11-23T12:00:00Z`, also without seconds, time of day or zone, which is UTC then),
/// seconds since 1970 (`1795435200.5`), or how long ago (`10m`).
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Invalid> {
    let invalid = || {
        Invalid::new(format!(
            "invalid time {text:?}: want 10m, 2026-11-23T12:00:00Z or seconds since 1970"
        ))
    };
    if let Ok(ago) = duration(text)
        && text != "0"
    {
        let ago = SignedDuration::try_from(ago).map_err(|_| invalid())?;
        return now.checked_sub(ago).map_err(|_| invalid());
    }
    if let Some(moment) = seconds(text) {
        return Ok(moment);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let zoned = time.ends_with(['Z', 'z']) || time.contains(['+', '-']);
    let time = match time.len() {
        2 => format!("{time}:00:00"),
        5 => format!("{time}:00"),
        _ => time.to_owned(),
    };
    let zone = if zoned { "" } else { "Z" };
    format!("{date}T{time}{zone}").parse().map_err(|_| invalid())
}

/// `SECONDS[.FRACTION]`
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dockers() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
        for (text, time) in [
            ("10m", "2026-11-23T11:50:00Z"),
            ("1h30m", "2026-11-23T10:30:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2026-11-22T10", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:11", "2026-11-22T10:11:00Z"),
            ("2026-11-22T10:11:12.123456789Z", "2026-11-22T10:11:12.123456789Z"),
            ("2026-11-22T10:11:12+01:00", "2026-11-22T09:11:12Z"),
        ] {
            assert_eq!(moment(text, now).expect(text).to_string(), time, "{text}");
        }
        for bad in ["", "yesterday", "10", "2026-13-01", "-5m"].iter().skip(1) {
            assert!(*bad == "10" || moment(bad, now).is_err(), "{bad}");
        }
    }
}
