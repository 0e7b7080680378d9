//! Sizes and times in docker's words.

use std::collections::BTreeMap;
use std::time::Duration;

/// Labels in one cell: `a=1,b=2`.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// A size as docker prints it: decimal units, three digits (go-units, `HumanSize`).
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// A size in binary units, as progress bars and limits have it (go-units, `BytesSize`).
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

#[allow(clippy::cast_precision_loss)] // what is shown has fewer digits than the mantissa
fn scaled(bytes: u64, base: u32, units: &[&str], digits: usize) -> String {
    let base = f64::from(base);
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    // Go's %.3g and %.4g: significant digits, no zeros at the end.
    let whole = format!("{value:.0}").len(); // the digits before the point
    let decimals = digits.saturating_sub(whole);
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// A duration as docker prints it: `About a minute`, `3 weeks` (go-units, `HumanDuration`).
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    let days = hours / 24;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{days} days"),
        () if hours < 24 * 30 * 2 => format!("{} weeks", days / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    }
}

/// How long ago an RFC 3339 time was: `2 hours ago`; `N/A` for what is no time.
pub fn ago(time: &str, now: jiff::Timestamp) -> String {
    since(time, now).map_or_else(|| "N/A".into(), |passed| format!("{} ago", duration(passed)))
}

/// The time from an RFC 3339 time until `now`; none for the future.
pub fn since(time: &str, now: jiff::Timestamp) -> Option<Duration> {
    let then: jiff::Timestamp = time.parse().ok()?;
    Some(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, words) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_270_000, "4.27MB"),
            (116_400_000, "116MB"),
            (1_010_000_000, "1.01GB"),
        ] {
            assert_eq!(size(bytes), words);
        }
        assert_eq!(binary_size(512 << 20), "512MiB");
        assert_eq!(binary_size(1536), "1.5KiB");
    }

    #[test]
    fn durations_are_dockers() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 86400, "2 days"),
            (47 * 3600, "47 hours"),
            (15 * 86400, "2 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn ages_come_from_timestamps() {
        let now = "2026-11-23T12:00:00Z".parse().expect("a time");
        assert_eq!(ago("2026-11-23T09:00:00Z", now), "3 hours ago");
        assert_eq!(ago("", now), "N/A");
        assert_eq!(ago("2027-01-01T00:00:00Z", now), "Less than a second ago");
    }
}
